package path

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"warren/keys"
	"warren/nat/simnet"
)

// seeds are those of every property; -short takes the first alone.
func seeds() []uint64 {
	if testing.Short() {
		return []uint64{1}
	}
	return []uint64{1, 2}
}

// possible says whether theory allows a direct path without guessing ports.
func possible(a, b place) bool {
	hard := func(p place) bool { return p.name == "symmetric" || p.name == "port-restricted" }
	return !hard(a) || !hard(b) || a.name == "port-restricted" && b.name == "port-restricted"
}

// each runs f for every combination of places that can be joined, and every seed.
func each(t *testing.T, f func(t *testing.T, seed uint64, a, b place)) {
	for _, a := range places() {
		for _, b := range places() {
			if possible(a, b) {
				t.Run(a.name+"/"+b.name, func(t *testing.T) {
					for _, seed := range seeds() {
						f(t, seed, a, b)
					}
				})
			}
		}
	}
}

// talking returns a world in which data flows both ways.
func talking(t *testing.T, seed uint64, cfg simnet.Config, a, b place) *world {
	t.Helper()
	w := newWorld(t, seed, cfg, a, b)
	w.talk(true)
	if took, ok := w.until(30*time.Second, w.flows); !ok {
		t.Fatalf("seed %d: no data after %v%s", seed, took, w.dump())
	}
	w.net.Run(10 * time.Second)
	return w
}

// resume fails unless data flows within limit.
func (w *world) resume(seed uint64, limit time.Duration) {
	w.t.Helper()
	if _, ok := w.until(limit, w.flows); !ok {
		took, ok := w.until(10*limit, w.flows)
		w.t.Errorf("seed %d: data after %v (%v), want at most %v%s", seed, limit+took, ok, limit, w.dump())
	}
}

func TestEveryPairOfNATs(t *testing.T) {
	for _, a := range places() {
		for _, b := range places() {
			for _, loss := range []float64{0, 0.05, 0.2} {
				t.Run(fmt.Sprintf("%s/%s/loss %v", a.name, b.name, loss), func(t *testing.T) {
					for _, seed := range seeds() {
						testPair(t, seed, loss, a, b)
					}
				})
			}
		}
	}
}

func testPair(t *testing.T, seed uint64, loss float64, a, b place) {
	w := newWorld(t, seed, simnet.Config{Loss: loss}, a, b)
	w.signals.lose = loss
	w.a.step(Connect{})
	if !possible(a, b) {
		w.net.Run(30 * time.Second)
		if s := w.a.core.Snapshot(); s.State != Unreachable || s.Usable {
			t.Errorf("seed %d: a is %+v", seed, s)
		}
		if got := w.a.reason(); !strings.Contains(got, "symmetric") && !strings.Contains(got, "maps address-and-port-dependent") {
			t.Errorf("seed %d: reason %q", seed, got)
		}
		return
	}
	limit, works := 600*time.Millisecond, w.works
	if loss > 0 { // the peer may not have found out yet, and nobody tells it to look
		limit, works = 15*time.Second, func() bool { return w.a.core.Snapshot().Usable }
	}
	if took, ok := w.until(limit, works); !ok {
		t.Fatalf("seed %d: not within %v%s", seed, took, w.dump())
	}
	w.talk(true)
	w.net.Run(5 * time.Second)
	for _, n := range []*node{w.a, w.b} {
		if s := n.core.Snapshot(); s.State != Direct || !s.Proven {
			t.Errorf("seed %d: %s is %+v%s", seed, n.name, s, w.dump())
		}
	}
	if loss == 0 && !w.flows() {
		t.Errorf("seed %d: no data%s", seed, w.dump())
	}
}

func TestBadSignals(t *testing.T) {
	p := placed("port-restricted")
	for seed := range uint64(30) {
		w := newWorld(t, seed, simnet.Config{Loss: 0.05}, p, p)
		w.signals.lose, w.signals.repeat, w.signals.outOfOrder = 0.3, 0.3, 0.5
		w.talk(true)
		if took, ok := w.until(20*time.Second, w.flows); !ok {
			t.Errorf("seed %d: no data after %v%s", seed, took, w.dump())
		}
	}
}

