// Package neighbours keeps the control links that a node has now: one for each member, whoever dialled; what they say
// of their agents and clocks; and the way of signals through them. It makes no links (see package link) and wants none
// (see package gossip). Used from one goroutine.
package neighbours

import (
	"errors"
	"maps"
	"slices"
	"time"

	"warren/keys"
)

// Link is what the package needs of a *link.Link.
type Link interface {
	Peer() keys.NodeID
	Dialed() bool
	Datagram([]byte)
	Gossip(body []byte, sync bool)
	RTT() time.Duration
	Close()
}

// Neighbour is a member with a link to this host.
type Neighbour struct {
	Link
	Hello

	tokens float64 // of signals that we pass on for it
	filled time.Time
}

// Table holds the neighbours. Make it with New.
type Table struct {
	self  keys.NodeID
	byID  map[keys.NodeID]*Neighbour
	runs  map[keys.NodeID][8]byte        // of each agent that was ever linked, its last run
	heard map[keys.NodeID]time.Time      // last sign of life of those not linked
	named func(keys.NodeID) Introduction // what the roster says of a member
}

// Introduction is what a member's record says about the way of signals to it.
type Introduction struct {
	Contacts []keys.NodeID // neighbours that it named
	Public   bool
}

// New returns a table of nobody; named tells what the roster knows of a member.
func New(self keys.NodeID, named func(keys.NodeID) Introduction) *Table {
	return &Table{
		self: self, named: named, byID: map[keys.NodeID]*Neighbour{}, runs: map[keys.NodeID][8]byte{},
		heard: map[keys.NodeID]time.Time{},
	}
}

// ErrDuplicate is what a new link ends with where the old one is kept.
var ErrDuplicate = errors.New("neighbours: there is a link already")

// Add takes a new link, and closes the old one to the same member if there is one. Of two links between the same runs
// of two agents both ends keep the one that the lower id dialled; the error is then ErrDuplicate for the other. An agent
// that was started anew has no old link, whatever we still believe: restarted tells of that.
func (t *Table) Add(l Link, h Hello) (restarted bool, err error) {
	peer := l.Peer()
	if old := t.byID[peer]; old != nil {
		byLower := l.Dialed() == (t.self.Compare(peer) < 0)
		if old.Run == h.Run && old.Dialed() != l.Dialed() && !byLower {
			return false, ErrDuplicate
		}
		old.Close()
	}
	run, known := t.runs[peer]
	t.runs[peer] = h.Run
	t.byID[peer] = &Neighbour{Link: l, Hello: h}
	delete(t.heard, peer)
	return known && run != h.Run, nil
}

// Remove forgets a link if it is the one that counts, and reports whether it was. A neighbour that hung up is still
// believed to be there; one that fell silent is not.
func (t *Table) Remove(l Link, hungUp bool, now time.Time) bool {
	peer := l.Peer()
	if n := t.byID[peer]; n == nil || n.Link != l {
		return false
	}
	delete(t.byID, peer)
	if hungUp {
		t.heard[peer] = now
	}
	return true
}

// Close closes the link to a member and forgets it; it reports whether there was one.
func (t *Table) Close(peer keys.NodeID) bool {
	n := t.byID[peer]
	if n != nil {
		delete(t.byID, peer)
		n.Close()
	}
	return n != nil
}

// Get returns the neighbour, nil if there is no link to that member.
func (t *Table) Get(peer keys.NodeID) *Neighbour { return t.byID[peer] }

// Holds reports whether l is the link that counts to its member.
func (t *Table) Holds(l Link) bool {
	n := t.byID[l.Peer()]
	return n != nil && n.Link == l
}

// IDs returns the neighbours' ids, sorted.
func (t *Table) IDs() []keys.NodeID { return slices.SortedFunc(maps.Keys(t.byID), keys.NodeID.Compare) }

// Heard notes a sign of life of a member without a link.
func (t *Table) Heard(peer keys.NodeID, now time.Time) {
	if t.byID[peer] == nil {
		t.heard[peer] = now
	}
}

// heardFor is how long a sign of life is believed.
const heardFor = 300 * time.Second

// Online reports whether a member is linked or was heard of within 300 s.
func (t *Table) Online(peer keys.NodeID, now time.Time) bool {
	if t.byID[peer] != nil {
		return true
	}
	at, ok := t.heard[peer]
	return ok && now.Sub(at) < heardFor
}

// Contacts are two neighbours through which others may call this host, public ones first. Those named before stay while
// they are neighbours, so that the record rarely changes.
func (t *Table) Contacts(before []keys.NodeID) []keys.NodeID {
	worth := func(id keys.NodeID) (points int) {
		if t.named(id).Public {
			points += 2
		}
		if slices.Contains(before, id) {
			points++
		}
		return points
	}
	ids := t.IDs()
	slices.SortStableFunc(ids, func(a, b keys.NodeID) int { return worth(b) - worth(a) })
	ids = ids[:min(2, len(ids))]
	slices.SortFunc(ids, keys.NodeID.Compare)
	return ids
}
