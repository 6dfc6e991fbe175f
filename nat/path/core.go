package path

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"warren/keys"
)

// Config makes a Core.
type Config struct {
	Self, Peer keys.NodeID
	Seed       uint64    // of transaction ids, sessions and jitter; not to be guessed by others, outside tests
	Constants  Constants // the zero Constants mean Defaults
}

// Core is the path state machine of one peer. See the package comment.
type Core struct {
	cfg  Config
	ids  *rand.ChaCha8 // transaction ids must tell nothing of each other, hence no PCG
	rand *rand.Rand

	now    time.Time // goes on only
	caller time.Time // the same moment by the caller's clock, which may go back
	acts   []Action  // of the Step that runs

	table   table
	current *pair // the data path: a check on it was answered and it is not dead; nil: none
	prober  prober
	call    signalling
	round   round
	health  health
	shown   shown
}

// shown is what was last told, so that only news is told.
type shown struct {
	state  State
	path   Path
	proven bool
	since  time.Time
	wake   time.Time // by the caller's clock
	force  bool      // tell although nothing changed
}

// New returns the core of an idle peer without candidates.
func New(cfg Config) *Core {
	if len(cfg.Constants.Burst) == 0 {
		cfg.Constants = Defaults()
	}
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64(nil, cfg.Seed))
	h.Write(cfg.Self[:])
	h.Write(cfg.Peer[:])
	ids := rand.NewChaCha8([32]byte(h.Sum(nil)))
	return &Core{cfg: cfg, ids: ids, rand: rand.New(ids), table: table{max: cfg.Constants.MaxPairs}}
}

// Step tells the core what happened at now and returns acts with the actions to do appended. It must be called from
// one goroutine. Where now went back no time has passed. The core keeps no reference to acts or to ev.
func (c *Core) Step(now time.Time, ev Event, acts []Action) []Action {
	if c.now.IsZero() {
		c.now, c.shown.since = now, now
	} else if gone := now.Sub(c.caller); gone > 0 {
		c.now = c.now.Add(gone)
	}
	c.caller = now
	c.acts = acts
	c.take(ev)
	// What one part does may be due work of another; it settles in two or three turns.
	for range 4 {
		c.health.run(c)
		c.round.run(c)
		c.call.run(c)
		c.prober.run(c)
		if due := c.due(); due.IsZero() || due.After(c.now) {
			break
		}
	}
	c.tell()
	acts, c.acts = c.acts, nil
	return acts
}

func (c *Core) take(ev Event) {
	switch ev := ev.(type) {
	case Candidates:
		c.recorded(ev.Remote)
	case Connect:
		c.connect()
	case Initiation:
		c.call.initiation(c)
		c.health.busy(c)
		c.round.want(c, true)
	case Traffic:
		c.health.traffic(c, ev)
	case CheckRequested:
		c.prober.request(c, ev)
	case CheckAnswered:
		c.prober.answer(c, ev)
	case Call:
		c.call.called(c, ev)
	case Ack:
		c.call.ack(c, ev)
	case Go:
		c.call.goes(c, ev)
	case Proven:
		c.proven(ev.Path)
	case KeepWarm:
		c.health.warm(c, ev.Urgent)
	case Reset:
		c.reset()
	case Tick:
	}
}

func (c *Core) act(a Action) { c.acts = append(c.acts, a) }

func (c *Core) newID() (id [12]byte) {
	// Read of a ChaCha8 never fails.
	_, _ = c.ids.Read(id[:])
	return id
}

// connect answers at once if the path is fresh, or if we are pausing after a failure.
func (c *Core) connect() {
	c.round.want(c, true)
	c.round.waiting = true
	switch {
	case c.fresh(c.current):
		c.act(Use{Path: c.current.path})
		c.round.answer(c)
	case !c.round.active && !c.health.doubting():
		c.round.answer(c)
	}
}