// Both call, at the same time or a little apart.
func TestGlare(t *testing.T) {
	p := placed("port-restricted")
	for apart := time.Duration(0); apart < 400*time.Millisecond; apart += 20 * time.Millisecond {
		for _, delay := range []time.Duration{0, 30 * time.Millisecond, 300 * time.Millisecond} {
			w := newWorld(t, 1, simnet.Config{}, p, p)
			w.signals.delay = delay
			w.a.step(Connect{})
			w.net.Run(apart)
			w.b.step(Connect{})
			limit := 600*time.Millisecond + 4*delay
			if took, ok := w.until(limit, w.works); !ok {
				t.Errorf("%v apart, signals take %v: not within %v%s", apart, delay, took, w.dump())
			}
		}
	}
}

// The peer is started anew while there is traffic. It knows nothing, and says so by its calls.
func TestRestart(t *testing.T) {
	each(t, func(t *testing.T, seed uint64, a, b place) {
		for _, speaks := range []bool{true, false} {
			w := talking(t, seed, simnet.Config{}, a, b)
			w.b.start()
			w.b.step(Candidates{Remote: w.a.candidates()})
			w.b.speak(speaks)
			if speaks {
				w.resume(seed, time.Second)
				continue
			}
			// It says nothing until it is asked: the heartbeats of the other show it the way.
			if took, ok := w.until(5*time.Second, w.works); !ok {
				t.Errorf("seed %d: not within %v%s", seed, took, w.dump())
			}
		}
	})
}

// The NAT of one side or of both forgets its mappings while there is traffic, and gives other ports.
func TestRebinding(t *testing.T) {
	each(t, func(t *testing.T, seed uint64, a, b place) {
		w := talking(t, seed, simnet.Config{}, a, b)
		if seed%2 == 0 {
			w.records = 0 // the calls alone must do it
		}
		for _, n := range []*node{w.a, w.b} {
			if n.nat != nil {
				n.nat.Reboot()
				w.net.Run(150 * time.Millisecond)
				w.resume(seed, 4*time.Second)
				w.net.Run(5 * time.Second)
			}
		}
		if w.a.nat != nil && w.b.nat != nil {
			w.a.nat.Reboot()
			w.b.nat.Reboot()
			w.net.Run(150 * time.Millisecond)
			limit := 5 * time.Second
			if w.records == 0 {
				limit = 12 * time.Second // the first round has an old address of the side that was called
			}
			w.resume(seed, limit)
		}
	})
}

// A host moves to another network while there is traffic, and notices.
func TestMove(t *testing.T) {
	each(t, func(t *testing.T, seed uint64, a, b place) {
		for _, to := range []string{"public", "port-restricted"} {
			if !possible(placed(to), b) {
				continue
			}
			w := talking(t, seed, simnet.Config{}, a, b)
			w.a.move(placed(to))
			w.a.own.Reset()
			w.a.measure()
			w.a.announce()
			w.a.step(Reset{})
			w.net.Run(150 * time.Millisecond)
			w.resume(seed, 3*time.Second)
		}
	})
}

// Nothing passes for a while: the path is given up, and found again soon after.
func TestOutage(t *testing.T) {
	each(t, func(t *testing.T, seed uint64, a, b place) {
		w := talking(t, seed, simnet.Config{}, a, b)
		w.net.SetLoss(1)
		w.signals.off = true
		w.net.Run(12 * time.Second)
		for _, n := range []*node{w.a, w.b} {
			if s := n.core.Snapshot(); s.Usable || s.State != Unreachable {
				t.Errorf("seed %d: %s is %+v", seed, n.name, s)
			}
		}
		w.net.Run(8 * time.Second)
		w.net.SetLoss(0)
		w.signals.off = false
		w.resume(seed, 16*time.Second) // the third pause
	})
}

// Short outages and a lot of loss do not lose the path.
func TestLossKeepsPath(t *testing.T) {
	p := placed("port-restricted")
	for _, seed := range seeds() {
		w := talking(t, seed, simnet.Config{}, p, p)
		w.a.uses, w.b.uses = nil, nil
		w.net.SetLoss(0.3)
		w.net.Run(5 * time.Minute)
		for range 5 {
			w.net.SetLoss(1)
			w.net.Run(3 * time.Second)
			w.net.SetLoss(0.1)
			w.net.Run(20 * time.Second)
		}
		if len(w.a.uses)+len(w.b.uses) > 0 {
			t.Errorf("seed %d: a changed the path %d times, b %d times", seed, len(w.a.uses), len(w.b.uses))
		}
	}
}

