package path

import (
	"slices"
	"time"
)

// signalling is our part in CALL, ACK and GO. The caller sends CALL; the called side answers ACK; the caller, which
// now knows the round trip, sends GO and fires when GO should have arrived. So the first checks of both sides cross in
// the middle and each NAT sees its own host send first (the timing of libp2p's DCUtR).
type signalling struct {
	// Our call.
	session uint64    // of the newest; zero when it was acknowledged
	open    bool      // sent, and neither acknowledged nor given up for the peer's
	first   time.Time // when it was sent first
	last    time.Time // and when last
	tries   int
	at      time.Time // when the next CALL leaves; zero: none
	acked   time.Time // when the peer last acknowledged a call of ours
	asked   bool      // a handshake initiation waits until the peer knows us

	// The peer's calls.
	theirs uint64      // the session whose GO we await; zero: none
	heard  []heardCall // newest last

	met    bool      // the peer signalled with us since the last round began
	listed time.Time // when it last listed candidates
}

// heardCall remembers a session of the peer, against replays.
type heardCall struct {
	session uint64
	at      time.Time
	acks    int
}

// maxAcks is how often the same CALL is answered.
const maxAcks = 4

// schedule lets a new call leave at the given time, or an unsent one earlier. One that is on its way goes on.
func (s *signalling) schedule(at time.Time) {
	if s.open && !s.at.IsZero() {
		return
	}
	if s.at.IsZero() || at.Before(s.at) {
		s.open, s.at = false, at
	}
}

// drop gives up our call; an ACK that is on its way still tells that the peer knows us.
func (s *signalling) drop() { s.open, s.at = false, time.Time{} }

// run sends the CALL that is due, if it is still of use.
func (s *signalling) run(c *Core) {
	if s.at.IsZero() || s.at.After(c.now) {
		return
	}
	s.at = time.Time{}
	if !s.asked && c.fresh(c.current) && !c.health.doubting() {
		s.drop()
		return
	}
	if !s.open {
		s.open, s.session, s.first, s.tries = true, c.rand.Uint64()|1, c.now, 0
	}
	s.last = c.now
	again := c.cfg.Constants.CallAgain
	for s.tries < len(again) && !s.at.After(c.now) {
		s.at = s.first.Add(again[s.tries]) // those missed in a suspended host are not made up for
		s.tries++
	}
	if !s.at.After(c.now) {
		s.at = time.Time{}
	}
	c.act(SendSignal{Signal: SignalCall, Session: s.session})
}

// initiation makes sure that the peer learns of a handshake that began.
func (s *signalling) initiation(c *Core) {
	if !s.acked.IsZero() && c.now.Sub(s.acked) < c.cfg.Constants.AckFresh {
		return
	}
	s.asked = true
	if c.fresh(c.current) {
		s.schedule(c.now)
	}
}

// called takes the peer's CALL. It is answered by ACK, again if repeated, and never by a CALL.
func (s *signalling) called(c *Core, ev Call) {
	if h := s.find(ev.Session); h != nil {
		if h.acks++; h.acks <= maxAcks {
			c.act(SendSignal{Signal: SignalAck, Session: ev.Session})
		}
		return
	}
	if !s.remember(c, ev.Session) {
		return
	}
	c.round.join(c)
	s.met = true
	c.signalled(ev.Candidates)
	c.act(SendSignal{Signal: SignalAck, Session: ev.Session})
	s.theirs = ev.Session
	c.health.shake(c) // The peer may call because it lost what we still think works.
	if s.open && !s.at.IsZero() && c.cfg.Self.Compare(c.cfg.Peer) < 0 {
		return // Glare: ours wins. Theirs got its ACK, and its GO would fire us all the same.
	}
	s.drop()
	c.round.fireAfter(c, c.cfg.Constants.GoLost)
}

func (s *signalling) find(session uint64) *heardCall {
	for i := range s.heard {
		if s.heard[i].session == session {
			return &s.heard[i]
		}
	}
	return nil
}

// remember notes a session of the peer, unless it had too many lately.
func (s *signalling) remember(c *Core, session uint64) bool {
	old := 0
	for old < len(s.heard) && c.now.Sub(s.heard[old].at) > c.cfg.Constants.Remember {
		old++
	}
	s.heard = slices.Delete(s.heard, 0, old)
	if len(s.heard) >= c.cfg.Constants.MaxCalls {
		return false
	}
	s.heard = append(s.heard, heardCall{session: session, at: c.now, acks: 1})
	return true
}

// ack takes the peer's ACK: it knows us now and waits for our GO.
func (s *signalling) ack(c *Core, ev Ack) {
	if s.session == 0 || ev.Session != s.session {
		return
	}
	ours := s.open
	s.drop()
	s.session, s.asked, s.acked = 0, false, c.now
	c.round.join(c)
	s.met = true
	c.signalled(ev.Candidates)
	c.act(Resend{})
	if ours {
		c.act(SendSignal{Signal: SignalGo, Session: ev.Session})
		c.round.fireAfter(c, min(c.now.Sub(s.last)/2, c.cfg.Constants.MaxFireWait))
	}
}

// goes takes the peer's GO, once.
func (s *signalling) goes(c *Core, ev Go) {
	if s.theirs == 0 || ev.Session != s.theirs {
		return
	}
	s.theirs = 0
	if c.health.doubting() && !c.round.active {
		c.round.begin(c)
	}
	c.round.fireAfter(c, 0)
}
