package neighbours

import (
	"bytes"
	"testing"
	"time"

	"warren/keys"
)

// got returns the signals that a link carried, and forgets them.
func (w *wire) got(t *testing.T) (all []Signal) {
	t.Helper()
	for _, b := range w.sent {
		s, err := ParseSignal(b)
		if err != nil {
			t.Fatalf("a signal that was sent: %v", err)
		}
		all = append(all, s)
	}
	w.sent = nil
	return all
}

func TestSend(t *testing.T) {
	tab, wires := table(1, 2, 3, 4)
	tab.named = func(id keys.NodeID) Introduction {
		if id == node(9) {
			return Introduction{Contacts: []keys.NodeID{node(4), node(8)}}
		}
		return Introduction{Public: id == node(3)}
	}
	for _, tt := range []struct {
		to   byte
		ways []byte
	}{
		{2, []byte{2}},    // a neighbour
		{9, []byte{4, 3}}, // its contact, then a public member
		{7, []byte{3, 2}}, // a public member, then any
	} {
		tab.Send(node(tt.to), []byte("sealed"))
		for p, w := range wires {
			signals := w.got(t)
			want := bytes.IndexByte(tt.ways, p) >= 0
			if want != (len(signals) == 1) {
				t.Errorf("to %d: %d signals by %d, want it to be sent there: %v", tt.to, len(signals), p, want)
			}
			for _, s := range signals {
				if s.To != node(tt.to) || s.From != node(1) || s.Hops != maxHops || string(s.Sealed) != "sealed" {
					t.Errorf("to %d: signal %+v", tt.to, s)
				}
			}
		}
	}
}

func TestForward(t *testing.T) {
	for name, tt := range map[string]struct {
		s    Signal
		from byte
		to   byte // 0: nowhere
		hops uint64
	}{
		"to a neighbour":              {Signal{To: node(3), From: node(7), Hops: 2}, 2, 3, 2},
		"to a neighbour, no hop left": {Signal{To: node(3), From: node(7)}, 2, 3, 0},
		"on its way":                  {Signal{To: node(9), From: node(7), Hops: 2}, 2, 3, 1},
		"no hop left":                 {Signal{To: node(9), From: node(7)}, 2, 0, 0},
		"back to the asker":           {Signal{To: node(2), From: node(7), Hops: 2}, 2, 0, 0},
		"back to its sender":          {Signal{To: node(7), From: node(7), Hops: 2}, 2, 0, 0},
		"our own, come back":          {Signal{To: node(3), From: node(1), Hops: 2}, 2, 0, 0},
		"its sender is a neighbour":   {Signal{To: node(9), From: node(3), Hops: 2}, 2, 4, 1},
		"from nobody we know":         {Signal{To: node(3), From: node(7), Hops: 2}, 8, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			tab, wires := table(1, 2, 3, 4)
			tab.Forward(tt.s, node(tt.from), now)
			for p, w := range wires {
				signals := w.got(t)
				if (p == tt.to) != (len(signals) == 1) {
					t.Errorf("%d signals to %d, want it to go to %d", len(signals), p, tt.to)
				}
				if p == tt.to && len(signals) == 1 && signals[0].Hops != tt.hops {
					t.Errorf("%d hops left, want %d", signals[0].Hops, tt.hops)
				}
			}
		})
	}
}

// TestForwardIsLimited: 100 signals at once, then 50 a second, for each neighbour by itself; a clock that goes back costs
// nothing.
func TestForwardIsLimited(t *testing.T) {
	tab, wires := table(1, 2, 3, 4)
	s := Signal{To: node(4), From: node(7)}
	for _, step := range []struct {
		after time.Duration
		from  byte
		want  int
	}{{0, 2, 100}, {0, 3, 100}, {time.Second, 2, 50}, {time.Second, 2, 0}, {0, 2, 0}, {time.Hour, 2, 100}} {
		for range 200 {
			tab.Forward(s, node(step.from), now.Add(step.after))
		}
		if got := len(wires[4].got(t)); got != step.want {
			t.Errorf("after %s: %d of 200 signals of %d passed on, want %d", step.after, got, step.from, step.want)
		}
	}
}

// TestNoLoops: a signal to nobody dies out in a full mesh, after few copies.
func TestNoLoops(t *testing.T) {
	const n = 8
	tables := map[keys.NodeID]*Table{}
	type flight struct {
		from, to keys.NodeID
		b        []byte
	}
	var wires []*wire
	var owners []keys.NodeID
	for i := range byte(n) {
		tab := New(node(i+1), nobody)
		for j := range byte(n) {
			if i == j {
				continue
			}
			w := &wire{peer: node(j + 1)}
			if _, err := tab.Add(w, Hello{}); err != nil {
				t.Fatal(err)
			}
			wires, owners = append(wires, w), append(owners, node(i+1))
		}
		tables[node(i+1)] = tab
	}
	tables[node(1)].Send(node(99), []byte("x"))
	copies := 0
	for {
		var flights []flight
		for i, w := range wires {
			for _, b := range w.sent {
				flights = append(flights, flight{owners[i], w.peer, b})
			}
			w.sent = nil
		}
		if len(flights) == 0 {
			break
		}
		if copies += len(flights); copies > 100 {
			t.Fatal("the signal goes round and round")
		}
		for _, f := range flights {
			s, err := ParseSignal(f.b)
			if err != nil {
				t.Fatal(err)
			}
			if f.to == node(1) {
				t.Errorf("%s sent the signal back to its sender", f.from)
			}
			tables[f.to].Forward(s, f.from, now)
		}
	}
	if want := sendWays * (1 + maxHops); copies != want {
		t.Errorf("%d copies, want %d", copies, want)
	}
}

// FuzzSignal: what can be read is written back as the same bytes.
func FuzzSignal(f *testing.F) {
	f.Add(Signal{To: node(1), From: node(2), Hops: 2, Sealed: []byte("sealed")}.encode())
	f.Add(Signal{}.encode())
	f.Add(Signal{Hops: maxHops, Sealed: make([]byte, 1000)}.encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := ParseSignal(in)
		if err != nil {
			return
		}
		if again := s.encode(); !bytes.Equal(again, in) || s.Hops > maxHops {
			t.Errorf("%x was read as %+v and written back as %x", in, s, again)
		}
	})
}
