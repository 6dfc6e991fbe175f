package nat

import (
	crand "crypto/rand"
	"net/netip"
	"time"

	"warren/keys"
	"warren/nat/alarm"
	"warren/nat/guard"
	"warren/nat/local"
	"warren/nat/path"
	"warren/nat/stun"
)

const (
	maxAsked   = 8192             // own requests without an answer
	askedLife  = 10 * time.Second // an answer that takes longer is none
	maxSeen    = 32768            // ids of authentic requests in a generation
	seenLife   = 5 * time.Minute  // of a generation; two are kept
	maxForged  = 50               // bad packets a second from one address; more are not looked at
	joinRepeat = 1500 * time.Millisecond
)

// joinSchedule are the times of the first join checks after the start; then they go on every joinRepeat.
func joinSchedule() []time.Duration {
	return []time.Duration{0, 100 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond}
}

// asked is an own request that waits for its answer.
type asked struct {
	m    *member // nil for a join check
	join *join
	path path.Path
	at   time.Time
}

// join is one JoinCheck.
type join struct {
	key, user [32]byte
	remote    netip.AddrPort
	alarm     *alarm.Alarm
	sent      int
	answered  bool
	done      chan struct{}
}

func newJoin(network keys.NetworkID, remote netip.AddrPort) *join {
	return &join{
		key: keys.JoinCheckKey(network), user: keys.CheckUserKey(network),
		remote: remote, done: make(chan struct{}),
	}
}

// checks sends and answers STUN. Nobody gets an answer who does not hold the key.
type checks struct {
	bind    *Bind
	local   *local.Finder
	user    [32]byte            // masks senders
	joinKey [32]byte            // of joiners
	senders map[[8]byte]*member // by the start of their ids
	asked   map[[12]byte]asked

	seen  *guard.Replay // ids of authentic requests
	flood *guard.Flood  // of bad packets
}

func newChecks(b *Bind, lo *local.Finder) *checks {
	return &checks{
		bind: b, local: lo,
		senders: make(map[[8]byte]*member),
		asked:   make(map[[12]byte]asked),
		seen:    guard.NewReplay(seenLife, maxSeen),
		flood:   guard.NewFlood(maxForged),
	}
}

// request sends a check and remembers it.
func (c *checks) request(id [12]byte, a asked, user, key [32]byte, sender keys.NodeID) {
	if len(c.asked) >= maxAsked/8 {
		for old, b := range c.asked {
			if a.at.Sub(b.at) > askedLife {
				delete(c.asked, old)
			}
		}
		if len(c.asked) >= maxAsked {
			c.bind.counts.add(droppedChecks)
			return
		}
	}
	c.asked[id] = a
	c.local.Sent(a.path.Remote.Addr(), a.at)
	c.bind.writeOne(a.path.Local, a.path.Remote, stun.Request(id, stun.User(user, id, sender), key))
}

// drop counts a packet that proved nothing.
func (c *checks) drop(p *packet, why counter) {
	c.bind.counts.add(why)
	c.flood.Bad(p.flow.Remote.Addr(), p.at)
}

// stun handles one STUN packet.
func (l *loop) stun(p *packet) {
	c := l.checks
	src := l.bind.sources.get(direct(p.flow))
	known := src != nil && (src.peer.Load() != nil || src.joined.Load() != 0)
	if !known && c.flood.Full(p.flow.Remote.Addr(), p.at) {
		l.bind.counts.add(droppedFlood)
		return
	}
	msg, err := stun.Parse(p.bytes())
	if err != nil {
		c.drop(p, droppedSTUN)
		return
	}
	if msg.Kind == stun.RequestKind {
		l.asked(p, &msg)
	} else {
		l.answered(p, &msg)
	}
}

// asked answers an authentic request; everything else gets no answer.
func (l *loop) asked(p *packet, msg *stun.Message) {
	c, remote := l.checks, p.flow.Remote
	if l.self == nil || l.local.Within(remote.Addr()) {
		c.drop(p, droppedUnasked)
		return
	}
	key, m := c.joinKey, (*member)(nil)
	if sender := stun.Sender(c.user, msg.ID, msg.User); sender != [8]byte{} {
		if m = c.senders[sender]; m == nil || !m.share(l.self) {
			c.drop(p, droppedUnasked)
			return
		}
		key = m.pair.Check
	}
	if !msg.Verify(key) {
		c.drop(p, droppedForged)
		return
	}
	if c.seen.Again(msg.ID, p.at) {
		c.drop(p, droppedReplay)
		return
	}
	src := l.bind.sources.intern(direct(p.flow))
	if m == nil {
		src.joined.Store(l.bind.clock.stamp(p.at))
	} else {
		l.bound(src, m, p.at)
		m.peer.back.Store(src)
	}
	l.bind.writeOne(p.flow.Local, remote, stun.Response(msg.ID, remote, key))
	l.local.Asked(remote.Addr(), p.at)
	l.changed(p.at)
	if m != nil {
		l.step(m, path.CheckRequested{ID: msg.ID, Path: src.path})
	}
}

// answered takes the answer to an own request.
func (l *loop) answered(p *packet, msg *stun.Message) {
	c := l.checks
	a, ok := c.asked[msg.ID]
	// An answer from another address than the one asked says nothing about either, RFC 8445 section 7.2.5.2.1.
	if !ok || a.path.Remote != p.flow.Remote || p.at.Sub(a.at) > askedLife {
		c.drop(p, droppedUnasked)
		return
	}
	var key [32]byte
	switch {
	case a.join != nil:
		key = a.join.key
	case a.m.pair != nil:
		key = a.m.pair.Check
	default: // its key changed in between
		c.drop(p, droppedUnasked)
		return
	}
	if !msg.Verify(key) {
		c.drop(p, droppedForged)
		return
	}
	delete(c.asked, msg.ID)
	src := l.bind.sources.intern(a.path)
	l.local.Saw(p.flow.Remote.Addr(), msg.Mapped, p.at)
	l.changed(p.at)
	if j := a.join; j != nil {
		src.joined.Store(l.bind.clock.stamp(p.at))
		if !j.answered {
			j.answered = true
			close(j.done)
		}
		return
	}
	l.bound(src, a.m, p.at)
	l.step(a.m, path.CheckAnswered{ID: msg.ID, Path: a.path})
}

// bound notes that m proved to be behind src.
func (l *loop) bound(src *Source, m *member, at time.Time) {
	src.checked.Store(l.bind.clock.stamp(at))
	src.peer.Store(m.peer)
}

// join starts a JoinCheck.
func (l *loop) join(j *join) {
	j.alarm = alarm.New(func(now time.Time) {
		var id [12]byte
		_, _ = crand.Read(id[:]) // it never fails
		a := asked{join: j, path: path.UDP(j.remote), at: now}
		l.checks.request(id, a, j.user, j.key, keys.NodeID{})
		j.sent++
		next := joinRepeat
		if s := joinSchedule(); j.sent < len(s) {
			next = s[j.sent] - s[j.sent-1]
		}
		l.alarms.Set(j.alarm, now.Add(next))
	})
	l.alarms.Set(j.alarm, l.cfg.Now())
}

// leave ends a JoinCheck.
func (l *loop) leave(j *join) { l.alarms.Clear(j.alarm) }
