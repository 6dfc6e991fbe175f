package sim

import (
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

// reachable reports whether packets pass between two members now.
func (s *Sim) reachable(a, b int32) bool {
	return s.nodes[a].core != nil && s.nodes[b].core != nil && s.side[a] == s.side[b] && !s.blocked[pairOf(a, b)]
}

// delay draws the one-way delay of a packet, with the time that repeats of lost ones take.
func (s *Sim) delay(base int64) int64 {
	d := base + s.rand.Int64N(base/10+1)
	for s.rand.Float64() < s.cfg.Loss {
		d += 2*base + int64(25*time.Millisecond) // a probe time-out of QUIC
		s.stats.Lost++
	}
	return d
}

func (s *Sim) send(from, to int32, body []byte) {
	l := s.links[pairOf(from, to)]
	if l == nil || l.dead {
		return
	}
	s.stats.Messages++
	s.stats.Bytes += uint64(len(body))
	s.nodes[from].sent += uint64(len(body))
	e := event{kind: evDeliver, node: to, peer: from, link: l.generation, body: body}
	if l.cut {
		l.held = append(l.held, e)
		return
	}
	s.transmit(l, e)
}

// transmit schedules the arrival of a message, after those before it.
func (s *Sim) transmit(l *link, e event) {
	way := 0
	if e.peer > e.node {
		way = 1
	}
	e.at = max(s.now+s.delay(l.delay), l.last[way])
	l.last[way] = e.at
	s.queue.push(e)
}

func (s *Sim) deliver(e event) {
	l := s.links[pairOf(e.node, e.peer)]
	switch {
	case l == nil || l.generation != e.link || l.dead:
	case l.cut:
		l.held = append(l.held, e)
	default:
		s.step(e.node, gossip.Received{Peer: s.nodes[e.peer].ID, Body: e.body})
	}
}

func (s *Sim) dial(from, to int32) {
	s.stats.Dials++
	took := int64(5 * time.Second)
	if s.reachable(from, to) {
		took = 3 * s.delay(s.between())
	}
	s.queue.push(event{at: s.now + took, kind: evDialled, node: from, peer: to, link: s.nodes[from].life})
}

// between draws the delay of a new link.
func (s *Sim) between() int64 {
	return int64(s.cfg.DelayMin) + s.rand.Int64N(int64(s.cfg.DelayMax-s.cfg.DelayMin)+1)
}

func (s *Sim) dialled(e event) {
	if s.nodes[e.node].life != e.link {
		return // dialled by a process that is gone
	}
	p := pairOf(e.node, e.peer)
	if !s.reachable(e.node, e.peer) {
		s.step(e.node, gossip.DialFailed{Peer: s.nodes[e.peer].ID})
		return
	}
	if l := s.links[p]; l != nil && !l.cut && !l.dead {
		return // the other side's dial was first
	}
	s.generation++
	s.links[p] = &link{generation: s.generation, delay: s.between()}
	s.step(e.node, gossip.LinkUp{Peer: s.nodes[e.peer].ID})
	if l := s.links[p]; l != nil && l.generation == s.generation {
		s.step(e.peer, gossip.LinkUp{Peer: s.nodes[e.node].ID})
	}
}

// hangup ends a link on purpose; the other side learns it soon.
func (s *Sim) hangup(by, other int32) {
	p := pairOf(by, other)
	if l := s.links[p]; l != nil && !l.dead {
		delete(s.links, p)
		s.queue.push(event{at: s.now + l.delay, kind: evHungUp, node: other, peer: by})
	}
}

func (s *Sim) hungUp(e event) {
	if s.links[pairOf(e.node, e.peer)] == nil {
		s.step(e.node, gossip.LinkDown{Peer: s.nodes[e.peer].ID, ByPeer: true})
	}
}

// recut marks links as cut or whole again, as the partition says.
func (s *Sim) recut() {
	for _, p := range s.sortedLinks() {
		l := s.links[p]
		switch whole := s.side[p.a] == s.side[p.b] && !s.blocked[p]; {
		case l.dead:
		case !whole && !l.cut:
			l.cut = true
			s.expireLater(p, l)
		case whole && l.cut:
			l.cut = false
			held := l.held
			l.held = nil
			for _, e := range held {
				s.transmit(l, e)
			}
		}
	}
}

// expireLater has a link fail after its time-out.
func (s *Sim) expireLater(p pair, l *link) {
	after := linkTimeout + s.rand.Int64N(int64(time.Second))
	s.queue.push(event{at: s.now + after, kind: evExpire, node: p.a, peer: p.b, link: l.generation})
}

// linkTimeout is how long a silent link lives.
const linkTimeout = int64(15 * time.Second)

func (s *Sim) expire(e event) {
	p := pairOf(e.node, e.peer)
	l := s.links[p]
	if l == nil || l.generation != e.link || !l.cut && !l.dead {
		return
	}
	delete(s.links, p)
	s.step(e.node, gossip.LinkDown{Peer: s.nodes[e.peer].ID})
	s.step(e.peer, gossip.LinkDown{Peer: s.nodes[e.node].ID})
}
