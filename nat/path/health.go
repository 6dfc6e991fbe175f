package path

import "time"

// health watches the current path: heartbeats while there is traffic, doubt when an answer is missing, death.
type health struct {
	active   time.Time // there is tunnel traffic, until then
	beat     time.Time // next heartbeat; zero: none
	unheard  time.Time // tunnel packets left since then and none came in; zero: not so
	search   time.Time // next look for a better path
	rescue   time.Time // a deaf path is not called about again before
	switched time.Time // last switch from one live path to another
	followed Path      // by which the newest WireGuard packet of the peer came in
	doubt    doubt
}

// doubt is a run of checks on the current path that ends with an answer or with the path's death.
type doubt struct {
	since, next time.Time
	steps       int  // checks sent
	firm        bool // the peer called, or the network changed: that packets came in until now does not answer it
}

func (h *health) doubting() bool { return !h.doubt.next.IsZero() }

func (h *health) isActive(now time.Time) bool { return now.Before(h.active) }

// raise begins to doubt the current path: a heartbeat is the mildest doubt.
func (h *health) raise(c *Core) {
	if c.current != nil && !h.doubting() {
		h.doubt = doubt{since: c.now, next: c.now}
	}
}

// shake raises a doubt that only an answer ends.
func (h *health) shake(c *Core) {
	h.raise(c)
	h.doubt.firm = h.doubting()
}

// calm ends all doubt, because something came back by the current path.
func (h *health) calm(c *Core) {
	h.doubt, h.unheard, h.beat = doubt{}, time.Time{}, time.Time{}
	if h.isActive(c.now) {
		every := c.cfg.Constants.Heartbeat
		h.beat = c.now.Add(every*4/5 + time.Duration(c.rand.Int64N(int64(every)*2/5+1)))
	}
}

// busy notes tunnel traffic.
func (h *health) busy(c *Core) {
	was := h.isActive(c.now)
	h.active = c.now.Add(c.cfg.Constants.Interest)
	if !was {
		h.search = c.now.Add(c.cfg.Constants.Search)
		if c.fresh(c.current) {
			h.beat = c.now
		}
	}
}

// traffic takes a report of tunnel packets.
func (h *health) traffic(c *Core, ev Traffic) {
	if !ev.Tx && !ev.Rx {
		return
	}
	h.busy(c)
	from := ev.From.unmap()
	here := c.current != nil && from == c.current.path
	switch {
	case ev.Rx && here && h.doubt.firm && c.now.Sub(h.doubt.since) < c.cfg.Constants.Silent:
		// It may have come before the doubt.
	case ev.Rx && here:
		h.alive(c)
	case ev.Rx && ev.From.IsZero():
		h.unheard = time.Time{}
	case ev.Tx && h.unheard.IsZero():
		h.unheard = c.now
	}
	c.round.want(c, false)
}

// alive takes a tunnel packet that came in by the current path: it lives, whatever became of our checks. The next
// heartbeat stays where it is, for only answers give the RTT.
func (h *health) alive(c *Core) {
	c.current.proof, h.unheard = c.now, time.Time{}
	switch {
	case h.doubt.firm:
	case h.doubting():
		h.calm(c)
	case h.beat.IsZero() && h.isActive(c.now):
		h.beat = c.now
	}
}

// deaf reports whether no check on the current path was answered for so long that any other path would be better,
// although tunnel packets may still come in by it.
func (h *health) deaf(c *Core) bool {
	k, p := &c.cfg.Constants, c.current
	return p != nil && p.lost.checks >= k.DeafLost && c.now.Sub(p.lost.since) >= k.Deaf
}

