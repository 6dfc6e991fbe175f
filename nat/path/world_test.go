package path

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"warren/keys"
	"warren/nat/local"
	"warren/nat/simnet"
)

// world is two members on a simulated Internet, on virtual time, with members that see them from outside. What package
// nat and the engine do between core and network is done here in the simplest way.
type world struct {
	t          *testing.T
	net        *simnet.Net
	rand       *rand.Rand
	a, b       *node
	reflectors []netip.AddrPort
	outside    netip.Addr // free address
	inside     byte

	signals struct {
		delay                    time.Duration
		lose, repeat, outOfOrder float64
		off                      bool
	}
	records time.Duration // a new record needs this long; 0: the peer gets none after the start
}

// node is a member: a core, a socket and a source of traffic.
type node struct {
	w    *world
	name string
	skew time.Duration // of its clock
	id   keys.NodeID
	peer *node
	host *simnet.Host
	nat  *simnet.NAT
	port uint16
	core *checked
	own  *local.Finder

	ticks   int // Wakes that were overtaken are told by it
	used    Path
	back    netip.AddrPort
	answers int

	traffic struct {
		on, sending    bool // we send to the peer
		got            []time.Time
		tx, rx         bool
		from           Path
		proven         Path
		provenAt, last time.Time
	}
	uses      []time.Time
	checks    int // that left for the peer
	packets   int // of any kind, except data and what goes to reflectors
	announced []keys.Candidate
}

// place is where a node stands.
type place struct {
	name string
	nat  *simnet.NATConfig
}

func places() []place {
	eim := func(filtering keys.NATBehaviour) *simnet.NATConfig {
		return &simnet.NATConfig{Mapping: keys.EndpointIndependent, Filtering: filtering, Ports: simnet.SequentialPorts}
	}
	symmetric := simnet.Symmetric()
	return []place{
		{"public", nil},
		{"full-cone", eim(keys.EndpointIndependent)},
		{"address-restricted", eim(keys.AddressDependent)},
		{"port-restricted", eim(keys.AddressAndPortDependent)},
		{"symmetric", &symmetric},
	}
}

func placed(name string) place {
	all := places()
	return all[slices.IndexFunc(all, func(p place) bool { return p.name == name })]
}

func newWorld(t *testing.T, seed uint64, cfg simnet.Config, a, b place) *world {
	t.Helper()
	cfg.Seed = seed
	if cfg.Delay == 0 {
		cfg.Delay, cfg.Jitter = 15*time.Millisecond, 10*time.Millisecond
	}
	w := &world{
		t: t, net: simnet.New(cfg), rand: rand.New(rand.NewPCG(seed, 1)), outside: netip.MustParseAddr("198.51.100.1"),
	}
	w.signals.delay = 60 * time.Millisecond
	w.records = 500 * time.Millisecond
	for range 3 {
		w.reflectors = append(w.reflectors, w.reflector())
	}
	w.a = w.node("a", keys.NodeID{1}, a)
	w.b = w.node("b", keys.NodeID{2}, b)
	w.a.peer, w.b.peer = w.b, w.a
	w.net.Run(time.Second) // own addresses are found out
	for _, n := range []*node{w.a, w.b} {
		n.announce()
		n.sample()
	}
	w.net.Run(time.Second)
	t.Cleanup(func() {
		for _, n := range []*node{w.a, w.b} {
			for _, fault := range n.core.faults {
				t.Errorf("seed %d: %s: %s", seed, n.name, fault)
			}
		}
	})
	return w
}

