package nat

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"warren/keys"
	"warren/nat/alarm"
	"warren/nat/local"
	"warren/nat/path"
)

const (
	pollEvery   = 5 * time.Second        // of own interfaces
	sampleEvery = 500 * time.Millisecond // of the traffic of an active peer
	quietAfter  = 45 * time.Second       // a peer is no longer sampled
	warmEvery   = 25 * time.Second       // paths of linked peers, ±20 %
	resendFor   = 6 * time.Second        // upstream makes a new initiation after 5 s
)

// resends are the ages at which an initiation without an answer is sent again.
func resends() []time.Duration {
	return []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second}
}

// loop is what Run owns. Only port, view and posts are touched by other goroutines.
type loop struct {
	cfg   *Config
	bind  *Bind
	inbox *inbox
	port  atomic.Uint32
	view  atomic.Pointer[local.View]
	posts struct {
		sync.Mutex
		funcs []func()
	}
	self    *Self
	since   time.Time // when self was set: older sessions are forgotten
	members map[keys.NodeID]*member
	alarms  alarm.Clock
	poll    *alarm.Alarm
	checks  *checks
	local   *local.Finder
	rand    *rand.Rand
	acts    []path.Action
}

func newLoop(cfg *Config, bind *Bind, in *inbox) *loop {
	lo := local.New()
	l := &loop{
		cfg: cfg, bind: bind, inbox: in,
		members: make(map[keys.NodeID]*member),
		checks:  newChecks(bind, lo),
		local:   lo,
		rand:    rand.New(rand.NewPCG(cfg.Seed, 1)),
	}
	l.view.Store(&local.View{})
	l.poll = alarm.New(func(now time.Time) {
		if l.local.SetHosts(cfg.Hosts()) {
			cfg.Log.Info("own addresses changed")
			l.reset()
		}
		l.alarms.Set(l.poll, now.Add(pollEvery))
	})
	return l
}

// post makes the loop call f; it never blocks.
func (l *loop) post(f func()) {
	l.posts.Lock()
	l.posts.funcs = append(l.posts.funcs, f)
	l.posts.Unlock()
	l.inbox.ring()
}

// event makes the loop step the core of a known member.
func (l *loop) event(id keys.NodeID, ev path.Event) {
	l.post(func() {
		if m := l.members[id]; m != nil {
			l.step(m, ev)
		}
	})
}

func (l *loop) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	l.alarms.Set(l.poll, l.cfg.Now().Add(pollEvery))
	for {
		now := l.cfg.Now()
		l.alarms.Run(now)
		if next, ok := l.alarms.Next(); ok { // always: there is poll
			timer.Reset(next.Sub(now))
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-l.inbox.wake:
			l.inbox.each(l.signed)
			l.posts.Lock()
			funcs := l.posts.funcs
			l.posts.funcs = nil
			l.posts.Unlock()
			for _, f := range funcs {
				f()
			}
		case p := <-l.bind.stun:
			l.stun(p)
			l.bind.packets.Put(p)
		}
	}
}

// wake gives m a core, if it has none, and returns whether it can have one.
func (l *loop) wake(m *member) bool {
	if m.core != nil {
		return true
	}
	if l.self == nil || !m.share(l.self) {
		return false
	}
	h := fnv.New64a()
	_, _ = h.Write(m.info.ID[:])
	m.core = path.New(path.Config{Self: l.self.ID, Peer: m.info.ID, Seed: l.cfg.Seed ^ h.Sum64(), Constants: l.cfg.Constants})
	m.tick = alarm.New(func(time.Time) { l.step(m, path.Tick{}) })
	m.again = alarm.New(func(now time.Time) { l.resendLater(m, now) })
	m.sample = alarm.New(func(now time.Time) { l.traffic(m, now) })
	l.step(m, path.Candidates{Remote: l.usable(m.info.Candidates)})
	return true
}

// step lets the core of m handle ev and does what it asks.
func (l *loop) step(m *member, ev path.Event) {
	if !l.wake(m) {
		return
	}
	now := l.cfg.Now()
	l.acts = m.core.Step(now, ev, l.acts[:0])
	changed := false
	for _, act := range l.acts {
		switch act := act.(type) {
		case path.SendCheck:
			a := asked{m: m, path: act.Path, at: now}
			l.checks.request(act.ID, a, l.checks.user, m.pair.Check, l.self.ID)
		case path.SendSignal:
			l.signal(m, act)
		case path.Use:
			l.use(m, act.Path)
			changed = true
		case path.Resend:
			l.resend(m, now)
		case path.Wake:
			l.alarms.Set(m.tick, act.At)
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
func (l *loop) use(m *member, p path.Path) {
	var src *Source
	if p != (path.Path{}) {
		src = l.bind.sources.intern(p)
		src.peer.Store(m.peer)
	}
	m.peer.chosen.Store(src)
	l.cfg.Log.Info("path changed", "peer", m.info.ID, "name", m.info.Name, "path", p.Remote)
}

// signed handles what the data path tells.
func (l *loop) signed(p *Peer, signs uint32) {
	m := l.members[p.id]
	if m == nil || m.peer != p || !l.wake(m) {
		return
	}
	if signs&signKnock != 0 {
		l.knocked(p)
	}
	now := l.cfg.Now()
	if signs&signInitiation != 0 {
		m.resent = 0
		l.alarms.Set(m.again, now.Add(resends()[0]))
		l.step(m, path.Initiation{})
	}
	if src := p.proven.Load(); signs&signProven != 0 && src != nil && src.peer.Load() == p {
		l.step(m, path.Proven{Path: src.path})
	}
	if signs&signTraffic != 0 && !m.sample.Pending() {
		p.active.Store(true)
		m.quiet = now
		l.traffic(m, now)
	}
}

// traffic reports to the core what m sent and got since last time, until it is silent.
func (l *loop) traffic(m *member, now time.Time) {
	tx, rx, from := m.peer.traffic()
	ev := path.Traffic{Tx: tx != m.tx, Rx: rx != m.rx, From: from}
	m.tx, m.rx = tx, rx
	if ev.Tx || ev.Rx {
		m.quiet = now
		l.step(m, ev)
	} else if now.Sub(m.quiet) > quietAfter {
		m.peer.active.Store(false)
		if tx2, rx2, _ := m.peer.traffic(); tx2 == tx && rx2 == rx {
			return
		}
		m.peer.active.Store(true) // a packet passed in between
	}
	l.alarms.Set(m.sample, now.Add(sampleEvery))
}

// resend sends the newest initiation of m again, unless it is answered or too old.
func (l *loop) resend(m *member, now time.Time) bool {
	first := m.peer.first.Load()
	if first == nil || first.answered.Load() || now.Sub(first.at) > resendFor {
		return false
	}
	if by := m.peer.chosen.Load(); by != nil && !m.peer.answering(l.bind.clock.stamp(now)) {
		l.bind.writeOne(by.path.Local, by.path.Remote, first.msg)
		l.bind.counts.add(resentInitiation)
	}
	return true
}

func (l *loop) resendLater(m *member, now time.Time) {
	steps := resends()
	if !l.resend(m, now) || m.resent+1 >= len(steps) {
		return
	}
	m.resent++
	l.alarms.Set(m.again, now.Add(steps[m.resent]-steps[m.resent-1]))
}

// changed makes candidates anew and tells when they, or what is known about the NAT, differ.
func (l *loop) changed(now time.Time) {
	l.local.Port = uint16(l.port.Load())
	v := l.local.View(now)
	if old := l.view.Swap(v); !v.Equal(old) {
		l.cfg.Notify(CandidatesChanged{})
	}
}
