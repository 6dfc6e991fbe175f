package path

import (
	"slices"
	"time"

	"warren/keys"
)

// flight is a check on its way.
type flight struct {
	id   [12]byte
	path Path
	sent time.Time
}

// prober sends checks and takes their answers.
type prober struct {
	flights []flight   // oldest first
	seen    [][12]byte // the newest ids of the peer's checks, a ring
	oldest  int        // its next place

	sent, answered int
	strangers      struct { // checks to addresses that nobody vouched for
		sent  int
		since time.Time
	}
}

// Bounds of what a core remembers of checks, more than a round of either side sends.
const (
	maxFlights = 256 // own, unanswered
	seenSize   = 256 // transaction ids of the peer's
)

// spread gives the plan to every pair that is not to be skipped, one after the other.
func (b *prober) spread(c *Core, like plan, skip func(*pair) bool) {
	like.base = c.now
	for _, p := range c.table.pairs {
		if skip(p) {
			continue
		}
		p.plan = like
		like.base = like.base.Add(c.cfg.Constants.Pace)
	}
}

// run sends the checks whose time has come.
func (b *prober) run(c *Core) {
	for _, p := range c.table.pairs {
		if due := p.plan.due(); due.IsZero() || due.After(c.now) {
			continue
		}
		p.plan.pass(c.now)
		if !b.allowed(c, p) {
			p.plan = plan{}
			continue
		}
		b.send(c, p)
	}
}

// allowed keeps a liar's record from turning us into a nuisance for the addresses it names: few checks a round, and no
// more in the time of one however often the record changes, unless something authentic came from there or the peer itself
// is signalling.
func (b *prober) allowed(c *Core, p *pair) bool {
	k, s := &c.cfg.Constants, &b.strangers
	switch {
	case c.round.active && c.round.checks >= k.MaxChecks:
		return false
	case p.vouched || !p.life().IsZero():
		return true
	case p.budget >= k.Unconfirmed:
		return false
	case c.now.Sub(s.since) > k.RoundTime:
		s.sent, s.since = 0, c.now
	}
	s.sent++
	return s.sent <= k.MaxPairs*k.Unconfirmed
}

func (b *prober) send(c *Core, p *pair) {
	late := 0
	for late < len(b.flights) && c.now.Sub(b.flights[late].sent) > c.cfg.Constants.CheckLife {
		late++
	}
	late = max(late, len(b.flights)+1-maxFlights)
	b.flights = slices.Delete(b.flights, 0, late)
	f := flight{id: c.newID(), path: p.path, sent: c.now}
	b.flights = append(b.flights, f)
	b.sent++
	p.sent = c.now
	p.budget++
	if p.lost.checks++; p.lost.checks == 1 {
		p.lost.since = c.now
	}
	if c.round.active {
		c.round.checks++
	}
	c.act(SendCheck{ID: f.id, Path: f.path})
}

// answer takes a response. One that comes from elsewhere than the check went to proves nothing (RFC 8445, 7.2.5.2.1).
func (b *prober) answer(c *Core, ev CheckAnswered) {
	for i, f := range b.flights {
		if f.id != ev.ID || f.path != ev.Path.unmap() {
			continue
		}
		b.flights = slices.Delete(b.flights, i, i+1)
		took := c.now.Sub(f.sent)
		p := c.table.find(f.path)
		if p == nil || took > c.cfg.Constants.CheckLife {
			return
		}
		b.answered++
		if p.samples == 0 {
			p.rtt = took
		} else {
			p.rtt = (3*p.rtt + took) / 4
		}
		p.samples++
		p.lost = losses{}
		if !p.plan.sampling {
			p.plan = plan{}
		}
		p.answered, p.heard = c.now, c.now
		c.works(p)
		return
	}
}

// request takes an authentic check of the peer: it makes its source a candidate and checks it at once in return,
// unless we know already that the path works (RFC 8445, triggered checks and peer-reflexive candidates).
func (b *prober) request(c *Core, ev CheckRequested) {
	if slices.Contains(b.seen, ev.ID) {
		return
	}
	if len(b.seen) < seenSize {
		b.seen = append(b.seen, ev.ID)
	} else {
		b.seen[b.oldest] = ev.ID
		b.oldest = (b.oldest + 1) % seenSize
	}
	b.trigger(c, ev.Path)
}

// trigger checks the path by which something authentic came, unless it is known to work. It returns its pair, nil if
// there is no room for one.
func (b *prober) trigger(c *Core, path Path) *pair {
	path = path.unmap()
	p := c.table.find(path)
	if p == nil {
		if p = c.table.add(path, keys.PeerReflexive, c.current, true); p == nil {
			return nil
		}
	}
	p.heard = c.now
	if c.current != nil && p != c.current && c.now.Sub(c.current.life()) > c.cfg.Constants.Silent {
		c.health.raise(c) // the peer may have moved
	}
	switch {
	case c.fresh(p):
	case p.plan.due().IsZero():
		p.plan = plan{at: c.cfg.Constants.Probe, base: c.now}
	case c.now.Sub(p.sent) >= c.cfg.Constants.Pace && b.allowed(c, p):
		b.send(c, p)
	}
	return p
}
