package nat

import (
	"hash/fnv"
	"slices"
	"time"

	"warren/keys"
	"warren/nat/alarm"
	"warren/nat/call"
	"warren/nat/count"
	"warren/nat/path"
)

const (
	sampleEvery = 500 * time.Millisecond // of the traffic of an active peer
	quietAfter  = 45 * time.Second       // a peer is no longer sampled
	warmEvery   = 25 * time.Second       // paths of linked peers, ±20 %
)

// resends are the ages at which an initiation without an answer is sent again.
func resends() []time.Duration {
	return []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second}
}

// member is another member as the loop sees it: it does what the core of the member asks. Core and keys exist from the
// first event on.
type member struct {
	loop    *loop
	peer    *peer
	info    *PeerInfo
	pair    *keys.Pair
	core    *path.Core
	tick    *alarm.Alarm // of the core
	warm    *alarm.Alarm // keeps the path of a link
	again   *alarm.Alarm // resends of the newest initiation
	resent  int
	sampler sampler
	called  []uint64 // sessions of its newest CALLs, of which some passed through others
}

// sampler is what was last told to the core about traffic.
type sampler struct {
	alarm  *alarm.Alarm
	tx, rx int64     // stamps
	quiet  time.Time // of the last traffic
}

func newMember(l *loop, p *peer) *member {
	m := &member{loop: l, peer: p}
	m.tick = alarm.New(func(time.Time) { m.step(path.Tick{}) })
	m.again = alarm.New(m.resendLater)
	m.sampler.alarm = alarm.New(m.sample)
	m.warm = alarm.New(func(now time.Time) {
		l.alarms.Set(m.warm, m.warmAt(now))
		m.step(path.KeepWarm{})
	})
	return m
}

// set takes what the engine knows about m.
func (m *member) set(info *PeerInfo) {
	old := m.info
	m.info = info
	if old != nil && old.Key != info.Key {
		m.sleep()
	}
	if m.core != nil && !slices.Equal(old.Candidates, info.Candidates) {
		m.step(path.Candidates{Remote: m.usable(info.Candidates)})
	}
}

// share makes the keys of the pair, once, and reports whether there are any.
func (m *member) share() bool {
	self := m.loop.self
	if m.pair != nil || self == nil {
		return m.pair != nil
	}
	pair, err := self.Key.Pair(m.info.Key, self.Network)
	if err != nil {
		return false
	}
	m.pair = &pair
	return true
}

// wake gives m a core, if it has none, and returns whether it can have one.
func (m *member) wake() bool {
	if m.core != nil {
		return true
	}
	if !m.share() {
		return false
	}
	h := fnv.New64a()
	_, _ = h.Write(m.info.ID[:])
	cfg := m.loop.cfg
	m.core = path.New(path.Config{
		Self: m.loop.self.ID, Peer: m.info.ID, Seed: cfg.Seed ^ h.Sum64(), Constants: cfg.Constants,
	})
	m.step(path.Candidates{Remote: m.usable(m.info.Candidates)})
	return true
}

// sleep drops core and keys and stops all alarms.
func (m *member) sleep() {
	for _, a := range []*alarm.Alarm{m.tick, m.again, m.sampler.alarm, m.warm} {
		m.loop.alarms.Clear(a)
	}
	m.core, m.pair = nil, nil
	m.peer.Rest()
	m.peer.status.Store(nil)
}

// usable returns the candidates to which checks may go.
func (m *member) usable(cands []keys.Candidate) []keys.Candidate {
	return slices.DeleteFunc(slices.Clone(cands), func(c keys.Candidate) bool { return !m.loop.local.Usable(c.Addr) })
}

// step lets the core of m handle ev and does what it asks.
func (m *member) step(ev path.Event) {
	if !m.wake() {
		return
	}
	l := m.loop
	now := l.cfg.Now()
	l.acts = m.core.Step(now, ev, l.acts[:0])
	changed := false
	for _, act := range l.acts {
		switch act := act.(type) {
		case path.SendCheck:
			l.checks.request(act.ID, asked{m: m, path: act.Path, at: now})
		case path.SendSignal:
			m.signal(act)
		case path.Use:
			m.use(act.Path)
			changed = true
		case path.Resend:
			m.resend(now)
		case path.Wake:
			l.alarms.Set(m.tick, act.At)
		case path.Refresh:
			l.refresh(now)
		case path.Changed:
			changed = true
		}
	}
	snap := m.core.Snapshot()
	m.peer.status.Store(&snap)
	if changed {
		l.cfg.Notify(PathChanged{Peer: m.info.ID})
	}
}

