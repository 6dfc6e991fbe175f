package nat

import (
	crand "crypto/rand"
	"net/netip"
	"time"

	"warren/keys"
	"warren/nat/alarm"
	"warren/nat/count"
	"warren/nat/guard"
	"warren/nat/local"
	"warren/nat/path"
	"warren/nat/peers"
	"warren/nat/ring"
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

// key returns what the answer must be made with, and whether there still is one.
func (a *asked) key() (key [32]byte, ok bool) {
	switch {
	case a.join != nil:
		return a.join.key, true
	case a.m.pair != nil:
		return a.m.pair.Check, true
	}
	return key, false
}

// join is one JoinCheck.
type join struct {
	key, user [32]byte
	remote    netip.AddrPort
	alarm     *alarm.Alarm
	sent      int
	answered  bool
	done      chan struct{} // closed by the first answer
}

func newJoin(network keys.NetworkID, remote netip.AddrPort) *join {
	return &join{
		key: keys.JoinCheckKey(network), user: keys.CheckUserKey(network),
		remote: remote, done: make(chan struct{}),
	}
}

// checks sends and answers STUN: it finds out who is at the other end of a way. Nobody gets an answer who does not hold
// the key. It belongs to the goroutine of the loop.
type checks struct {
	bind   *Bind
	local  *local.Finder // told what is sent and heard
	alarms *alarm.Clock
	heard  func(m *member, at time.Time, ev path.Event) // see loop.heard

	self    keys.NodeID // zero: member of nothing, and answers nobody
	user    [32]byte    // masks senders
	joinKey [32]byte    // of joiners
	senders map[[8]byte]*member
	asked   map[[12]byte]asked

	seen  *guard.Replay // ids of authentic requests
	flood *guard.Flood  // of bad packets
}

func newChecks(b *Bind, lo *local.Finder, alarms *alarm.Clock, heard func(*member, time.Time, path.Event)) *checks {
	return &checks{
		bind: b, local: lo, alarms: alarms, heard: heard,
		senders: make(map[[8]byte]*member),
		asked:   make(map[[12]byte]asked),
		seen:    guard.NewReplay(seenLife, maxSeen),
		flood:   guard.NewFlood(maxForged),
	}
}

// serve says who this host is, nil for nobody.
func (c *checks) serve(self *Self) {
	c.self = keys.NodeID{}
	if self != nil {
		c.self, c.user, c.joinKey = self.ID, keys.CheckUserKey(self.Network), keys.JoinCheckKey(self.Network)
	}
}

// forget makes all answers to requests until now come too late.
func (c *checks) forget() { clear(c.asked) }

// know says who sends checks as id.
func (c *checks) know(id keys.NodeID, m *member) { c.senders[[8]byte(id[:8])] = m }

// unknow takes back what know said.
func (c *checks) unknow(id keys.NodeID, m *member) {
	if key := [8]byte(id[:8]); c.senders[key] == m {
		delete(c.senders, key)
	}
}

// request sends a check and remembers it.
func (c *checks) request(id [12]byte, a asked) {
	key, ok := a.key()
	if !ok {
		panic("nat: a check to a member without keys")
	}
	if !c.room(a.at) {
		c.bind.counts.Add(count.STUNTooMany)
		return
	}
	sender, user := c.self, c.user
	if a.join != nil {
		sender, user = keys.NodeID{}, a.join.user
	}
	c.asked[id] = a
	c.local.Sent(a.path.Remote.Addr(), a.at)
	c.bind.sockets.writeOne(wayOf(a.path).Flow, stun.Request(id, stun.User(user, id, sender), key))
}

// room reports whether another request can be remembered; it forgets old ones.
func (c *checks) room(now time.Time) bool {
	if len(c.asked) >= maxAsked/8 {
		for id, a := range c.asked {
			if now.Sub(a.at) > askedLife {
				delete(c.asked, id)
			}
		}
	}
	return len(c.asked) < maxAsked
}

// drop counts a packet that proved nothing.
func (c *checks) drop(p *ring.Packet, why count.Reason) {
	c.bind.counts.Add(why)
	c.flood.Bad(p.Flow.Remote.Addr(), p.At)
}

// receive handles one STUN packet.
func (c *checks) receive(p *ring.Packet) {
	src := c.bind.sources.Get(peers.Direct(p.Flow))
	if (src == nil || !src.Known()) && c.flood.Full(p.Flow.Remote.Addr(), p.At) {
		c.bind.counts.Add(count.STUNFlood)
		return
	}
	msg, err := stun.Parse(p.Bytes())
	if err != nil {
		c.drop(p, count.STUNMalformed)
		return
	}
	if msg.Kind == stun.RequestKind {
		c.requested(p, &msg)
	} else {
		c.answered(p, &msg)
	}
}

// requested answers an authentic request; everything else gets no answer.
func (c *checks) requested(p *ring.Packet, msg *stun.Message) {
	remote := p.Flow.Remote
	if c.self.IsZero() || c.local.Within(remote.Addr()) {
		c.drop(p, count.STUNUnasked)
		return
	}
	key, m := c.joinKey, (*member)(nil)
	if sender := stun.Sender(c.user, msg.ID, msg.User); sender != [8]byte{} {
		if m = c.senders[sender]; m == nil || !m.share() {
			c.drop(p, count.STUNUnasked)
			return
		}
		key = m.pair.Check
	}
	if !msg.Verify(key) {
		c.drop(p, count.STUNForged)
		return
	}
	if c.seen.Again(msg.ID, p.At) {
		c.drop(p, count.STUNReplayed)
		return
	}
	src := c.bind.sources.Intern(peers.Direct(p.Flow))
	// Where another member is, its address may be a pretence: only an answer to our own check shows that it is not.
	if other := src.Peer(); m == nil || other == nil || other == m.peer.Peer {
		c.proved(src, m, p.At)
	}
	if m != nil && src.Peer() == m.peer.Peer {
		m.peer.Asked(src)
	}
	c.bind.sockets.writeOne(p.Flow, stun.Response(msg.ID, remote, key))
	c.local.Asked(remote.Addr(), p.At)
	c.heard(m, p.At, path.CheckRequested{ID: msg.ID, Path: pathOf(src.Way())})
}

// answered takes the answer to an own request.
func (c *checks) answered(p *ring.Packet, msg *stun.Message) {
	a, ok := c.asked[msg.ID]
	// An answer from another address than the one asked says nothing about either, RFC 8445 section 7.2.5.2.1.
	if !ok || a.path.Remote != p.Flow.Remote || p.At.Sub(a.at) > askedLife {
		c.drop(p, count.STUNUnasked)
		return
	}
	key, ok := a.key()
	if !ok { // it changed in between
		c.drop(p, count.STUNUnasked)
		return
	}
	if !msg.Verify(key) {
		c.drop(p, count.STUNForged)
		return
	}
	delete(c.asked, msg.ID)
	c.proved(c.bind.sources.Intern(wayOf(a.path)), a.m, p.At)
	c.local.Saw(p.Flow.Remote.Addr(), msg.Mapped, p.At)
	c.heard(a.m, p.At, path.CheckAnswered{ID: msg.ID, Path: a.path})
	if a.join != nil && !a.join.answered {
		a.join.answered = true
		close(a.join.done)
	}
}

// proved notes that m, or a joiner if m is nil, is behind src. It comes before anything is sent or told that makes the
// other end, or our own, send by it.
func (c *checks) proved(src *Source, m *member, at time.Time) {
	stamp := c.bind.clock.Stamp(at)
	if m == nil {
		src.Joined(stamp)
	} else {
		src.Checked(m.peer.Peer, stamp)
	}
}

// join starts a JoinCheck.
func (c *checks) join(j *join) {
	j.alarm = alarm.New(func(now time.Time) {
		var id [12]byte
		_, _ = crand.Read(id[:]) // it never fails
		c.request(id, asked{join: j, path: path.UDP(j.remote), at: now})
		j.sent++
		next := joinRepeat
		if s := joinSchedule(); j.sent < len(s) {
			next = s[j.sent] - s[j.sent-1]
		}
		c.alarms.Set(j.alarm, now.Add(next))
	})
	c.alarms.Set(j.alarm, c.bind.clock.Now())
}

// leave ends a JoinCheck.
func (c *checks) leave(j *join) { c.alarms.Clear(j.alarm) }
