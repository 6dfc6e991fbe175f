package sim

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"warren/mesh/gossip"
)

// pair names the link between two members, the lower index first.
type pair struct{ a, b int32 }

func pairOf(a, b int32) pair { return pair{min(a, b), max(a, b)} }

// link is a link that is up.
type link struct {
	generation uint64
	delay      int64    // one way, nanoseconds
	last       [2]int64 // arrival of the last message from a, from b
	dead       bool     // one end died: the other has yet to notice
	cut        bool
	held       []event // sent while cut
}

// network carries messages between members.
type network struct {
	cfg        Config
	rand       *rand.Rand
	queue      *queue
	nodes      *[]*Node
	stats      *Stats
	step       func(i int32, ev gossip.Event) // tells a member
	links      map[pair]*link
	side       []uint8
	blocked    map[pair]bool
	generation uint64
}

// happen does what an event of the network is.
func (n *network) happen(e event) {
	switch e.kind {
	case evDeliver:
		n.deliver(e)
	case evDialled:
		n.dialled(e)
	case evHungUp:
		n.hungUp(e)
	case evExpire:
		n.expire(e)
	}
}

// block makes two members unable to reach each other, as behind hard NATs.
func (n *network) block(a, b int) { n.blocked[pairOf(int32(a), int32(b))] = true }

// die has all links of a member end without a word.
func (n *network) die(i int32) {
	for _, p := range n.sortedLinks() {
		if l := n.links[p]; (p.a == i || p.b == i) && !l.dead {
			l.dead, l.held = true, nil
			n.expireLater(p, l)
		}
	}
}

func (n *network) sortedLinks() []pair {
	return slices.SortedFunc(maps.Keys(n.links), func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.a, b.a), cmp.Compare(a.b, b.b))
	})
}

// reachable reports whether packets pass between two members now.
func (n *network) reachable(a, b int32) bool {
	return (*n.nodes)[a].core != nil && (*n.nodes)[b].core != nil && n.side[a] == n.side[b] && !n.blocked[pairOf(a, b)]
}

// delay draws the one-way delay of a packet, with the time that repeats of lost ones take.
func (n *network) delay(base int64) int64 {
	d := base + n.rand.Int64N(base/10+1)
	for n.rand.Float64() < n.cfg.Loss {
		d += 2*base + int64(25*time.Millisecond) // a probe time-out of QUIC
		n.stats.Lost++
	}
	return d
}

func (n *network) send(from, to int32, body []byte) {
	l := n.links[pairOf(from, to)]
	if l == nil || l.dead {
		return
	}
	n.stats.Messages++
	n.stats.Bytes += uint64(len(body))
	(*n.nodes)[from].sent += uint64(len(body))
	e := event{kind: evDeliver, node: to, peer: from, link: l.generation, body: body}
	if l.cut {
		l.held = append(l.held, e)
		return
	}
	n.transmit(l, e)
}

// transmit schedules the arrival of a message, after those before it.
func (n *network) transmit(l *link, e event) {
	way := 0
	if e.peer > e.node {
		way = 1
	}
	e.at = max(n.queue.now+n.delay(l.delay), l.last[way])
	l.last[way] = e.at
	n.queue.push(e)
}

func (n *network) deliver(e event) {
	l := n.links[pairOf(e.node, e.peer)]
	switch {
	case l == nil || l.generation != e.link || l.dead:
	case l.cut:
		l.held = append(l.held, e)
	default:
		n.step(e.node, gossip.Received{Peer: (*n.nodes)[e.peer].ID, Body: e.body})
	}
}

func (n *network) dial(from, to int32) {
	n.stats.Dials++
	took := int64(5 * time.Second)
	if n.reachable(from, to) {
		took = 3 * n.delay(n.between())
	}
	n.queue.push(event{at: n.queue.now + took, kind: evDialled, node: from, peer: to, link: (*n.nodes)[from].life})
}

// between draws the delay of a new link.
func (n *network) between() int64 {
	return int64(n.cfg.DelayMin) + n.rand.Int64N(int64(n.cfg.DelayMax-n.cfg.DelayMin)+1)
}

func (n *network) dialled(e event) {
	if (*n.nodes)[e.node].life != e.link {
		return // dialled by a process that is gone
	}
	p := pairOf(e.node, e.peer)
	if !n.reachable(e.node, e.peer) {
		n.step(e.node, gossip.DialFailed{Peer: (*n.nodes)[e.peer].ID})
		return
	}
	if l := n.links[p]; l != nil && !l.cut && !l.dead {
		return // the other side's dial was first
	}
	n.generation++
	n.links[p] = &link{generation: n.generation, delay: n.between()}
	n.step(e.node, gossip.LinkUp{Peer: (*n.nodes)[e.peer].ID})
	if l := n.links[p]; l != nil && l.generation == n.generation {
		n.step(e.peer, gossip.LinkUp{Peer: (*n.nodes)[e.node].ID})
	}
}

// hangup ends a link on purpose; the other side learns it soon.
func (n *network) hangup(by, other int32) {
	p := pairOf(by, other)
	if l := n.links[p]; l != nil && !l.dead {
		delete(n.links, p)
		n.queue.push(event{at: n.queue.now + l.delay, kind: evHungUp, node: other, peer: by})
	}
}

func (n *network) hungUp(e event) {
	if n.links[pairOf(e.node, e.peer)] == nil {
		n.step(e.node, gossip.LinkDown{Peer: (*n.nodes)[e.peer].ID, ByPeer: true})
	}
}

// recut marks links as cut or whole again, as the partition says.
func (n *network) recut() {
	for _, p := range n.sortedLinks() {
		l := n.links[p]
		switch whole := n.side[p.a] == n.side[p.b] && !n.blocked[p]; {
		case l.dead:
		case !whole && !l.cut:
			l.cut = true
			n.expireLater(p, l)
		case whole && l.cut:
			l.cut = false
			held := l.held
			l.held = nil
			for _, e := range held {
				n.transmit(l, e)
			}
		}
	}
}

// expireLater has a link fail after its time-out.
func (n *network) expireLater(p pair, l *link) {
	after := linkTimeout + n.rand.Int64N(int64(time.Second))
	n.queue.push(event{at: n.queue.now + after, kind: evExpire, node: p.a, peer: p.b, link: l.generation})
}

// linkTimeout is how long a silent link lives.
const linkTimeout = int64(15 * time.Second)

func (n *network) expire(e event) {
	p := pairOf(e.node, e.peer)
	l := n.links[p]
	if l == nil || l.generation != e.link || !l.cut && !l.dead {
		return
	}
	delete(n.links, p)
	n.step(e.node, gossip.LinkDown{Peer: (*n.nodes)[e.peer].ID})
	n.step(e.peer, gossip.LinkDown{Peer: (*n.nodes)[e.node].ID})
}
