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
	maxWants   = 8 << 10         // items asked for at one time
	roundSize  = 64              // buckets compared in one round
	serveBurst = 8 << 20         // bytes of answers to want, per link
	serveRate  = 512 << 10       // and per second
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