// Under load checks are lost and data is not.
func TestLoadKeepsPath(t *testing.T) {
	each(t, func(t *testing.T, seed uint64, a, b place) {
		w := talking(t, seed, simnet.Config{}, a, b)
		w.a.uses, w.b.uses = nil, nil
		w.net.SetDrop(func(p simnet.Packet) bool { return p.Body[0] == 'Q' || p.Body[0] == 'A' })
		w.signals.off = seed%2 == 0
		w.net.Run(time.Minute)
		if len(w.a.uses)+len(w.b.uses) > 0 {
			t.Errorf("seed %d: a changed the path %d times, b %d times%s", seed, len(w.a.uses), len(w.b.uses), w.dump())
		}
	})
}

// An idle pair sends nothing; its next packet is through soon, although the NATs forgot it.
func TestIdle(t *testing.T) {
	each(t, func(t *testing.T, seed uint64, a, b place) {
		w := talking(t, seed, simnet.Config{}, a, b)
		w.talk(false)
		w.net.Run(time.Minute)
		for _, idle := range []time.Duration{time.Minute, 20 * time.Minute} {
			sent := w.a.packets + w.b.packets
			w.net.Run(idle)
			if got := w.a.packets + w.b.packets - sent; got > 0 {
				t.Errorf("seed %d: %d packets of an idle pair", seed, got)
			}
			if s := w.a.core.Snapshot(); s.State != Idle {
				t.Errorf("seed %d: %+v", seed, s)
			}
			before := len(w.b.traffic.got)
			w.a.speak(true)
			if took, ok := w.until(500*time.Millisecond, func() bool { return len(w.b.traffic.got) > before }); !ok {
				t.Errorf("seed %d: after %v no data within %v%s", seed, idle, took, w.dump())
			}
			w.net.Run(time.Second)
			w.a.speak(false)
			w.net.Run(2 * time.Minute)
		}
	})
}

func TestHeartbeatRate(t *testing.T) {
	p := placed("port-restricted")
	for _, seed := range seeds() {
		w := talking(t, seed, simnet.Config{}, p, p)
		a, b := w.a.checks, w.b.checks
		w.net.Run(10 * time.Minute)
		for _, got := range []int{w.a.checks - a, w.b.checks - b} {
			// One every 3 s is 200; once a minute the other candidates are looked at, six at most.
			if got < 150 || got > 270 {
				t.Errorf("seed %d: %d checks in 10 minutes of traffic", seed, got)
			}
		}
	}
}

// Clocks jump to and fro on both sides while there is traffic.
func TestClockJumps(t *testing.T) {
	p := placed("port-restricted")
	for _, seed := range seeds() {
		w := talking(t, seed, simnet.Config{}, p, p)
		for i, d := range []time.Duration{-time.Hour, time.Hour, 2 * time.Hour, -time.Minute, time.Second, -time.Second, 24 * time.Hour} {
			w.a.skew += d
			if i%2 == 0 {
				w.b.skew -= d
			}
			w.net.Run(200 * time.Millisecond)
			w.resume(seed, time.Second)
			w.net.Run(20 * time.Second)
			w.resume(seed, 100*time.Millisecond)
		}
	}
}

// Candidates that come later end a failure, also one that nobody is waiting for.
func TestNewCandidatesEndFailure(t *testing.T) {
	w := newWorld(t, 1, simnet.Config{}, placed("public"), placed("public"))
	w.signals.off = true
	w.net.SetLoss(1)
	w.a.step(Connect{})
	w.net.Run(5 * time.Minute)
	w.net.SetLoss(0)
	w.b.move(placed("public"))
	w.b.announce()
	w.net.Run(time.Second)
	w.a.step(Connect{})
	if took, ok := w.until(200*time.Millisecond, w.works); !ok {
		t.Errorf("not within %v%s", took, w.dump())
	}
}

