package gossip

import (
	"bytes"
	"slices"
	"time"

	"warren/keys"
)

// table is who the members are, and what is known of them. Lists are sorted or in order of arrival, never taken from a
// map, so that runs can be repeated.
type table struct {
	members []Member // sorted by ID
	publics []int32  // indices into members, without self
	others  int      // members without self
	self    Member

	peers   map[keys.NodeID]*peer // those that something is known of
	links   []*link               // sorted by peer
	dialing []*peer
	lost    []*peer // neighbours whose link failed, above MaxFull: tried again beside the new ones
}

// peer is what is known of a member.
type peer struct {
	id      keys.NodeID
	dialing bool
	probe   bool // dialled only to see whether it is there
	backoff time.Duration
	retry   time.Time // not dialled before
	banned  time.Time // not linked before
	strikes int
	tried   time.Time // last dialled or linked

	served, admitted budget // in bytes sent and received; a new link does not refill them
}

// link is a link to a neighbour.
type link struct {
	peer       *peer
	since      time.Time
	probe      bool
	nextDigest time.Time
	unknown    time.Duration          // back-off of comparisons because of items that could not be judged
	wants      map[shortKey]time.Time // items asked for and not yet here, and until when nobody else is asked
	late       bool                   // it did not answer once: others are asked besides
	progress   bool                   // some items that it sent were new
}

// admit reports whether another message of n bytes is within what a peer may send, and charges it.
func (l *link) admit(clock time.Duration, n int) bool {
	const perByte = time.Second / admitRate
	if !l.peer.admitted.has(clock, admitBurst*perByte) {
		return false
	}
	l.peer.admitted.take(clock, time.Duration(max(n, admitLeast))*perByte)
	return true
}

// servable reports whether the peer may be sent answers; serve also charges n bytes.
func (l *link) servable(clock time.Duration) bool {
	return l.peer.served.has(clock, serveBurst*(time.Second/serveRate))
}

func (l *link) serve(clock time.Duration, n int) bool {
	ok := l.servable(clock)
	if ok {
		l.peer.served.take(clock, time.Duration(n)*(time.Second/serveRate))
	}
	return ok
}

// waits reports whether the peer was asked for an item and has time to answer.
func (l *link) waits(k shortKey, now time.Time) bool {
	until, asked := l.wants[k]
	if asked && !now.Before(until) {
		delete(l.wants, k)
		l.late = true
		return false
	}
	return asked
}

// giveUp forgets what was asked for and not answered in time.
func (l *link) giveUp(now time.Time) {
	for k := range l.wants {
		l.waits(k, now)
	}
}

// setMembers replaces the members, and returns the former ones.
func (t *table) setMembers(self keys.NodeID, members []Member) (former []Member) {
	order := func(a, b Member) int { return bytes.Compare(a.ID[:], b.ID[:]) }
	if !slices.IsSortedFunc(members, order) {
		members = slices.SortedFunc(slices.Values(members), order)
	}
	former = t.members
	t.members, t.publics, t.others, t.self = members, t.publics[:0], 0, Member{ID: self}
	for i, m := range members {
		if m.ID == self {
			t.self = m
			continue
		}
		t.others++
		if m.Public {
			t.publics = append(t.publics, int32(i))
		}
	}
	return former
}

// member returns the roster's line of an id.
func (t *table) member(id keys.NodeID) (Member, bool) {
	i, ok := slices.BinarySearchFunc(t.members, id, func(m Member, id keys.NodeID) int {
		return bytes.Compare(m.ID[:], id[:])
	})
	if !ok {
		return Member{}, false
	}
	return t.members[i], true
}

// link returns the link to a peer, or nil.
func (t *table) link(id keys.NodeID) *link {
	if i, ok := t.findLink(id); ok {
		return t.links[i]
	}
	return nil
}

func (t *table) findLink(id keys.NodeID) (int, bool) {
	return slices.BinarySearchFunc(t.links, id, func(l *link, id keys.NodeID) int {
		return bytes.Compare(l.peer.id[:], id[:])
	})
}

// dropLink forgets a link and reports whether there was one.
func (t *table) dropLink(id keys.NodeID) bool {
	i, ok := t.findLink(id)
	if ok {
		t.links = slices.Delete(t.links, i, i+1)
	}
	return ok
}

// peer returns what is known of a member, made if need be.
func (t *table) peer(id keys.NodeID) *peer {
	p := t.peers[id]
	if p == nil {
		p = &peer{id: id}
		t.peers[id] = p
	}
	return p
}

// dialable reports whether a member may be dialled now.
func (t *table) dialable(id keys.NodeID, now time.Time) bool {
	if id == t.self.ID || t.link(id) != nil {
		return false
	}
	p := t.peers[id]
	return p == nil || !p.dialing && !now.Before(p.retry)
}

// hasPublic reports whether a public member is linked or dialled, except one.
func (t *table) hasPublic(except keys.NodeID) bool {
	public := func(p *peer) bool {
		m, _ := t.member(p.id)
		return m.Public && p.id != except
	}
	return slices.ContainsFunc(t.links, func(l *link) bool { return public(l.peer) }) ||
		slices.ContainsFunc(t.dialing, public)
}

// stopDialing marks a peer as not dialled any more, and reports whether it was.
func (t *table) stopDialing(p *peer) bool {
	if !p.dialing {
		return false
	}
	p.dialing = false
	t.dialing = slices.DeleteFunc(t.dialing, func(q *peer) bool { return q == p })
	return true
}

// forget drops what is known of a former member, or of one that never mattered.
func (t *table) forget(p *peer) {
	t.stopDialing(p)
	t.found(p)
	delete(t.peers, p.id)
}

// found takes a peer off the lost ones.
func (t *table) found(p *peer) {
	t.lost = slices.DeleteFunc(t.lost, func(q *peer) bool { return q == p })
}
