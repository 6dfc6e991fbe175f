// Package gossip keeps the same set of small signed items on every member of a network: authority log, certificates,
// revocations, records, grants and receipts. It decides with whom to keep links, pushes what is new, and compares
// stores with its neighbours until they are equal. Members are never forgotten because they are offline.
//
// It is a pure core: [Core.Step] takes an event and the time and returns actions; there is no clock, socket,
// goroutine or lock, and the same seed and events give the same actions. The engine in package mesh owns it and
// carries the messages over its links; package mesh/sim drives thousands of cores. What an item means, and whether
// its signature holds, is the business of the [Verifier]: nothing unverified is stored or passed on.
//
// # Messages
//
// A message is one deterministic CBOR array (RFC 8949 section 4.2) of at most 60 KiB:
//
//	push     [1, [[kind, subject 32, seq, body], ...]]   items, eagerly when new or as the answer to want
//	root     [2, hash 32]                                hash of the whole store; answered by buckets if it differs
//	buckets  [3, 256 x 8 bytes]                          hashes by first byte of the subject; answered by have
//	have     [4, buckets, entries]                       entries of 40 bytes; all there are in the buckets listed
//	want     [5, keys]                                   keys of 16 bytes; answered by push
//
// An entry is key 16 (subject's first 15 bytes, kind), seq 8, body hash 16. Unknown message types are skipped. The
// side that lacks an item asks for it, from one neighbour at a time, so a host that comes back after a month does not
// get everything from everybody.
package gossip

import (
	"cmp"
	"time"

	"warren/keys"
)

// Config says how a Core behaves. Self and Verifier are needed; zero values of the rest take the defaults.
type Config struct {
	Self     keys.NodeID
	Seed     uint64 // of all random choices; members must differ
	Verifier Verifier

	MaxFull     int           // up to so many members, self included, all are linked; default 8
	Neighbours  int           // links wanted above that, give or take two; default 8
	DigestEvery time.Duration // stores are compared with each neighbour; default 30 s
	ProbeEvery  time.Duration // the stalest of a few random members is tried; default 60 s
	Shuffle     time.Duration // one neighbour is exchanged for another; default 10 min
	RetryMin    time.Duration // before a failed dial is repeated, doubling; default 1 s
	RetryMax    time.Duration // the cap of that; default 60 s

	// Intern, if set, replaces an item about to be stored by an equal one; the simulator shares items that way.
	Intern func(*Item) *Item
}

// Rate limit of items that replace others, per subject and kind: a burst, then one per recovery.
const (
	rateBurst    = 5
	rateRecovery = 10 * time.Second
)

const (
	maxStrikes = 3               // misbehaviours until a peer is hung up
	banFor     = 5 * time.Minute // and not linked
	graceLink  = 20 * time.Second
	wantFor    = 5 * time.Second // an item asked for is not asked from another neighbour meanwhile
	maxWants   = 2 << 10         // items asked for at one time, per link
	roundSize  = 64              // buckets compared in one round
	serveBurst = 4 << 20         // bytes of answers in a comparison, per peer
	serveRate  = 512 << 10       // and per second
	admitBurst = 8 << 20         // bytes of messages that are looked at, per peer
	admitRate  = 1 << 20         // and per second
	admitLeast = 256             // what a message counts at least
)

func (c Config) withDefaults() Config {
	if c.Verifier == nil {
		panic("gossip: a Config needs a Verifier")
	}
	c.MaxFull = cmp.Or(c.MaxFull, 8)
	c.Neighbours = max(cmp.Or(c.Neighbours, 8), 3)
	c.DigestEvery = cmp.Or(c.DigestEvery, 30*time.Second)
	c.ProbeEvery = cmp.Or(c.ProbeEvery, time.Minute)
	c.Shuffle = cmp.Or(c.Shuffle, 10*time.Minute)
	c.RetryMin = cmp.Or(c.RetryMin, time.Second)
	c.RetryMax = cmp.Or(c.RetryMax, time.Minute)
	return c
}

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
