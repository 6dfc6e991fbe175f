package path

import "time"

// round is one attempt to find a path: checks to all candidates, then a CALL and a fire, then an end.
type round struct {
	active   bool
	deadline time.Time // it fails then
	fireAt   time.Time // both sides check then; zero: not agreed
	checks   int

	count    int       // rounds so far
	failures int       // in a row
	retryAt  time.Time // the pause after the last failure ends then
	wishedAt time.Time // when a wish last began a round

	wanted  time.Time // somebody wants the peer until then
	waiting bool      // a Connect awaits its answer
}

func (r *round) isWanted(now time.Time) bool { return now.Before(r.wanted) }

// want takes a wish for a usable path: a stale path is checked again and a round starts, unless we are pausing after
// failures. New or eager wishes cut the pause short from time to time.
func (r *round) want(c *Core, eager bool) {
	k := &c.cfg.Constants
	first := !r.isWanted(c.now)
	r.wanted = c.now.Add(k.Interest)
	if c.fresh(c.current) {
		return
	}
	if c.current != nil {
		c.health.raise(c)
	}
	if r.active {
		return
	}
	pausing := r.retryAt.After(c.now)
	if pausing && !first && (!eager || c.now.Sub(r.wishedAt) < k.FreshWish) {
		return
	}
	if first {
		r.failures = 0
	}
	r.wishedAt = c.now
	wait := k.CallAfter
	if c.current != nil && c.current.rtt > 0 {
		wait = min(wait, 2*c.current.rtt) // whom we met before learns nothing from being checked unasked
	}
	r.start(c, c.now.Add(wait))
}

// start begins a round whose CALL leaves at callAt, at once if there is nothing to check.
func (r *round) start(c *Core, callAt time.Time) {
	r.begin(c)
	if c.now.Sub(c.call.listed) > c.cfg.Constants.RoundTime {
		for _, p := range c.table.pairs {
			p.vouched = false
		}
	}
	doubted := func(p *pair) bool { return p == c.current && c.health.doubting() }
	c.prober.spread(c, plan{at: c.cfg.Constants.Burst}, doubted)
	if len(c.table.pairs) == 0 {
		callAt = c.now
	}
	c.call.schedule(callAt)
}

func (r *round) begin(c *Core) {
	r.active, r.checks, r.fireAt, r.retryAt = true, 0, time.Time{}, time.Time{}
	r.deadline = c.now.Add(c.cfg.Constants.RoundTime)
	r.count++
	c.call.met = false
	for _, p := range c.table.pairs {
		p.budget = 0
	}
}

// join makes sure that a round runs, because the peer signals, unless the path works both ways. That packets come in
// by it does not say so: the peer may be calling because ours do not arrive. That a peer can signal makes no path, so
// failures go on counting.
func (r *round) join(c *Core) {
	r.retryAt = time.Time{}
	works := c.fresh(c.current) && c.now.Sub(c.current.answered) < c.cfg.Constants.Fresh
	if !works && !r.active {
		r.begin(c)
	}
}

// fireAfter agrees on the fire of the running round.
func (r *round) fireAfter(c *Core, wait time.Duration) {
	if !r.active {
		return
	}
	r.fireAt = c.now.Add(wait)
	r.deadline = r.fireAt.Add(c.cfg.Constants.FireTime)
}

// run fires when it is time, ends a round that failed, and begins the next after a pause.
func (r *round) run(c *Core) {
	if r.active && passed(r.fireAt, c.now) {
		r.fireAt = time.Time{}
		c.prober.spread(c, plan{at: c.cfg.Constants.Burst}, func(*pair) bool { return false })
	}
	if r.active && passed(r.deadline, c.now) {
		r.fail(c)
	}
	if !r.active && passed(r.retryAt, c.now) && r.isWanted(c.now) && !c.fresh(c.current) {
		c.act(Refresh{})
		r.start(c, c.now.Add(c.cfg.Constants.CallAfter))
	}
}

func (r *round) fail(c *Core) {
	r.active, r.fireAt = false, time.Time{}
	if c.current == nil {
		r.failures++
	}
	if !c.fresh(c.current) {
		retry := c.cfg.Constants.Retry
		r.retryAt = c.now.Add(retry[min(max(r.failures, 1), len(retry))-1])
	}
	c.call.drop()
	r.answer(c)
}

// answer tells who waits since Connect that there is news.
func (r *round) answer(c *Core) {
	if r.waiting {
		r.waiting = false
		c.shown.force = true
	}
}

// succeed ends the round because the current path works. Only what could be better still is checked on.
func (r *round) succeed(c *Core) {
	r.active, r.failures, r.fireAt, r.retryAt = false, 0, time.Time{}, time.Time{}
	for _, p := range c.table.pairs {
		if p.class() <= c.current.class() && !p.plan.sampling {
			p.plan = plan{}
		}
	}
}

// due returns when run has work.
func (r *round) due(c *Core) time.Time {
	switch {
	case r.active:
		return earliest(r.fireAt, r.deadline)
	case r.isWanted(c.now) && r.retryAt.Before(r.wanted) && !c.fresh(c.current):
		return r.retryAt
	}
	return time.Time{}
}
