package neighbours

import (
	"errors"
	"slices"
	"testing"
	"time"

	"warren/keys"
)

// now is any time.
var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func node(b byte) keys.NodeID { return keys.NodeID{0: b, 31: 1} }

// wire is a link of the tests: what was sent on it, and whether it was closed.
type wire struct {
	peer   keys.NodeID
	dialed bool
	sent   [][]byte
	closed bool
}

func (w *wire) Peer() keys.NodeID   { return w.peer }
func (w *wire) Dialed() bool        { return w.dialed }
func (w *wire) Datagram(b []byte)   { w.sent = append(w.sent, b) }
func (w *wire) Gossip([]byte, bool) {}
func (w *wire) RTT() time.Duration  { return 0 }
func (w *wire) Close()              { w.closed = true }

func nobody(keys.NodeID) (none Introduction) { return none }

// table links self to peers, of which those named in public are so.
func table(self byte, peers ...byte) (*Table, map[byte]*wire) {
	t := New(node(self), nobody)
	wires := map[byte]*wire{}
	for _, p := range peers {
		wires[p] = &wire{peer: node(p)}
		if _, err := t.Add(wires[p], Hello{Run: [8]byte{p}}); err != nil {
			panic(err)
		}
	}
	return t, wires
}

// connection is one QUIC connection between two hosts, with its two ends.
type connection struct {
	ends   [2]*wire // at the lower id, at the higher
	failed [2]bool  // the end was refused
}

// TestDuplicateLinks: both ends keep the same one of two links that were dialled by different sides, in whatever order
// each end sees them; of several dialled by one side each end keeps its newest.
func TestDuplicateLinks(t *testing.T) {
	ids := [2]keys.NodeID{node(1), node(2)}
	orders := [][]int{{0, 1}, {1, 0}}
	for _, low := range orders {
		for _, high := range orders {
			conns := make([]*connection, 2)
			for i := range conns { // connection i was dialled by ids[i]
				conns[i] = &connection{ends: [2]*wire{{peer: ids[1], dialed: i == 0}, {peer: ids[0], dialed: i == 1}}}
			}
			var tables [2]*Table
			for side, order := range [][]int{low, high} {
				tables[side] = New(ids[side], nobody)
				for _, i := range order {
					_, err := tables[side].Add(conns[i].ends[side], Hello{Run: [8]byte{9}})
					conns[i].failed[side] = err != nil
					if err != nil && !errors.Is(err, ErrDuplicate) {
						t.Fatalf("Add: %v", err)
					}
				}
			}
			for side, tab := range tables {
				if !tab.Holds(conns[0].ends[side]) || conns[0].ends[side].closed || conns[0].failed[side] {
					t.Errorf("orders %v and %v: side %d does not keep what the lower id dialled", low, high, side)
				}
				if dup := conns[1]; !dup.failed[side] && !dup.ends[side].closed {
					t.Errorf("orders %v and %v: side %d left the other link open", low, high, side)
				}
			}
		}
	}
}

// TestRestartedPeer: a link of a new run replaces the old one whoever dialled it, and tells of the restart once.
func TestRestartedPeer(t *testing.T) {
	for _, dialed := range []bool{false, true} {
		tab := New(node(1), nobody)
		old := &wire{peer: node(2), dialed: true} // what the lower id dialled, thus kept within a run
		if restarted, err := tab.Add(old, Hello{Run: [8]byte{1}}); restarted || err != nil {
			t.Fatalf("first link: restarted %v, %v", restarted, err)
		}
		next := &wire{peer: node(2), dialed: dialed}
		if restarted, err := tab.Add(next, Hello{Run: [8]byte{2}}); !restarted || err != nil || !old.closed || !tab.Holds(next) {
			t.Errorf("dialed %v: restarted %v, %v, old closed %v; want the new link to count", dialed, restarted, err, old.closed)
		}
		if tab.Remove(old, true, now) || !tab.Holds(next) {
			t.Error("the end of the old link took the new one away")
		}
		if !tab.Remove(next, false, now) {
			t.Error("the end of the new link was not noticed")
		}
		again := &wire{peer: node(2)}
		if restarted, err := tab.Add(again, Hello{Run: [8]byte{2}}); restarted || err != nil {
			t.Errorf("the same run after a loss: restarted %v, %v", restarted, err)
		}
	}
}

func TestOnline(t *testing.T) {
	tab, wires := table(1, 2, 3)
	tab.Heard(node(4), now)
	tab.Remove(wires[2], true, now)  // hung up
	tab.Remove(wires[3], false, now) // fell silent
	for _, tt := range []struct {
		peer byte
		at   time.Duration
		want bool
	}{{2, 0, true}, {2, 299 * time.Second, true}, {2, 300 * time.Second, false}, {3, 0, false}, {4, time.Minute, true}, {5, 0, false}} {
		if got := tab.Online(node(tt.peer), now.Add(tt.at)); got != tt.want {
			t.Errorf("peer %d after %s: online %v, want %v", tt.peer, tt.at, got, tt.want)
		}
	}
	if _, err := tab.Add(wires[2], Hello{}); err != nil || !tab.Online(node(2), now.Add(time.Hour)) {
		t.Errorf("a linked peer is offline, %v", err)
	}
	if !tab.Close(node(2)) || tab.Close(node(2)) || !wires[2].closed || tab.Get(node(2)) != nil {
		t.Error("Close must close and forget the link, once")
	}
}

func TestContacts(t *testing.T) {
	tab := New(node(1), func(id keys.NodeID) Introduction { return Introduction{Public: id == node(5)} })
	if got := tab.Contacts(nil); len(got) != 0 {
		t.Errorf("contacts of nobody: %v", got)
	}
	for _, p := range []byte{2, 3, 4, 5} {
		if _, err := tab.Add(&wire{peer: node(p)}, Hello{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ before, want []keys.NodeID }{
		{nil, []keys.NodeID{node(2), node(5)}},                                 // the public one, then any
		{[]keys.NodeID{node(4), node(5)}, []keys.NodeID{node(4), node(5)}},     // who was named stays
		{[]keys.NodeID{node(9), node(3)}, []keys.NodeID{node(3), node(5)}},     // unless it is gone
		{[]keys.NodeID{node(3), node(4)}, []keys.NodeID{node(3), node(5)}},     // public before named
		{[]keys.NodeID{node(5), node(200)}, []keys.NodeID{node(2), node(5)}},   // sorted
		{[]keys.NodeID{node(200), node(201)}, []keys.NodeID{node(2), node(5)}}, // both gone
	} {
		if got := tab.Contacts(tt.before); !slices.Equal(got, tt.want) {
			t.Errorf("contacts after %v: %v, want %v", tt.before, got, tt.want)
		}
	}
}