// use makes p the path of m, or none.
func (m *member) use(p path.Path) {
	var src *Source
	if !p.IsZero() {
		src = m.loop.bind.sources.Intern(wayOf(p))
		src.Bind(m.peer.Peer)
	}
	m.peer.Choose(src)
	m.loop.cfg.Log.Info("path changed", "peer", m.info.ID, "name", m.info.Name, "path", p.Remote)
}

// initiated follows an initiation that left: it is sent again until it is answered.
func (m *member) initiated(now time.Time) {
	m.resent = 0
	m.loop.alarms.Set(m.again, now.Add(resends()[0]))
	m.step(path.Initiation{})
}

// resend sends the newest initiation again, and reports whether it still waits for its answer.
func (m *member) resend(now time.Time) bool {
	b := m.loop.bind
	stamp := b.clock.Stamp(now)
	msg := m.peer.Handshake.Unanswered(stamp)
	if msg == nil {
		return false
	}
	if by := m.peer.Chosen(); by != nil && !m.peer.Handshake.Answering(stamp) {
		b.sendBy(by, msg)
		b.counts.Add(count.InitiationResent)
	}
	return true
}

func (m *member) resendLater(now time.Time) {
	steps := resends()
	if !m.resend(now) || m.resent+1 >= len(steps) {
		return
	}
	m.resent++
	m.loop.alarms.Set(m.again, now.Add(steps[m.resent]-steps[m.resent-1]))
}

// watch begins to sample the traffic of m, unless that is so already.
func (m *member) watch(now time.Time) {
	if m.sampler.alarm.Pending() {
		return
	}
	m.peer.Watch(true)
	m.sampler.quiet = now
	m.sample(now)
}

// sample reports to the core what m sent and got since last time, until it is silent.
func (m *member) sample(now time.Time) {
	s := &m.sampler
	tx, rx, from := m.peer.Traffic()
	ev := path.Traffic{Tx: tx != s.tx, Rx: rx != s.rx, From: pathOf(from)}
	s.tx, s.rx = tx, rx
	if ev.Tx || ev.Rx {
		s.quiet = now
		m.step(ev)
	} else if now.Sub(s.quiet) > quietAfter {
		m.peer.Watch(false)
		if tx2, rx2, _ := m.peer.Traffic(); tx2 == tx && rx2 == rx {
			return
		}
		m.peer.Watch(true) // a packet passed in between
	}
	m.loop.alarms.Set(s.alarm, now.Add(sampleEvery))
}

// link keeps the path of m warm, or no longer.
func (m *member) link(linked bool) {
	alarms := &m.loop.alarms
	switch {
	case !linked:
		alarms.Clear(m.warm)
	case !m.warm.Pending():
		alarms.Set(m.warm, m.warmAt(m.loop.cfg.Now()))
	}
}

// warmAt is when a linked member is checked next: in warmEvery, 20 % more or less.
func (m *member) warmAt(now time.Time) time.Time {
	return now.Add(warmEvery*4/5 + time.Duration(m.loop.rand.Int64N(int64(warmEvery*2/5))))
}

// signal seals what the core of m wants said and hands it to the engine.
func (m *member) signal(act path.SendSignal) {
	l := m.loop
	msg := call.Message{Session: act.Session}
	switch act.Signal {
	case path.SignalCall:
		msg.Kind, msg.Candidates = call.Call, l.view.Load().Candidates
		msg.ClockBack, msg.Age = l.self.ClockBack, l.cfg.Now().Sub(l.self.since)
	case path.SignalAck:
		msg.Kind, msg.Candidates = call.Ack, l.view.Load().Candidates
	case path.SignalGo:
		msg.Kind = call.Go
	}
	sealed, err := msg.Seal(m.pair.Seal, l.self.ID, m.info.ID)
	if err != nil {
		panic("nat: own signal cannot be sealed: " + err.Error())
	}
	l.cfg.Signal(m.info.ID, sealed)
}

// maxCalled is how many CALLs of a member are remembered. Who passed them on could say them again, and each makes us
// begin new sessions; only those of the minutes after a start do, so that these are many.
const maxCalled = 64

// news reports whether a CALL is none that m made before, and remembers it.
func (m *member) news(session uint64) bool {
	if slices.Contains(m.called, session) {
		return false
	}
	m.called = append(m.called[max(0, len(m.called)+1-maxCalled):], session)
	return true
}

// told takes what m said.
func (m *member) told(msg call.Message) {
	switch msg.Kind {
	case call.Call:
		if m.news(msg.Session) {
			m.loop.cfg.Notify(Called{Peer: m.info.ID, ClockBack: msg.ClockBack, Age: msg.Age})
		}
		m.step(path.Call{Session: msg.Session, Candidates: m.usable(msg.Candidates)})
	case call.Ack:
		m.step(path.Ack{Session: msg.Session, Candidates: m.usable(msg.Candidates)})
	case call.Go:
		m.step(path.Go{Session: msg.Session})
	}
}