// A peer that was removed gets nothing more, whatever was under way.
func TestRemoved(t *testing.T) {
	p := placed("port-restricted")
	w := newWorld(t, 1, simnet.Config{}, p, p)
	w.talk(true)
	w.net.Run(400 * time.Millisecond)
	w.b.ticks++ // package nat clears the alarm
	w.b.core.remove()
	b := w.b
	w.b.step(Tick{})
	if len(b.core.faults) != 1 {
		t.Error("a step of a removed core goes unseen")
	}
	b.core.faults = nil
}

// link2 is two members with two equal links between them.
type link2 struct {
	w     *simnet.Net
	rand  *rand.Rand
	loss  float64
	nodes [2]*linked
}

type linked struct {
	core  *checked
	used  Path
	ticks int
	uses  int
	sent  int
	from  Path // of the newest data
}

func linkAddr(node, link int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(100 + link), byte(1 + node)}), 7)
}

func (l *link2) step(i int, ev Event) {
	n := l.nodes[i]
	now := l.w.Now()
	for _, act := range n.core.step(now, ev) {
		switch act := act.(type) {
		case SendCheck:
			link := int(act.Path.Remote.Addr().As4()[2]) - 100
			l.deliver(func() {
				l.step(1-i, CheckRequested{ID: act.ID, Path: UDP(linkAddr(i, link))})
				l.deliver(func() { l.step(i, CheckAnswered(act)) })
			})
		case Use:
			if act.Path != n.used {
				n.uses++
			}
			n.used = act.Path
		case Wake:
			n.ticks++
			tick := n.ticks
			l.w.After(act.At.Sub(now), func() {
				if tick == n.ticks {
					l.step(i, Tick{})
				}
			})
		case SendSignal, Resend, Refresh, Changed:
		}
	}
}

func (l *link2) deliver(f func()) {
	if l.rand.Float64() >= l.loss {
		l.w.After(10*time.Millisecond+time.Duration(l.rand.Int64N(int64(10*time.Millisecond))), f)
	}
}

func (l *link2) data(i int) {
	n := l.nodes[i]
	if n.used != (Path{}) {
		from := UDP(linkAddr(i, int(n.used.Remote.Addr().As4()[2])-100))
		l.deliver(func() { l.nodes[1-i].from = from })
	}
	if n.sent++; n.sent%5 == 0 {
		if n.from != (Path{}) {
			l.step(i, Proven{Path: n.from})
		}
		l.step(i, Traffic{Tx: true, Rx: n.from != (Path{}), From: n.from})
		n.from = Path{}
	}
	l.w.After(100*time.Millisecond, func() { l.data(i) })
}

// Two paths that are equal: both sides agree on one and stay there.
func TestEqualPathsDoNotFlap(t *testing.T) {
	for _, loss := range []float64{0, 0.1, 0.3} {
		for _, seed := range seeds() {
			l := &link2{w: simnet.New(simnet.Config{}), rand: rand.New(rand.NewPCG(seed, 2)), loss: loss}
			for i := range 2 {
				core := newChecked(Config{Self: keys.NodeID{byte(1 + i)}, Peer: keys.NodeID{byte(2 - i)}, Seed: seed})
				l.nodes[i] = &linked{core: core}
			}
			for i := range 2 {
				l.step(i, Candidates{Remote: []keys.Candidate{
					{Kind: keys.Host, Addr: linkAddr(1-i, 0)}, {Kind: keys.Host, Addr: linkAddr(1-i, 1)},
				}})
				l.step(i, Connect{})
				l.data(i)
			}
			l.w.Run(20 * time.Minute)
			for i, n := range l.nodes {
				limit := 6 // one RTT may really seem better than the other now and then
				if n.uses > limit {
					t.Errorf("seed %d, loss %v: node %d changed the path %d times in 20 minutes", seed, loss, i, n.uses)
				}
				for _, fault := range n.core.faults {
					t.Errorf("seed %d: %s", seed, fault)
				}
			}
			link := func(n *linked) byte { return n.used.Remote.Addr().As4()[2] }
			if loss == 0 && link(l.nodes[0]) != link(l.nodes[1]) {
				t.Errorf("seed %d: they send by %v and %v", seed, l.nodes[0].used, l.nodes[1].used)
			}
		}
	}
}
