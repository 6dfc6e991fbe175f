package gossip

import (
	"time"

	"warren/keys"
)

// Event is what happened; one of the types below.
type Event interface{ event() }

// Member is a line of the roster.
type Member struct {
	ID     keys.NodeID
	Public bool // reachable from outside, so that anybody can link to it without help
}

// Roster tells all members of the network, whenever that changes. Self may be among them and should be when it is
// public. Neighbours are chosen only from it, and links to others are hung up. Core may keep the slice: do not change
// it afterwards; it is sorted by ID, or Core sorts a copy.
type Roster struct{ Members []Member }

// LinkUp tells that an authenticated link to a peer is usable, whoever dialled. Another LinkUp of the same peer
// replaces the link.
type LinkUp struct{ Peer keys.NodeID }

// LinkDown tells that a link is gone. ByPeer: the other side hung up on purpose, which is not a failure. A LinkDown
// after an own Hangup is not needed and ignored.
type LinkDown struct {
	Peer   keys.NodeID
	ByPeer bool
}

// DialFailed answers a Dial that gave no link.
type DialFailed struct{ Peer keys.NodeID }

// Received is a message from a linked peer. Core keeps no part of Body.
type Received struct {
	Peer keys.NodeID
	Body []byte
}

// Publish stores an item of our own making and pushes it. It is not verified. An item older than what is stored, or
// not Valid, is ignored. Records published in quick succession are stored at once but pushed at the rate that others
// accept.
type Publish struct{ Item *Item }

// NetworkChanged tells that the host has other addresses or woke up: back-offs of dials are forgotten.
type NetworkChanged struct{}

// Tick tells that the time of the last Wake has come.
type Tick struct{}

func (Roster) event()         {}
func (LinkUp) event()         {}
func (LinkDown) event()       {}
func (DialFailed) event()     {}
func (Received) event()       {}
func (Publish) event()        {}
func (NetworkChanged) event() {}
func (Tick) event()           {}

// Action is what the shell must do; one of the types below, in the order given.
type Action interface{ action() }

// Send sends a message to a linked peer, reliably; messages with the same Sync arrive in order. Body is shared between
// actions: do not change it. Sync marks the bulk traffic of a comparison, which may wait behind nothing else.
type Send struct {
	Peer keys.NodeID
	Body []byte
	Sync bool
}

// Dial asks for a link to a member; answered by LinkUp or DialFailed. Both sides may dial at once: the link layer
// keeps one link.
type Dial struct{ Peer keys.NodeID }

// Hangup closes the link to a peer, or stops dialling it. Core has already forgotten the link.
type Hangup struct{ Peer keys.NodeID }

// Stored tells that an item was accepted, by Publish or from a neighbour: persist and apply it. A Stored record of
// this host that it did not publish is what others remember of it: publish again with a higher Seq.
type Stored struct{ Item *Item }

// Removed tells that an item is no longer wanted (the record of a member that left): delete it.
type Removed struct{ Key Key }

// Misbehaved tells that a peer broke the protocol or passed on a forged item; after three times it is hung up and not
// linked for five minutes. Why is a constant text.
type Misbehaved struct {
	Peer keys.NodeID
	Why  string
}

// Wake asks for a Tick at that time. Only the newest counts.
type Wake struct{ At time.Time }

func (Send) action()       {}
func (Dial) action()       {}
func (Hangup) action()     {}
func (Stored) action()     {}
func (Removed) action()    {}
func (Misbehaved) action() {}
func (Wake) action()       {}