// run does what is due on the current path.
func (h *health) run(c *Core) {
	k := &c.cfg.Constants
	if passed(h.active, c.now) {
		h.active, h.beat, h.unheard, h.search = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	}
	if c.current == nil {
		return
	}
	if !h.doubting() && (passed(h.beat, c.now) || passed(h.suspectAt(c), c.now)) {
		h.beat, h.unheard = time.Time{}, time.Time{}
		h.raise(c)
		if h.deaf(c) && !c.round.active && !h.rescue.After(c.now) {
			h.rescue = c.now.Add(k.Deaf)
			c.round.start(c, c.now)
		}
	}
	if passed(h.doubt.next, c.now) {
		h.step(c)
	}
	if passed(h.search, c.now) {
		h.search = c.now.Add(k.Search)
		if c.fresh(c.current) && c.current.rtt > k.SearchAbove && !h.doubting() && !c.round.active && !c.follows() {
			c.prober.spread(c, plan{at: k.Probe, sampling: true}, func(*pair) bool { return false })
		}
	}
}

// suspectAt is when sending without receiving becomes suspicious.
func (h *health) suspectAt(c *Core) time.Time {
	if h.unheard.IsZero() || c.current == nil {
		return time.Time{}
	}
	return h.unheard.Add(max(c.cfg.Constants.Suspect, 4*c.current.rtt))
}

// step sends the next check of the doubt. With the third all other candidates are tried too; when three are lost the
// peer is called; when time is up the path is dead.
func (h *health) step(c *Core) {
	k := &c.cfg.Constants
	p, d := c.current, &h.doubt
	three := len(k.Probe)
	if late := c.now.Sub(d.next); late > k.Late {
		d.since = d.since.Add(late)
	}
	if d.steps >= k.MinLost && p.lost.checks >= k.MinLost && c.now.Sub(d.since) >= k.DoubtTime && !c.fresh(p) {
		h.die(c)
		return
	}
	if d.steps == three {
		if other := h.best(c, d.since, p); other != nil {
			c.use(other)
			return
		}
		switch {
		case !c.round.isWanted(c.now):
		case c.round.active:
			c.call.schedule(c.now) // What we told in a round that the peer began may be older than Refresh.
		default:
			c.round.start(c, c.now)
		}
	}
	c.prober.send(c, p)
	d.steps++
	if d.steps == three {
		if c.round.isWanted(c.now) {
			c.act(Refresh{})
		}
		c.prober.spread(c, plan{at: k.Probe}, func(q *pair) bool { return q == p || !q.plan.due().IsZero() })
	}
	wait := k.DoubtEvery
	switch {
	case d.steps < three:
		wait = k.Probe[d.steps] - k.Probe[d.steps-1]
	case d.steps == three:
		wait = k.Probe[three-1]
	}
	d.next = c.now.Add(max(wait, p.rtt*3/2))
}

// die clears the current path, takes another that works, or looks for one.
func (h *health) die(c *Core) {
	dead := c.current
	since := h.doubt.since
	h.doubt, h.beat, h.unheard = doubt{}, time.Time{}, time.Time{}
	dead.proof, dead.crossed = time.Time{}, false
	if other := h.best(c, since, dead); other != nil {
		c.use(other)
		return
	}
	c.current = nil
	c.act(Use{})
	if !c.round.active && c.round.isWanted(c.now) {
		c.act(Refresh{})
		c.round.start(c, c.now.Add(c.cfg.Constants.CallAfter))
	}
}

// warm is one check on a path that a link needs although there is no tunnel traffic.
func (h *health) warm(c *Core, urgent bool) {
	switch {
	case c.current == nil:
		c.round.want(c, false)
	case urgent || c.now.Sub(c.current.answered) >= c.cfg.Constants.WarmEnough:
		c.round.wanted = c.now.Add(c.cfg.Constants.Interest)
		h.raise(c)
	}
}

// due returns when run has work.
func (h *health) due(c *Core) time.Time {
	if c.current == nil {
		return h.active
	}
	if h.doubting() {
		return earliest(h.active, h.doubt.next, h.search)
	}
	return earliest(h.active, h.beat, h.suspectAt(c), h.search)
}
