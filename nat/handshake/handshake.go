// Package handshake watches the WireGuard handshakes with one peer from outside, by the types and indices of messages
// alone: which initiation of ours has no answer yet and should be sent again, and which of two that cross counts.
//
// Where each end takes the other's initiation, both answer, neither takes the answer, and for 5 s none tries again. So
// the initiation of one end, the leader, counts.
//
// The package is pure. Stamps are nanoseconds of one clock, never 0.
package handshake

import (
	"encoding/binary"
	"sync/atomic"
	"time"
)

const (
	crossFor  = 3 * time.Second       // an own initiation counts so long without an answer
	justNow   = 50 * time.Millisecond // so long the device may take to answer an initiation
	resendFor = 6 * time.Second       // upstream makes a new initiation after 5 s
)

// State is what is known of the handshakes with a peer. The zero State knows of none. The data path and the loop of
// package nat use it at the same time.
type State struct {
	first  atomic.Pointer[initiation] // our newest
	theirs atomic.Int64               // when the device got one of theirs last
	leads  atomic.Bool
}

// initiation is a message of type 1, kept to be sent again.
type initiation struct {
	at       int64
	msg      []byte
	answered atomic.Bool
}

// SetLeads says whether of two initiations that cross ours counts.
func (s *State) SetLeads(leads bool) { s.leads.Store(leads) }

// Initiated takes a copy of an initiation that the device sends, and reports whether it should leave now: not if the
// device is about to answer one of the peer's, as if it does, ours is void, and if not, ours leaves as a resend.
func (s *State) Initiated(msg []byte, at int64) bool {
	s.first.Store(&initiation{at: at, msg: append([]byte(nil), msg...)})
	return !s.Answering(at)
}

// Began reports whether the device ever sent an initiation.
func (s *State) Began() bool { return s.first.Load() != nil }

// Responded notes that the device answers the peer, which makes it forget its own handshake.
func (s *State) Responded() {
	if first := s.first.Load(); first != nil {
		first.answered.Store(true)
	}
}

// Response notes a message of type 2 from the peer. It may be forged: then ours is not sent again, that is all.
func (s *State) Response(msg []byte) {
	// The index of the sender in a type 1 is that of the receiver in its type 2.
	if first := s.first.Load(); first != nil &&
		binary.LittleEndian.Uint32(first.msg[4:]) == binary.LittleEndian.Uint32(msg[8:]) {
		first.answered.Store(true)
	}
}

// Crosses reports whether an initiation of the peer should be kept from the device, as ours is on its way and counts.
func (s *State) Crosses(now int64) bool {
	first := s.first.Load()
	return s.leads.Load() && first != nil && !first.answered.Load() && now-first.at < int64(crossFor)
}

// Accepted notes that the device gets an initiation of the peer. It may be forged, so that of many only one a second
// holds ours back.
func (s *State) Accepted(at int64) {
	if theirs := s.theirs.Load(); theirs == 0 || at-theirs >= int64(time.Second) {
		s.theirs.Store(at)
	}
}

// Answering reports whether the device is about to answer an initiation of the peer.
func (s *State) Answering(now int64) bool {
	theirs := s.theirs.Load()
	return theirs != 0 && now-theirs < int64(justNow)
}

// Unanswered returns our newest initiation if it may be sent again, or nil. The caller must not change it.
func (s *State) Unanswered(now int64) []byte {
	first := s.first.Load()
	if first == nil || first.answered.Load() || now-first.at > int64(resendFor) {
		return nil
	}
	return first.msg
}
