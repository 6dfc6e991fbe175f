package neighbours

import (
	"fmt"
	"slices"
	"time"

	"warren/keys"
	"warren/keys/canon"
)

// Signal is a sealed CALL, ACK or GO on its way through links, as a datagram. Only its receiver can read it.
type Signal struct {
	_      struct{} `cbor:",toarray"`
	To     keys.NodeID
	From   keys.NodeID
	Hops   uint64 // how often it may still be passed on
	Sealed []byte
}

const (
	maxHops   = 2
	maxSignal = 1200
	sendWays  = 2 // by which a signal leaves its sender
)

// ParseSignal reads a datagram.
func ParseSignal(b []byte) (Signal, error) {
	var s Signal
	if err := canon.Unmarshal(b, maxSignal, &s); err != nil {
		return Signal{}, fmt.Errorf("neighbours: reading a signal: %w", err)
	}
	if s.Hops > maxHops {
		return Signal{}, fmt.Errorf("neighbours: reading a signal: %d hops", s.Hops)
	}
	return s, nil
}

func (s Signal) encode() []byte {
	b, err := canon.Marshal(s)
	if err != nil {
		panic("neighbours: a signal cannot be encoded: " + err.Error())
	}
	return b
}

// Send lets a signal of ours leave: on the link to its receiver, else by two neighbours.
func (t *Table) Send(to keys.NodeID, sealed []byte) {
	s := Signal{To: to, From: t.self, Hops: maxHops, Sealed: sealed}
	if n := t.byID[to]; n != nil {
		n.Datagram(s.encode())
		return
	}
	for _, id := range t.towards(to, sendWays) {
		t.byID[id].Datagram(s.encode())
	}
}

// Forward passes on a signal that came from a neighbour and is not for us: 50 a second for each neighbour, 100 at once.
// It never goes back to that neighbour, nor to who sent it first.
func (t *Table) Forward(s Signal, from keys.NodeID, now time.Time) {
	n := t.byID[from]
	if n == nil || s.To == from || s.To == s.From || s.From == t.self || !n.mayForward(now) {
		return
	}
	if to := t.byID[s.To]; to != nil {
		to.Datagram(s.encode())
		return
	}
	if s.Hops == 0 {
		return
	}
	s.Hops--
	for _, id := range t.towards(s.To, 1, from, s.From) {
		t.byID[id].Datagram(s.encode())
	}
}

func (n *Neighbour) mayForward(now time.Time) bool {
	const rate, burst = 50, 100
	if n.filled.IsZero() {
		n.tokens = burst
	} else {
		n.tokens = min(burst, n.tokens+rate*max(0, now.Sub(n.filled).Seconds()))
	}
	n.filled = now
	if n.tokens < 1 {
		return false
	}
	n.tokens--
	return true
}

// towards returns up to n neighbours that may know the way to a member: those it named as its contacts, else public
// ones, else any.
func (t *Table) towards(to keys.NodeID, n int, except ...keys.NodeID) []keys.NodeID {
	var named, public, others []keys.NodeID
	contacts := t.named(to).Contacts
	for _, id := range t.IDs() {
		switch {
		case slices.Contains(except, id):
		case slices.Contains(contacts, id):
			named = append(named, id)
		case t.named(id).Public:
			public = append(public, id)
		default:
			others = append(others, id)
		}
	}
	all := slices.Concat(named, public, others)
	return all[:min(n, len(all))]
}
