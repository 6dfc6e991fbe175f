package gossip

import (
	"time"

	"warren/keys"
)

// Core is the gossip of one member. It is not safe for concurrent use.
type Core struct {
	cfg   Config
	store store
}

// New makes a Core that knows the given items, as the disk remembered them; they are not verified again, and items
// that are not Valid are left out. Send it Roster next.
func New(cfg Config, items []*Item) *Core {
	c := &Core{cfg: cfg.withDefaults()}
	return c
}

// Step takes one event and appends to acts what must be done. Time must not run backwards.
func (c *Core) Step(now time.Time, ev Event, acts []Action) []Action { return acts }

// Get returns the stored item of that key, or nil.
func (c *Core) Get(k Key) *Item { return nil }

// Root returns a hash of the whole store; equal stores have equal roots.
func (c *Core) Root() [32]byte { return [32]byte{} }

// Len returns the number of stored items.
func (c *Core) Len() int { return 0 }

// Links returns the peers linked now, sorted.
func (c *Core) Links() []keys.NodeID { return nil }

// Stats are counters since New.
type Stats struct {
	Stored     uint64 // items accepted
	Duplicates uint64 // items that were known already
	Unknown    uint64 // items that could not be judged
	Forged     uint64 // items that did not verify
	Limited    uint64 // items dropped by a rate limit or a full store
	Malformed  uint64 // messages that could not be read
	Skipped    uint64 // messages of an unknown type
	Rounds     uint64 // comparisons of stores that found a difference
	Links      int    // now
}

// Stats returns the counters.
func (c *Core) Stats() Stats { return Stats{} }

type store struct{}

func (s *store) sorted(k Kind) []*Item { return nil }
