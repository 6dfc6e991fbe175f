package path

import "time"

// fresh reports whether p lately showed that it works.
func (c *Core) fresh(p *pair) bool {
	return p != nil && !p.proof.IsZero() && c.now.Sub(p.proof) < c.cfg.Constants.Fresh
}

// works takes the answer to a check of ours on p: p is usable.
func (c *Core) works(p *pair) {
	was := c.fresh(c.current)
	p.proof = c.now
	told := false
	if p != c.current && c.prefers(p) {
		c.use(p)
		told = true
	}
	if p != c.current {
		return
	}
	c.health.calm(c)
	if c.round.waiting && !told {
		c.act(Use{Path: p.path})
	}
	c.round.answer(c)
	c.round.succeed(c)
	if !was {
		c.act(Resend{})
		if c.call.asked {
			c.call.schedule(c.now)
		}
	}
}

// use makes p, which works, the current path.
func (c *Core) use(p *pair) {
	if c.fresh(c.current) {
		c.health.switched = c.now
	}
	c.current = p
	c.health.calm(c)
	c.act(Use{Path: p.path})
}

// prefers reports whether p, which was just answered, should replace the current path.
func (c *Core) prefers(p *pair) bool {
	k := &c.cfg.Constants
	switch {
	case !c.fresh(c.current), c.health.doubt.steps > k.MinLost, c.health.deaf(c):
		return true
	case c.follows():
		return p.path == c.health.followed
	case !c.health.switched.IsZero() && c.now.Sub(c.health.switched) < k.HoldDown:
		return false
	case p.path == c.health.followed:
		return !k.better(c.current, p) // no reason to send by another than the peer does
	}
	return k.better(p, c.current)
}

// better compares two paths that work. A better class wins at once if it is not much slower, else only speed that was
// measured several times.
func (k *Constants) better(p, than *pair) bool {
	cost := func(p *pair) time.Duration {
		switch p.class() {
		case classLAN:
			return p.rtt - k.LANBonus
		case classIPv6:
			return p.rtt - k.IPv6Bonus
		case classIPv4:
		}
		return p.rtt
	}
	if cost(p) >= cost(than) {
		return false
	}
	return p.class() > than.class() || p.samples >= k.MinSamples && p.rtt < than.rtt*4/5-k.MinGain
}

// best returns the best path but except that works and was heard from since then, nil if there is none.
func (h *health) best(c *Core, since time.Time, except *pair) *pair {
	var best *pair
	for _, p := range c.table.pairs {
		if p == except || !c.fresh(p) || p.life().Before(since) {
			continue
		}
		if best == nil || c.cfg.Constants.better(p, best) {
			best = p
		}
	}
	return best
}

// follows reports whether the peer chooses the path for both sides, so that they do not swap for ever: it does if its
// id is the lower one, and the path by which its packets come works for us.
func (c *Core) follows() bool {
	return c.cfg.Self.Compare(c.cfg.Peer) > 0 && c.fresh(c.table.find(c.health.followed))
}

// proven takes the news that an authenticated WireGuard packet came in by path.
func (c *Core) proven(path Path) {
	p := c.prober.trigger(c, path)
	if p == nil {
		return
	}
	c.health.followed, p.crossed = p.path, true
	switch {
	case p == c.current:
		c.health.alive(c)
	case c.follows():
		c.use(p)
	}
}
