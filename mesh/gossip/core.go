package gossip

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"warren/keys"
)

// Core is the gossip of one member. It is not safe for concurrent use.
type Core struct {
	cfg   Config
	codec codec
	rand  *rand.Rand
	store store
	stats Stats

	topology topology
	wants    map[shortKey]want // what was asked of whom
	delayed  []delayed         // own items whose push waits for the rate, sorted by key
	recent   recent

	now    time.Time // of this Step
	acts   []Action  // of this Step
	wake   time.Time // the last Wake, zero when it has passed
	retime bool      // a deadline may have come nearer
}

// want is an item asked for.
type want struct {
	from  keys.NodeID
	until time.Time
}

// delayed is an own item whose push is due later.
type delayed struct {
	key Key
	at  time.Time
}

// New makes a Core that knows the given items, as the disk remembered them; they are not verified again, and items
// that are not Valid are left out. Send it Roster next.
func New(cfg Config, items []*Item) *Core {
	cfg = cfg.withDefaults()
	c := &Core{
		cfg:   cfg,
		codec: newCodec(),
		rand:  rand.New(rand.NewPCG(cfg.Seed, binary.BigEndian.Uint64(cfg.Self[:]))),
		wants: map[shortKey]want{},
	}
	c.topology.peers = map[keys.NodeID]*peer{}
	for _, it := range items {
		if !it.Valid() {
			continue
		}
		if e := c.store.find(it.short()); e == nil && !c.store.full(it.Kind) || e != nil && it.Newer(e.item) {
			c.store.put(it)
		}
	}
	for _, left := range c.store.sorted(KindLeft) {
		c.store.remove(Key{KindRecord, left.Subject})
	}
	return c
}

// Step takes one event and appends to acts what must be done. Time must not run backwards.
func (c *Core) Step(now time.Time, ev Event, acts []Action) []Action {
	c.now, c.acts = now, acts
	if !c.wake.IsZero() && !now.Before(c.wake) {
		c.wake, c.retime = time.Time{}, true
	}
	switch ev := ev.(type) {
	case Roster:
		c.setRoster(ev.Members)
	case LinkUp:
		c.linkUp(ev.Peer)
	case LinkDown:
		c.linkDown(ev.Peer, ev.ByPeer)
	case DialFailed:
		c.dialFailed(ev.Peer)
	case Received:
		c.received(ev.Peer, ev.Body)
	case Publish:
		c.publish(ev.Item)
	case NetworkChanged:
		c.networkChanged()
	case Tick:
	}
	if c.retime {
		c.due()
		c.retime = false
		if next := c.next(); !next.IsZero() && !next.Equal(c.wake) {
			c.wake = next
			c.do(Wake{At: next})
		}
	}
	acts, c.acts = c.acts, nil
	return acts
}

// do appends an action.
func (c *Core) do(a Action) { c.acts = append(c.acts, a) }

// jitter returns d, 15 % more or less.
func (c *Core) jitter(d time.Duration) time.Duration {
	return d - d*15/100 + time.Duration(c.rand.Int64N(int64(d*30/100)+1))
}

// due does what the time has come for.
func (c *Core) due() {
	for _, l := range c.topology.links {
		if !c.now.Before(l.nextDigest) {
			c.compare(l)
		}
	}
	for i := 0; i < len(c.delayed); {
		if c.now.Before(c.delayed[i].at) {
			i++
			continue
		}
		k := c.delayed[i].key
		c.delayed = slices.Delete(c.delayed, i, i+1)
		if e := c.store.find(k.short()); e != nil {
			e.charge(c.now, ownRecovery)
			c.push([]*Item{e.item}, keys.NodeID{})
		}
	}
	c.manage()
}

// next returns the time of the next deadline, zero if there is none.
func (c *Core) next() time.Time {
	next := c.nextDial()
	for _, l := range c.topology.links {
		next = sooner(next, l.nextDigest)
	}
	for i := range c.delayed {
		next = sooner(next, c.delayed[i].at)
	}
	if !next.IsZero() && !next.After(c.now) { // no busy loop, whatever is overdue
		next = c.now.Add(time.Millisecond)
	}
	return next
}

// sooner returns the earlier of two times, of which zero ones do not count.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// received judges a message.
func (c *Core) received(from keys.NodeID, b []byte) {
	l := c.topology.link(from)
	if l == nil {
		return // of a link that was hung up meanwhile
	}
	var sum [32]byte
	if l.wanted == 0 && isPush(b) {
		if sum = sha256.Sum256(b); c.recent.has(sum) {
			c.stats.Duplicates++
			return
		}
	}
	m, err := c.codec.decode(b)
	if err != nil {
		if errors.Is(err, errType) {
			c.stats.Skipped++
			return
		}
		c.stats.Malformed++
		c.blame(from, "malformed message")
		return
	}
	switch m.kind {
	case typePush:
		if c.receivePush(l, m.items) && sum != ([32]byte{}) {
			c.recent.add(sum)
		}
	case typeRoot:
		c.receiveRoot(l, m.root)
	case typeBuckets:
		c.receiveBuckets(l, m.sums)
	case typeHave:
		c.receiveHave(l, m.listed, m.entries)
	case typeWant:
		c.receiveWant(l, m.wants)
	}
}

// Get returns the stored item of that key, or nil.
func (c *Core) Get(k Key) *Item {
	if e := c.store.find(k.short()); e != nil && e.item.Key == k {
		return e.item
	}
	return nil
}

// Root returns a hash of the whole store; equal stores have equal roots.
func (c *Core) Root() [32]byte { return c.store.rootSum() }

// Len returns the number of stored items.
func (c *Core) Len() int {
	n := 0
	for _, k := range c.store.count {
		n += k
	}
	return n
}

// Links returns the peers linked now, sorted.
func (c *Core) Links() []keys.NodeID {
	ids := make([]keys.NodeID, len(c.topology.links))
	for i, l := range c.topology.links {
		ids[i] = l.peer
	}
	return ids
}

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
func (c *Core) Stats() Stats {
	s := c.stats
	s.Links = len(c.topology.links)
	return s
}
