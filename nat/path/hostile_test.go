package path

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"warren/keys"
)

// victim is a core with a path that works and carries traffic, and a peer that is hostile all the same.
type victim struct {
	*checked
	now     time.Time
	rand    *rand.Rand
	honest  netip.AddrPort
	checks  int // that left, but for the honest address
	signals int
	lost    bool // the honest path was given up
}

func newVictim(seed uint64) *victim {
	return &victim{
		checked: newChecked(Config{Self: keys.NodeID{1}, Peer: keys.NodeID{2}, Seed: seed}),
		now:     start(), rand: rand.New(rand.NewPCG(seed, 3)), honest: netip.MustParseAddrPort("198.51.100.2:7"),
	}
}

// do lets the victim take ev; checks to the honest address are answered at once.
func (v *victim) do(ev Event) {
	for todo := []Event{ev}; len(todo) > 0; todo = todo[1:] {
		for _, act := range v.step(v.now, todo[0]) {
			switch act := act.(type) {
			case SendCheck:
				if act.Path.Remote == v.honest {
					todo = append(todo, CheckAnswered(act))
				} else {
					v.checks++
				}
			case SendSignal:
				v.signals++
			case Use:
				v.lost = v.lost || act.Path.Remote != v.honest
			case Resend, Changed, Wake, Refresh:
			}
		}
	}
}

// after lets time go on by d.
func (v *victim) after(d time.Duration) {
	for end := v.now.Add(d); ; {
		if !v.wake.After(v.now) || v.wake.After(end) {
			v.now = end
			return
		}
		v.now = v.wake
		v.do(Tick{})
	}
}

func (v *victim) address() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(v.rand.Uint32()), byte(v.rand.Uint32())}), uint16(v.rand.Uint32()))
}

func (v *victim) list(n int) (list []keys.Candidate) {
	for range n {
		list = append(list, keys.Candidate{Kind: keys.CandidateKind(v.rand.IntN(7)), Addr: v.address()})
	}
	return list
}

func (v *victim) id() (id [12]byte) {
	binary.BigEndian.PutUint64(id[:], v.rand.Uint64())
	return id
}

func (v *victim) report(t *testing.T) {
	t.Helper()
	for _, fault := range v.faults {
		t.Error(fault)
	}
}

// A peer that sends thousands of candidates, calls and checks gets few packets out of us, and the path stays.
func TestHostilePeer(t *testing.T) {
	const minute = 600 // steps
	for _, attack := range []struct {
		name    string
		event   func(v *victim) Event
		checks  int // at most, in a minute
		signals int
	}{
		{"records", func(v *victim) Event { return Candidates{Remote: v.list(200)} }, 3 * 24 * 13, 40},
		{"calls", func(v *victim) Event {
			return Call{Session: v.rand.Uint64N(1 << 40), Candidates: v.list(100)}
		}, 3 * 16 * 200, 60},
		{"the same call", func(v *victim) Event { return Call{Session: 5, Candidates: v.list(100)} }, 400, 20},
		{"acks and goes", func(v *victim) Event {
			if v.rand.IntN(2) == 0 {
				return Ack{Session: v.rand.Uint64(), Candidates: v.list(100)}
			}
			return Go{Session: v.rand.Uint64()}
		}, 0, 10},
		{"checks", func(v *victim) Event { return CheckRequested{ID: v.id(), Path: UDP(v.address())} }, 4 * minute, 10},
		{"packets", func(v *victim) Event { return Proven{Path: UDP(v.address())} }, 4 * minute, 10},
		{"forged answers", func(v *victim) Event { return CheckAnswered{ID: v.id(), Path: UDP(v.address())} }, 0, 10},
	} {
		for _, path := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/path %v", attack.name, path), func(t *testing.T) {
				v := newVictim(1)
				if path {
					v.do(Candidates{Remote: []keys.Candidate{{Kind: keys.Host, Addr: v.honest}}})
				}
				v.do(Initiation{})
				v.after(10 * time.Second)
				v.checks, v.signals, v.lost = 0, 0, false
				for range minute {
					v.do(attack.event(v))
					if path {
						v.do(Traffic{Tx: true, Rx: true, From: UDP(v.honest)})
					}
					v.after(100 * time.Millisecond)
				}
				t.Logf("%d checks, %d signals", v.checks, v.signals)
				if v.checks > attack.checks || v.signals > attack.signals {
					t.Errorf("%d checks and %d signals in a minute, want at most %d and %d",
						v.checks, v.signals, attack.checks, attack.signals)
				}
				if path && v.lost {
					t.Error("the path was given up")
				}
				v.report(t)
			})
		}
	}
}

// What is not authentic, or answers nothing, changes nothing at all.
func TestForgedAnswersChangeNothing(t *testing.T) {
	v := newVictim(1)
	v.do(Candidates{Remote: append(v.list(5), keys.Candidate{Kind: keys.Host, Addr: v.honest})})
	v.do(Initiation{})
	v.after(time.Second)
	v.do(Traffic{Tx: true, Rx: true, From: UDP(v.honest)})
	for range 100 {
		v.after(50 * time.Millisecond)
		before := v.state()
		for _, ev := range []Event{
			CheckAnswered{ID: v.id(), Path: UDP(v.honest)},
			CheckAnswered{ID: v.lastID(), Path: UDP(v.address())},
			CheckAnswered{ID: v.lastID(), Path: Path{}},
			Ack{Session: 7, Candidates: v.list(3)},
			Go{Session: 7},
			Traffic{},
		} {
			v.do(ev)
			if got := v.state(); got != before {
				t.Fatalf("%#v changed\n%s\nto\n%s", ev, before, got)
			}
		}
	}
	v.report(t)
}

// lastID is that of the newest check without an answer.
func (v *victim) lastID() [12]byte {
	if n := len(v.prober.flights); n > 0 {
		return v.prober.flights[n-1].id
	}
	return v.id()
}

func (v *victim) state() string {
	text := fmt.Sprintf("%+v %+v %+v %+v %v", v.prober, v.call, v.round, v.health, v.Snapshot())
	for _, p := range v.table.pairs {
		text += fmt.Sprintf("\n%+v", *p)
	}
	return text
}
