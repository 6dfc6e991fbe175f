package nat

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"warren/keys"
	"warren/nat/alarm"
	"warren/nat/call"
	"warren/nat/count"
	"warren/nat/local"
	"warren/nat/path"
	"warren/nat/peers"
)

const pollEvery = 5 * time.Second // of own interfaces

// loop is what Run owns. Only view and posts are touched by other goroutines.
type loop struct {
	cfg     *Config
	bind    *Bind
	inbox   *peers.Inbox
	posts   posts
	view    atomic.Pointer[local.View]
	self    *identity // nil: member of nothing
	members map[keys.NodeID]*member
	alarms  alarm.Clock
	poll    *alarm.Alarm
	checks  *checks
	local   *local.Finder
	rand    *rand.Rand
	acts    []path.Action // of the step that runs; kept for its memory
	fresh   time.Time     // of the last refresh
}

// identity is who this host is.
type identity struct {
	Self
	since time.Time // when it became that: older sessions are forgotten
}

// posts are functions for the loop to call, in their order.
type posts struct {
	mu    sync.Mutex
	funcs []func()
}

func (ps *posts) add(f func()) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.funcs = append(ps.funcs, f)
}

// call calls what was added before.
func (ps *posts) call() {
	ps.mu.Lock()
	funcs := ps.funcs
	ps.funcs = nil
	ps.mu.Unlock()
	for _, f := range funcs {
		f()
	}
}

func newLoop(cfg *Config, bind *Bind, in *peers.Inbox) *loop {
	l := &loop{
		cfg: cfg, bind: bind, inbox: in,
		members: make(map[keys.NodeID]*member),
		local:   local.New(),
		rand:    rand.New(rand.NewPCG(cfg.Seed, 1)),
	}
	l.checks = newChecks(bind, l.local, &l.alarms, l.heard)
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
	l.posts.add(f)
	l.inbox.Ring()
}

// refreshEvery is how often linked members are asked at most whether our addresses changed.
const refreshEvery = time.Second

// refresh checks the paths to all linked members after the step that runs: their answers show how we are mapped now.
func (l *loop) refresh(now time.Time) {
	if now.Sub(l.fresh) < refreshEvery {
		return
	}
	l.fresh = now
	l.post(func() {
		for _, m := range l.members {
			if m.warm.Pending() {
				m.step(path.KeepWarm{Urgent: true})
			}
		}
	})
}

// event makes the loop step the core of a known member.
func (l *loop) event(id keys.NodeID, ev path.Event) {
	l.post(func() {
		if m := l.members[id]; m != nil {
			m.step(ev)
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
		case <-l.inbox.Wake():
			l.inbox.Each(l.signed)
			l.posts.call()
		case p := <-l.bind.stun.Packets():
			l.checks.receive(p)
			l.bind.stun.Free(p)
		}
	}
}

// signed handles what the data path tells.
func (l *loop) signed(p *peers.Peer, signs peers.Signs) {
	m := l.members[p.ID()]
	if m == nil || m.peer.Peer != p || !m.wake() {
		return
	}
	if signs&peers.Knocked != 0 {
		l.knocked(p)
	}
	if signs&peers.Initiation != 0 {
		m.initiated(l.cfg.Now())
	}
	if src := p.Proven(); signs&peers.Proven != 0 && src != nil && src.Peer() == p {
		m.step(path.Proven{Path: pathOf(src.Way())})
	}
	if signs&peers.Traffic != 0 {
		m.watch(l.cfg.Now())
	}
}

// knocked wakes the tunnel to p and hands the device what p sent.
func (l *loop) knocked(p *peers.Peer) {
	k := p.TakeKnock()
	if k == nil {
		return
	}
	l.cfg.Notify(Called{Peer: p.ID()})
	if !p.Tunnel.Load() {
		l.bind.knocks.Refuse(k)
		return
	}
	p.Handshake.Accepted(l.bind.clock.Stamp(l.cfg.Now()))
	l.bind.knocks.Admit(k)
}

// heard takes what an authentic check, or answer, says: of m, or of a joiner if m is nil.
func (l *loop) heard(m *member, at time.Time, ev path.Event) {
	l.changed(at)
	if m != nil {
		m.step(ev)
	}
}

// signalled opens what another member said and tells its core.
func (l *loop) signalled(from keys.NodeID, sealed []byte) {
	m := l.members[from]
	if m == nil || !m.share() {
		l.bind.counts.Add(count.SignalForged)
		return
	}
	msg, err := call.Open(sealed, m.pair.Seal, from, l.self.ID)
	if err != nil {
		l.bind.counts.Add(count.SignalForged)
		return
	}
	m.told(msg)
}

func (l *loop) setSelf(self *Self) {
	same := self != nil && l.self != nil && self.Network == l.self.Network && self.ID == l.self.ID && self.Key == l.self.Key
	since := l.cfg.Now()
	if same {
		since = l.self.since
	} else {
		for _, m := range l.members {
			m.sleep()
		}
		l.checks.forget()
	}
	l.self, l.local.Overlay = nil, nil
	if self != nil {
		l.self, l.local.Overlay = &identity{Self: *self, since: since}, self.Overlay
	}
	l.checks.serve(self)
	l.changed(l.cfg.Now())
}

func (l *loop) setPeer(info *PeerInfo, p *peer) {
	m := l.members[info.ID]
	if m == nil {
		m = newMember(l, p)
		l.members[info.ID] = m
		l.checks.know(info.ID, m)
		if p.Handshake.Began() {
			p.Raise(peers.Initiation) // it left before the member was known
		}
	}
	p.Handshake.SetLeads(l.self != nil && l.self.ID.Compare(info.ID) < 0)
	m.set(info)
}

// removePeer forgets p, which is no longer among those that the data path finds.
func (l *loop) removePeer(p *peer) {
	if m := l.members[p.ID()]; m != nil && m.peer == p {
		m.sleep()
		delete(l.members, p.ID())
		l.checks.unknow(p.ID(), m)
	}
	l.bind.sources.Unbind(p.Peer)
}

func (l *loop) setLinked(id keys.NodeID, linked bool) {
	if m := l.members[id]; m != nil {
		m.link(linked)
	}
}

// reset starts over in another network.
func (l *loop) reset() {
	l.local.SetHosts(l.cfg.Hosts())
	l.local.Reset()
	l.changed(l.cfg.Now())
	for _, m := range l.members {
		if m.core != nil {
			m.step(path.Reset{})
		}
	}
}

// changed makes candidates anew and tells when they, or what is known about the NAT, differ.
func (l *loop) changed(now time.Time) {
	v := l.local.View(now)
	if old := l.view.Swap(v); !v.Equal(old) {
		l.cfg.Notify(CandidatesChanged{})
	}
}
