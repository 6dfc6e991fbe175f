package gossip

import (
	"bytes"
	"slices"
	"time"

	"warren/keys"
)

// full reports whether all members are linked with all.
func (c *Core) full() bool { return c.topology.others < c.cfg.MaxFull }

// low and high bound the number of links above MaxFull: below low others are dialled, above high links are hung up.
// Public members share the links of all those that want a public neighbour.
func (c *Core) low() int { return min(c.cfg.Neighbours-2, c.topology.others) }

func (c *Core) high() int {
	t := &c.topology
	high := c.cfg.Neighbours + 4
	if t.self.Public {
		high += 2 * t.others / (len(t.publics) + 1)
	}
	return high
}

// setRoster learns who is a member.
func (c *Core) setRoster(members []Member) {
	t := &c.topology
	order := func(a, b Member) int { return bytes.Compare(a.ID[:], b.ID[:]) }
	if !slices.IsSortedFunc(members, order) {
		members = slices.SortedFunc(slices.Values(members), order)
	}
	former := t.roster
	t.roster, t.publics, t.others, t.self = members, t.publics[:0], 0, Member{ID: c.cfg.Self}
	for i, m := range members {
		if m.ID == c.cfg.Self {
			t.self = m
			continue
		}
		t.others++
		if m.Public {
			t.publics = append(t.publics, int32(i))
		}
	}
	for _, m := range former {
		if _, still := t.member(m.ID); still {
			continue
		}
		if p := t.peers[m.ID]; p != nil {
			if t.link(m.ID) != nil || p.dialing {
				c.hangup(m.ID)
			}
			t.forget(p)
		}
	}
	if t.nextProbe.IsZero() {
		t.nextProbe = c.now.Add(c.jitter(c.cfg.ProbeEvery))
		t.nextShuffle = c.now.Add(c.jitter(c.cfg.Shuffle))
	}
	t.failures = 0
	c.fillAt(c.now)
}

// linkUp learns of a link, whoever dialled it.
func (c *Core) linkUp(id keys.NodeID) {
	t := &c.topology
	p := t.peer(id)
	if c.now.Before(p.banned) || id == c.cfg.Self {
		c.do(Hangup{Peer: id})
		return
	}
	dialled := t.stopDialing(p)
	t.found(p)
	t.failures, p.backoff, p.retry, p.tried = 0, 0, time.Time{}, c.now
	if t.dropLink(id) {
		c.forgetWants(id)
	}
	l := &link{peer: id, since: c.now, probe: dialled && p.probe}
	i, _ := t.findLink(id)
	t.links = slices.Insert(t.links, i, l)
	// One of the two compares at once, the other soon if nothing was heard.
	if l.nextDigest = c.now; bytes.Compare(c.cfg.Self[:], id[:]) > 0 {
		l.nextDigest = c.now.Add(c.jitter(3 * time.Second))
	}
	t.nextPrune = sooner(t.nextPrune, c.now.Add(c.jitter(graceLink)))
	c.fillAt(c.now.Add(c.jitter(100 * time.Millisecond)))
}

// linkDown learns that a link is gone.
func (c *Core) linkDown(id keys.NodeID, byPeer bool) {
	t := &c.topology
	l := t.link(id)
	if l == nil {
		return
	}
	t.dropLink(id)
	c.forgetWants(id)
	p := t.peer(id)
	p.tried = c.now
	_, member := t.member(id)
	switch {
	case !member:
		t.forget(p)
	case !c.full() && byPeer:
		p.retry = c.now.Add(c.jitter(c.cfg.RetryMax)) // it has enough neighbours
	case !c.full() && !l.probe:
		t.lost = append(t.lost, p)
		t.lost = t.lost[max(0, len(t.lost)-maxLost):]
		fallthrough
	default:
		p.backoff = c.cfg.RetryMin
		p.retry = c.now.Add(c.jitter(p.backoff))
	}
	c.fillAt(c.now)
}

// dialFailed learns that a dial gave no link.
func (c *Core) dialFailed(id keys.NodeID) {
	t := &c.topology
	p := t.peers[id]
	if p == nil || !t.stopDialing(p) {
		return
	}
	t.failures++
	p.backoff = min(max(2*p.backoff, c.cfg.RetryMin), c.cfg.RetryMax)
	p.retry = c.now.Add(c.jitter(p.backoff))
	c.fillAt(c.now.Add(c.patience(c.cfg.RetryMin / 10)))
}

// patience returns how long to wait after dials that failed, from d up: with nobody reachable a large roster is not
// tried from end to end.
func (c *Core) patience(d time.Duration) time.Duration {
	return c.jitter(min(d<<min(c.topology.failures/4, 10), c.cfg.RetryMax/2))
}

// networkChanged forgets back-offs.
func (c *Core) networkChanged() {
	t := &c.topology
	t.failures = 0
	for _, m := range t.roster {
		if p := t.peers[m.ID]; p != nil {
			p.backoff, p.retry = 0, time.Time{}
		}
	}
	c.fillAt(c.now)
}

// blame counts a misbehaviour; the third ends the link for minutes.
func (c *Core) blame(id keys.NodeID, why string) {
	c.do(Misbehaved{Peer: id, Why: why})
	p := c.topology.peer(id)
	if p.strikes++; p.strikes < maxStrikes {
		return
	}
	p.strikes = 0
	p.banned = c.now.Add(banFor)
	p.retry = p.banned
	c.hangup(id)
	c.fillAt(c.now)
}

// hangup ends a link or a dial.
func (c *Core) hangup(id keys.NodeID) {
	t := &c.topology
	if p := t.peers[id]; p != nil {
		t.stopDialing(p)
		p.tried = c.now
		if _, member := t.member(id); !member && !c.now.Before(p.banned) {
			t.forget(p)
		}
	}
	if t.dropLink(id) {
		c.forgetWants(id)
	}
	c.retime = true
	c.do(Hangup{Peer: id})
}

// dial starts a dial.
func (c *Core) dial(p *peer, probe bool) {
	p.dialing, p.probe, p.tried = true, probe, c.now
	c.topology.dialing = append(c.topology.dialing, p)
	c.do(Dial{Peer: p.id})
}

// fillAt has manage look for neighbours at that time, if not sooner.
func (c *Core) fillAt(at time.Time) {
	c.topology.nextFill = sooner(c.topology.nextFill, at)
	c.retime = true
}
