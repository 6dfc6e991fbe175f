package gossip

import (
	"slices"
	"time"

	"warren/keys"
)

// manage keeps the number of links where it should be.
func (c *Core) manage() {
	t := &c.topology
	if reached(t.nextFill, c.now) {
		t.nextFill = time.Time{}
		if c.full() {
			c.fillFull()
		} else {
			c.fill()
		}
	}
	if reached(t.nextPrune, c.now) {
		t.nextPrune = time.Time{}
		c.prune()
	}
	if reached(t.nextProbe, c.now) {
		t.nextProbe = c.now.Add(c.jitter(c.cfg.ProbeEvery))
		c.probe()
	}
	if reached(t.nextShuffle, c.now) {
		t.nextShuffle = c.now.Add(c.jitter(c.cfg.Shuffle))
		c.shuffle()
	}
}

func reached(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

// nextDial returns when manage has something to do.
func (c *Core) nextDial() time.Time {
	t := &c.topology
	return sooner(sooner(t.nextFill, t.nextPrune), sooner(t.nextProbe, t.nextShuffle))
}

// dialable reports whether a member may be dialled now.
func (c *Core) dialable(id keys.NodeID) bool {
	if id == c.cfg.Self || c.topology.link(id) != nil {
		return false
	}
	p := c.topology.peers[id]
	return p == nil || !p.dialing && !c.now.Before(p.retry)
}

// fillFull dials every member that is not linked.
func (c *Core) fillFull() {
	t := &c.topology
	for _, m := range t.roster {
		if c.dialable(m.ID) {
			c.dial(t.peer(m.ID), false)
		} else if p := t.peers[m.ID]; p != nil && !p.dialing && c.now.Before(p.retry) && t.link(m.ID) == nil {
			c.fillAt(p.retry)
		}
	}
}

// fill dials lost neighbours, a public member if none is linked, and others while there are too few.
func (c *Core) fill() {
	t := &c.topology
	t.lost = slices.DeleteFunc(t.lost, func(p *peer) bool {
		switch {
		case p.dialing:
		case c.now.Before(p.retry):
			c.fillAt(p.retry)
		case len(t.links)+len(t.dialing) >= c.high():
			return true
		default:
			c.dial(p, false)
		}
		return false
	})
	if len(t.publics) > 0 && !t.hasPublic(keys.NodeID{}) {
		if p := c.pick(len(t.publics), func(i int) keys.NodeID { return t.roster[t.publics[i]].ID }); p != nil {
			c.dial(p, false)
		} else {
			t.failures++
			c.fillAt(c.now.Add(c.patience(c.cfg.RetryMin)))
		}
	}
	if len(t.links)+len(t.dialing) >= c.low() {
		return
	}
	if p := c.pick(len(t.roster), func(i int) keys.NodeID { return t.roster[i].ID }); p != nil {
		c.dial(p, false)
		c.fillAt(c.now.Add(c.patience(c.cfg.RetryMin / 20)))
		return
	}
	t.failures++
	c.fillAt(c.now.Add(c.patience(c.cfg.RetryMin)))
}

// pick returns a random member that may be dialled, or nil if a few tries find none.
func (c *Core) pick(n int, at func(int) keys.NodeID) *peer {
	for range 16 {
		if id := at(c.rand.IntN(n)); c.dialable(id) {
			return c.topology.peer(id)
		}
	}
	return nil
}

// probe dials the stalest of a few random members, to find out whether the network fell apart.
func (c *Core) probe() {
	t := &c.topology
	if c.full() {
		return
	}
	var stalest keys.NodeID
	var since time.Time
	for range 32 {
		id := t.roster[c.rand.IntN(len(t.roster))].ID
		if !c.dialable(id) {
			continue
		}
		var tried time.Time
		if p := t.peers[id]; p != nil {
			tried = p.tried
		}
		if stalest.IsZero() || tried.Before(since) {
			stalest, since = id, tried
		}
	}
	if !stalest.IsZero() {
		c.dial(t.peer(stalest), true)
	}
}

// prune ends probes that are over, links to strangers and, one at a time, links too many.
func (c *Core) prune() {
	t := &c.topology
	var drop []keys.NodeID
	for _, l := range t.links {
		_, member := t.member(l.peer)
		switch ends := l.since.Add(graceLink); {
		case member && !l.probe:
		case c.now.Before(ends):
			t.nextPrune = sooner(t.nextPrune, ends)
		case !member || len(t.links)-len(drop) > c.cfg.Neighbours && !c.full():
			drop = append(drop, l.peer)
		default:
			l.probe = false
		}
	}
	for _, id := range drop {
		c.hangup(id)
	}
	if over := len(t.links) - c.high(); over > 0 && !c.full() {
		c.hangupRandom(graceLink)
		t.nextPrune = c.now.Add(c.jitter(time.Second))
	}
	c.retime = true
}

// shuffle gives up one neighbour for a random other one, or after a partition all links would follow the old seam.
func (c *Core) shuffle() {
	if !c.full() && len(c.topology.links) >= c.low() {
		c.hangupRandom(c.cfg.Shuffle / 2)
		c.fillAt(c.now)
	}
}

// hangupRandom hangs up a random link of some age, but not the only one to a public member.
func (c *Core) hangupRandom(age time.Duration) {
	t := &c.topology
	n := len(t.links)
	for i, start := 0, c.rand.IntN(n); i < n; i++ {
		l := t.links[(start+i)%n]
		m, _ := t.member(l.peer)
		if c.now.Sub(l.since) < age || m.Public && !t.hasPublic(l.peer) {
			continue
		}
		c.topology.peer(l.peer).retry = c.now.Add(c.jitter(c.cfg.RetryMax))
		c.hangup(l.peer)
		return
	}
}
