package gossip

import (
	"bytes"
	"slices"
	"time"

	"warren/keys"
)

// topology is who is linked and who is to be. Lists are sorted or in order of arrival, never taken from a map, so that
// runs can be repeated.
type topology struct {
	roster  []Member // sorted by ID
	publics []int32  // indices into roster, without self
	others  int      // members without self
	self    Member

	peers   map[keys.NodeID]*peer // those that something is known of
	links   []*link               // sorted by peer
	dialing []*peer
	lost    []*peer // neighbours whose link failed, above MaxFull: tried again beside the new ones

	failures    int       // dials in a row that gave nothing
	nextFill    time.Time // zero: nothing to fill
	nextPrune   time.Time
	nextProbe   time.Time
	nextShuffle time.Time
}

// maxLost bounds the lost neighbours that are remembered.
const maxLost = 8

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
}

// link is a link to a neighbour.
type link struct {
	peer       keys.NodeID
	since      time.Time
	probe      bool
	nextDigest time.Time
	unknown    time.Duration // back-off of comparisons because of items that could not be judged
	wanted     int           // items asked for and not yet here
	progress   bool          // some of them were new
	served     int64         // budget (GCRA): Unix nanoseconds
}

// serve reports whether n more bytes of answers are within the link's budget, and charges them.
func (l *link) serve(now time.Time, n int) bool {
	const perByte = int64(time.Second) / serveRate
	at := max(l.served, now.UnixNano())
	if at-now.UnixNano() > serveBurst*perByte {
		return false
	}
	l.served = at + int64(n)*perByte
	return true
}

// link returns the link to a peer, or nil.
func (t *topology) link(id keys.NodeID) *link {
	if i, ok := t.findLink(id); ok {
		return t.links[i]
	}
	return nil
}

func (t *topology) findLink(id keys.NodeID) (int, bool) {
	return slices.BinarySearchFunc(t.links, id, func(l *link, id keys.NodeID) int {
		return bytes.Compare(l.peer[:], id[:])
	})
}

// dropLink forgets a link and reports whether there was one.
func (t *topology) dropLink(id keys.NodeID) bool {
	i, ok := t.findLink(id)
	if ok {
		t.links = slices.Delete(t.links, i, i+1)
	}
	return ok
}

// member returns the roster's line of an id.
func (t *topology) member(id keys.NodeID) (Member, bool) {
	i, ok := slices.BinarySearchFunc(t.roster, id, func(m Member, id keys.NodeID) int {
		return bytes.Compare(m.ID[:], id[:])
	})
	if !ok {
		return Member{}, false
	}
	return t.roster[i], true
}

// peer returns what is known of a member, made if need be.
func (t *topology) peer(id keys.NodeID) *peer {
	p := t.peers[id]
	if p == nil {
		p = &peer{id: id}
		t.peers[id] = p
	}
	return p
}

// hasPublic reports whether a public member is linked or dialled, except one.
func (t *topology) hasPublic(except keys.NodeID) bool {
	public := func(id keys.NodeID) bool {
		m, _ := t.member(id)
		return m.Public && id != except
	}
	return slices.ContainsFunc(t.links, func(l *link) bool { return public(l.peer) }) ||
		slices.ContainsFunc(t.dialing, func(p *peer) bool { return public(p.id) })
}

// stopDialing marks a peer as not dialled any more, and reports whether it was.
func (t *topology) stopDialing(p *peer) bool {
	if !p.dialing {
		return false
	}
	p.dialing = false
	t.dialing = slices.DeleteFunc(t.dialing, func(q *peer) bool { return q == p })
	return true
}

// forget drops what is known of a former member, or of one that never mattered.
func (t *topology) forget(p *peer) {
	t.stopDialing(p)
	t.found(p)
	delete(t.peers, p.id)
}

// found takes a peer off the lost ones.
func (t *topology) found(p *peer) {
	t.lost = slices.DeleteFunc(t.lost, func(q *peer) bool { return q == p })
}