// reflector is a host that tells from where it was asked.
func (w *world) reflector() netip.AddrPort {
	ip := w.address()
	h := w.net.Internet().Host(ip)
	err := h.Listen(1, func(p simnet.Packet) {
		if p.Body[0] == 'R' {
			h.Send(1, p.From, append([]byte{'r'}, p.From.String()...))
		}
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return netip.AddrPortFrom(ip, 1)
}

func (w *world) address() netip.Addr {
	w.outside = w.outside.Next()
	return w.outside
}

func (w *world) node(name string, id keys.NodeID, at place) *node {
	n := &node{w: w, name: name, id: id}
	n.move(at)
	n.start()
	n.measure()
	n.keepMeasuring()
	return n
}

// move puts n, with a new host, at a place; the peer does not learn of it.
func (n *node) move(at place) {
	if n.host != nil {
		n.host.SetDown(true)
	}
	w := n.w
	ip := w.address()
	n.nat = nil
	if at.nat == nil {
		n.host = w.net.Internet().Host(ip)
	} else {
		n.nat = w.net.Internet().NAT(ip, *at.nat)
		w.inside++
		n.host = n.nat.Inside().Host(netip.AddrFrom4([4]byte{10, 0, w.inside, 2}))
	}
	n.listen(41641)
	if n.own == nil {
		n.own = local.New()
	}
	n.own.Port = n.port
	n.own.SetHosts(n.host.Addrs())
}

func (n *node) listen(port uint16) {
	n.port = port
	if err := n.host.Listen(port, n.receive); err != nil {
		n.w.t.Fatal(err)
	}
}

// start gives n a fresh core, as a new process would have.
func (n *node) start() {
	n.core = newChecked(Config{Self: n.id, Peer: keys.NodeID{3 - n.id[0]}, Seed: n.w.rand.Uint64()})
	n.used, n.ticks = Path{}, n.ticks+1
}

// measure asks the reflectors.
func (n *node) measure() {
	for _, r := range n.w.reflectors {
		n.own.Sent(r.Addr(), n.w.net.Now())
		n.host.Send(n.port, r, []byte{'R'})
	}
}

func (n *node) keepMeasuring() {
	n.w.net.After(25*time.Second, func() {
		n.measure()
		n.keepMeasuring()
	})
}

func (n *node) candidates() []keys.Candidate { return n.own.View(n.w.net.Now()).Candidates }

// announce gives the peer a record, if it is a new one.
func (n *node) announce() {
	list := n.candidates()
	if n.peer == nil || slices.Equal(list, n.announced) {
		return
	}
	first := n.announced == nil
	n.announced = list
	if first {
		n.peer.step(Candidates{Remote: list})
	} else if n.w.records > 0 {
		n.w.net.After(n.w.records, func() { n.peer.step(Candidates{Remote: list}) })
	}
}

// step lets the core take ev and does what it says.
func (n *node) step(ev Event) {
	now := n.w.net.Now().Add(n.skew)
	for _, act := range n.core.step(now, ev) {
		switch act := act.(type) {
		case SendCheck:
			n.own.Sent(act.Path.Remote.Addr(), n.w.net.Now())
			n.checks++
			n.out(act.Path.Remote, 'Q', act.ID[:])
		case SendSignal:
			n.signal(act)
		case Use:
			if act.Path != n.used {
				n.uses = append(n.uses, n.w.net.Now())
			}
			n.used = act.Path
		case Wake:
			n.ticks++
			tick := n.ticks
			n.w.net.After(act.At.Sub(now), func() {
				if tick == n.ticks {
					n.step(Tick{})
				}
			})
		case Refresh:
			n.measure()
		case Resend, Changed:
		}
	}
}

// out sends a packet of the pair: what, its content, and what stands for authenticity.
func (n *node) out(to netip.AddrPort, what byte, body []byte) {
	if what != 'D' {
		n.packets++
	}
	n.host.Send(n.port, to, slices.Concat([]byte{what}, body, []byte("secret")))
}

func (n *node) receive(p simnet.Packet) {
	now := n.w.net.Now()
	if p.Body[0] == 'r' {
		if mapped, err := netip.ParseAddrPort(string(p.Body[1:])); err == nil {
			n.own.Saw(p.From.Addr(), mapped, now)
			n.announce()
		}
		return
	}
	if len(p.Body) < 7 || string(p.Body[len(p.Body)-6:]) != "secret" {
		return // as package nat does
	}
	body, at := p.Body[1:len(p.Body)-6], UDP(p.From)
	switch p.Body[0] {
	case 'Q':
		n.back = p.From
		n.out(p.From, 'A', body)
		n.own.Asked(p.From.Addr(), now)
		n.step(CheckRequested{ID: [12]byte(body), Path: at})
	case 'A':
		n.answers++
		n.step(CheckAnswered{ID: [12]byte(body), Path: at})
	case 'D':
		t := &n.traffic
		t.got = append(t.got, now)
		t.rx, t.from, n.back = true, at, p.From
		if t.proven != at || now.Sub(t.provenAt) > time.Second {
			t.proven, t.provenAt = at, now
			n.step(Proven{Path: at})
		}
	}
}

// speak lets n send, or stop.
func (n *node) speak(on bool) {
	n.traffic.on = on
	if on {
		n.step(Initiation{})
		if !n.traffic.sending {
			n.send()
		}
	}
}

// send sends data every 50 ms, while it is on.
func (n *node) send() {
	n.traffic.sending = n.traffic.on
	if !n.traffic.on {
		return
	}
	n.traffic.tx = true
	if n.used != (Path{}) {
		n.out(n.used.Remote, 'D', nil)
	} else if n.back.IsValid() {
		n.out(n.back, 'D', nil)
	}
	n.w.net.After(50*time.Millisecond, n.send)
}

// sample reports traffic as package nat does.
func (n *node) sample() {
	t := &n.traffic
	if t.tx || t.rx {
		n.step(Traffic{Tx: t.tx, Rx: t.rx, From: t.from})
		t.tx, t.rx = false, false
	}
	n.w.net.After(500*time.Millisecond, n.sample)
}

func (n *node) signal(act SendSignal) {
	s, w := &n.w.signals, n.w
	n.packets++
	times := 1
	if w.rand.Float64() < s.repeat {
		times = 3
	}
	list := n.candidates()
	for range times {
		if s.off || w.rand.Float64() < s.lose {
			continue
		}
		delay := s.delay
		if w.rand.Float64() < s.outOfOrder {
			delay += time.Duration(w.rand.Int64N(int64(500 * time.Millisecond)))
		}
		w.net.After(delay, func() {
			switch act.Signal {
			case SignalCall:
				n.peer.step(Call{Session: act.Session, Candidates: list})
			case SignalAck:
				n.peer.step(Ack{Session: act.Session, Candidates: list})
			case SignalGo:
				n.peer.step(Go{Session: act.Session})
			}
		})
	}
}

// talk lets both sides send, or stop.
func (w *world) talk(on bool) {
	for _, n := range []*node{w.a, w.b} {
		n.speak(on)
	}
}

// until lets time go on until ok, at most for limit, and returns how long it took.
func (w *world) until(limit time.Duration, ok func() bool) (time.Duration, bool) {
	start := w.net.Now()
	for !ok() {
		if w.net.Now().Sub(start) >= limit {
			return limit, false
		}
		w.net.Run(10 * time.Millisecond)
	}
	return w.net.Now().Sub(start), true
}

// flows reports whether both got data within the last 100 ms.
func (w *world) flows() bool {
	for _, n := range []*node{w.a, w.b} {
		if len(n.traffic.got) == 0 || w.net.Now().Sub(n.traffic.got[len(n.traffic.got)-1]) > 100*time.Millisecond {
			return false
		}
	}
	return true
}

// works reports whether both know a way to each other.
func (w *world) works() bool {
	return w.a.core.Snapshot().Usable && w.b.core.Snapshot().Usable
}

// reason is why n does not reach its peer, as package nat says it.
func (n *node) reason() string {
	p := n.peer.own.View(n.w.net.Now())
	return local.Reason(n.own.View(n.w.net.Now()).NAT, n.peer.name, keys.NAT{Mapping: p.NAT.Mapping, Filtering: p.NAT.Filtering}, p.Candidates)
}

func (w *world) dump() string {
	text := ""
	for _, n := range []*node{w.a, w.b} {
		s := n.core.Snapshot()
		text += fmt.Sprintf("\n%s: %s by %s, usable %v, acked %v, %d checks of which %d answered, %d rounds, candidates %v",
			n.name, s.State, s.Path, s.Usable, s.Acked, s.ChecksSent, s.ChecksAnswered, s.Rounds, n.candidates())
	}
	return text
}