// recorded takes the candidates of a new record. An address that is new is worth a try, at once if somebody waits.
func (c *Core) recorded(list []keys.Candidate) {
	news := c.table.replace(list, inRecord, c.current)
	if len(news) == 0 {
		return
	}
	c.round.failures, c.round.retryAt = 0, time.Time{}
	if !c.round.isWanted(c.now) {
		return
	}
	if !c.fresh(c.current) && !c.round.active {
		c.round.start(c, c.now.Add(c.cfg.Constants.CallAfter))
		return
	}
	for _, p := range news {
		p.plan = plan{at: c.cfg.Constants.Burst, base: c.now}
	}
}

// signalled takes candidates that the peer itself sent just now.
func (c *Core) signalled(list []keys.Candidate) {
	c.call.listed = c.now
	c.table.replace(list, inSignal, c.current)
	for _, p := range c.table.pairs {
		p.vouched = p.listed&inSignal != 0
	}
}

// reset forgets what was measured. The current path is kept, for it may still work, but is no longer trusted.
func (c *Core) reset() {
	for _, p := range c.table.pairs {
		p.proof, p.rtt, p.samples, p.crossed = time.Time{}, 0, 0, false
	}
	c.health.followed, c.health.switched = Path{}, time.Time{}
	c.round.failures, c.round.retryAt = 0, time.Time{}
	if !c.round.isWanted(c.now) {
		return
	}
	c.health.shake(c)
	c.round.start(c, c.now.Add(c.cfg.Constants.CallAfter))
}

// due returns when Step has work without an event; zero is never.
func (c *Core) due() time.Time {
	due := earliest(c.health.due(c), c.round.due(c), c.call.at)
	for _, p := range c.table.pairs {
		due = earliest(due, p.plan.due())
	}
	return due
}

// tell appends Changed and Wake if there is news.
func (c *Core) tell() {
	s := c.Snapshot()
	if s.State != c.shown.state {
		c.shown.since = c.now
	}
	if c.shown.force || s.State != c.shown.state || s.Path != c.shown.path || s.Proven != c.shown.proven {
		c.act(Changed{})
	}
	c.shown.state, c.shown.path, c.shown.proven, c.shown.force = s.State, s.Path, s.Proven, false
	due := c.due()
	if passed(due, c.now) {
		due = c.now.Add(time.Millisecond) // a Wake for now or earlier would make the caller turn for ever
	}
	if due.IsZero() {
		c.shown.wake = due
		return
	}
	at := c.outside(due)
	if !at.Equal(c.shown.wake) {
		c.act(Wake{At: at})
	}
	c.shown.wake = at
}

// outside returns t by the caller's clock.
func (c *Core) outside(t time.Time) time.Time { return c.caller.Add(t.Sub(c.now)) }

func (c *Core) state() State {
	switch {
	case c.current != nil && !c.health.isActive(c.now):
		return Idle
	case c.current != nil && !c.current.crossed:
		return Probing
	case c.current != nil && (c.current.path.Kind == RelayUDP || c.current.path.Kind == RelayTLS):
		return Relay
	case c.current != nil:
		return Direct
	case c.round.failures > 0:
		return Unreachable
	case c.round.active || c.round.isWanted(c.now):
		return Probing
	}
	return Idle
}

// Snapshot returns the state as of the last Step.
func (c *Core) Snapshot() Snapshot {
	s := Snapshot{
		State: c.state(), Since: c.outside(c.shown.since), Acked: c.call.met,
		ChecksSent: c.prober.sent, ChecksAnswered: c.prober.answered, Rounds: c.round.count,
	}
	if c.current != nil {
		s.Path, s.RTT, s.Usable = c.current.path, c.current.rtt, true
		s.Proven = c.current.crossed
	}
	return s
}

// earliest returns the first of times; zero times do not count.
func earliest(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// passed reports whether the time t was set and has come.
func passed(t, now time.Time) bool { return !t.IsZero() && !t.After(now) }
