package path

import (
	"fmt"
	"maps"
	"net/netip"
	"time"

	"warren/keys"
)

// checked is a Core that is held to its rules after every event. Faults are collected.
type checked struct {
	*Core
	faults []string

	now      time.Time // by the caller's clock
	wake     time.Time // newest Wake
	record   map[netip.AddrPort]bool
	signal   map[netip.AddrPort]bool // of all signals: which of them were taken is the core's business
	alive    map[Path]bool           // something authentic came from there
	answered map[Path]bool           // a check was, from where it went to
	sent     map[[12]byte]Path
	asked    map[uint64]bool // sessions of the peer's calls
	used     Path
}

func newChecked(cfg Config) *checked {
	return &checked{
		Core: New(cfg), record: map[netip.AddrPort]bool{}, signal: map[netip.AddrPort]bool{}, asked: map[uint64]bool{},
		alive: map[Path]bool{}, answered: map[Path]bool{}, sent: map[[12]byte]Path{},
	}
}

// removed is what the core of a removed peer is replaced by: a step of it is a fault.
func (c *checked) remove() { c.Core = nil }

func (c *checked) fault(format string, args ...any) {
	if len(c.faults) < 20 {
		c.faults = append(c.faults, fmt.Sprintf(format, args...))
	}
}

func (c *checked) step(now time.Time, ev Event) []Action {
	if c.Core == nil {
		c.fault("%T for a peer that was removed", ev)
		return nil
	}
	c.before(ev)
	c.now = now
	was := c.prober.sent
	acts := c.Step(now, ev, nil)
	checks := 0
	for _, act := range acts {
		if _, ok := act.(SendCheck); ok {
			checks++
		}
		c.action(act)
	}
	if checks != c.prober.sent-was {
		c.fault("%d checks asked for, %d counted", checks, c.prober.sent-was)
	}
	if limit := 2*c.cfg.Constants.MaxPairs + 4; checks > limit {
		c.fault("%d checks in one step", checks)
	}
	if len(acts) > 3*c.cfg.Constants.MaxPairs+16 {
		c.fault("%d actions in one step", len(acts))
	}
	c.after()
	return acts
}

// before notes what ev lets the core do.
func (c *checked) before(ev Event) {
	add := func(set map[netip.AddrPort]bool, list []keys.Candidate) {
		for _, cand := range list {
			set[unmap(cand.Addr)] = true
		}
	}
	switch ev := ev.(type) {
	case Candidates:
		clear(c.record)
		add(c.record, ev.Remote)
	case Call:
		add(c.signal, ev.Candidates)
		c.asked[ev.Session] = true
	case Ack:
		add(c.signal, ev.Candidates)
	case CheckRequested:
		c.alive[ev.Path.unmap()] = true
	case Proven:
		c.alive[ev.Path.unmap()] = true
	case CheckAnswered:
		if p, ok := c.sent[ev.ID]; ok && p == ev.Path.unmap() {
			c.answered[p], c.alive[p] = true, true
			delete(c.sent, ev.ID)
		}
	}
}

func (c *checked) action(act Action) {
	switch act := act.(type) {
	case SendCheck:
		to := act.Path.Remote
		switch {
		case c.sent[act.ID] != Path{}:
			c.fault("transaction id %x used twice", act.ID)
		case !reachable(to) && !c.alive[act.Path]:
			c.fault("check to %s", to)
		case !c.record[to] && !c.signal[to] && !c.alive[act.Path]:
			c.fault("check to %s, which nobody lists", to)
		}
		c.sent[act.ID] = act.Path
	case Use:
		if !act.Path.IsZero() && !c.answered[act.Path] {
			c.fault("use of %s, where no check was answered", act.Path)
		}
		c.used = act.Path
	case SendSignal:
		if act.Signal == SignalAck && !c.asked[act.Session] {
			c.fault("ack of session %x, which the peer did not call", act.Session)
		}
	case Wake:
		if !act.At.After(c.now) {
			c.fault("wake %s after now", act.At.Sub(c.now))
		}
		c.wake = act.At
	case Resend, Changed, Refresh:
	}
}

// after looks at the state.
func (c *checked) after() {
	due := c.due()
	switch {
	case passed(due, c.Core.now):
		c.fault("due %s after now", due.Sub(c.Core.now))
	case !due.IsZero() && !c.outside(due).Equal(c.wake):
		c.fault("due in %s, woken in %s", due.Sub(c.Core.now), c.wake.Sub(c.now))
	}
	s := c.Snapshot()
	switch {
	case s.Path != c.used:
		c.fault("the snapshot says %s, the last Use %s", s.Path, c.used)
	case s.Usable != (s.Path != Path{}), s.Proven && !s.Usable:
		c.fault("snapshot %+v", s)
	case s.Usable && c.table.find(s.Path) != c.current:
		c.fault("the current path %s is not in the table", s.Path)
	case s.State == Direct && !c.alive[s.Path]:
		c.fault("direct by %s, from where nothing came", s.Path)
	}
	seen := map[Path]bool{}
	for _, p := range c.table.pairs {
		seen[p.path] = true
	}
	k := &c.cfg.Constants
	for _, bound := range []struct {
		what     string
		got, max int
	}{
		{"pairs", len(c.table.pairs), k.MaxPairs},
		{"pairs of the same path", len(c.table.pairs) - len(seen), 0},
		{"flights", len(c.prober.flights), maxFlights},
		{"transaction ids", len(c.prober.seen), seenSize},
		{"sessions", len(c.call.heard), k.MaxCalls},
		{"checks of a round", c.round.checks, k.MaxChecks + 8}, // those on the current path are not refused
	} {
		if bound.got > bound.max {
			c.fault("%d %s, at most %d", bound.got, bound.what, bound.max)
		}
	}
	if len(c.sent) > 100*maxFlights {
		maps.DeleteFunc(c.sent, func(id [12]byte, _ Path) bool { return true })
	}
}
