package nat

import (
	"slices"
	"time"

	"warren/keys"
	"warren/nat/alarm"
	"warren/nat/call"
	"warren/nat/path"
)

// member is another member as the loop sees it. Its core and alarms exist from the first event on.
type member struct {
	info   *PeerInfo
	peer   *Peer
	pair   *keys.Pair
	core   *path.Core
	tick   *alarm.Alarm // of the core
	again  *alarm.Alarm // resends of the newest initiation
	sample *alarm.Alarm // of traffic
	warm   *alarm.Alarm // keeps the path of a link
	resent int
	tx, rx int64     // stamps last reported to the core
	quiet  time.Time // of the last traffic
	called uint64    // session of the last CALL from it
}

// share makes the keys of the pair, once, and reports whether there are any.
func (m *member) share(self *Self) bool {
	if m.pair != nil {
		return true
	}
	pair, err := self.Key.Pair(m.info.Key, self.Network)
	if err != nil {
		return false
	}
	m.pair = &pair
	return true
}

// sleep drops core, keys and alarms.
func (l *loop) sleep(m *member) {
	for _, a := range []*alarm.Alarm{m.tick, m.again, m.sample, m.warm} {
		l.alarms.Clear(a)
	}
	m.core, m.pair = nil, nil
	m.peer.active.Store(false)
	m.peer.chosen.Store(nil)
	m.peer.back.Store(nil)
	m.peer.status.Store(nil)
}

func (l *loop) setSelf(self *Self) {
	same := self != nil && l.self != nil && self.Network == l.self.Network && self.ID == l.self.ID && self.Key == l.self.Key
	l.self = self
	if !same {
		l.since = l.cfg.Now()
		for _, m := range l.members {
			l.sleep(m)
		}
		clear(l.checks.asked)
	}
	l.local.Overlay = nil
	if self != nil {
		l.local.Overlay = self.Overlay
		l.checks.user, l.checks.joinKey = keys.CheckUserKey(self.Network), keys.JoinCheckKey(self.Network)
	}
	l.changed(l.cfg.Now())
}

func (l *loop) setPeer(info *PeerInfo, peer *Peer) {
	m := l.members[info.ID]
	if m == nil {
		m = &member{peer: peer}
		l.members[info.ID] = m
		l.checks.senders[[8]byte(info.ID[:8])] = m
		if peer.first.Load() != nil {
			peer.raise(signInitiation) // it left before the member was known
		}
	}
	old := m.info
	m.info = info
	peer.leads.Store(l.self != nil && l.self.ID.Compare(info.ID) < 0)
	if old != nil && old.Key != info.Key {
		l.sleep(m)
	}
	if m.core != nil && !slices.Equal(old.Candidates, info.Candidates) {
		l.step(m, path.Candidates{Remote: l.usable(info.Candidates)})
	}
}

// removePeer forgets a member; peer is no longer among those that the data path finds.
func (l *loop) removePeer(id keys.NodeID, peer *Peer) {
	if m := l.members[id]; m != nil && m.peer == peer {
		l.sleep(m)
		delete(l.members, id)
		if key := [8]byte(id[:8]); l.checks.senders[key] == m {
			delete(l.checks.senders, key)
		}
	}
	l.bind.sources.unbind(peer)
}

func (l *loop) setLinked(id keys.NodeID, linked bool) {
	m := l.members[id]
	if m == nil {
		return
	}
	if !linked {
		l.alarms.Clear(m.warm)
		return
	}
	if m.warm == nil {
		m.warm = alarm.New(func(now time.Time) {
			l.alarms.Set(m.warm, l.warmAt(now))
			l.step(m, path.KeepWarm{})
		})
	}
	if !m.warm.Pending() {
		l.alarms.Set(m.warm, l.warmAt(l.cfg.Now()))
	}
}

// warmAt is when a linked member is checked next: in warmEvery, 20 % more or less.
func (l *loop) warmAt(now time.Time) time.Time {
	return now.Add(warmEvery*4/5 + time.Duration(l.rand.Int64N(int64(warmEvery*2/5))))
}

// reset starts over in another network.
func (l *loop) reset() {
	now := l.cfg.Now()
	l.local.SetHosts(l.cfg.Hosts())
	l.local.Reset()
	l.changed(now)
	for _, m := range l.members {
		if m.core != nil {
			l.step(m, path.Reset{})
		}
	}
}

// usable returns the candidates to which checks may go.
func (l *loop) usable(cands []keys.Candidate) []keys.Candidate {
	return slices.DeleteFunc(slices.Clone(cands), func(c keys.Candidate) bool { return !l.local.Usable(c.Addr) })
}

// signal seals what the core of m wants said and hands it to the engine.
func (l *loop) signal(m *member, act path.SendSignal) {
	msg := call.Message{Session: act.Session}
	switch act.Signal {
	case path.SignalCall:
		msg.Kind, msg.Candidates = call.Call, l.view.Load().Candidates
		msg.ClockBack, msg.Age = l.self.ClockBack, l.cfg.Now().Sub(l.since)
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

// signalled opens what another member said and tells its core.
func (l *loop) signalled(from keys.NodeID, sealed []byte) {
	m := l.members[from]
	if m == nil || l.self == nil || !m.share(l.self) {
		l.bind.counts.add(droppedSignal)
		return
	}
	msg, err := call.Open(sealed, m.pair.Seal, from, l.self.ID)
	if err != nil {
		l.bind.counts.add(droppedSignal)
		return
	}
	switch msg.Kind {
	case call.Call:
		if m.called != msg.Session {
			m.called = msg.Session
			l.cfg.Notify(Called{Peer: from, ClockBack: msg.ClockBack, Age: msg.Age})
		}
		l.step(m, path.Call{Session: msg.Session, Candidates: l.usable(msg.Candidates)})
	case call.Ack:
		l.step(m, path.Ack{Session: msg.Session, Candidates: l.usable(msg.Candidates)})
	case call.Go:
		l.step(m, path.Go{Session: msg.Session})
	}
}
