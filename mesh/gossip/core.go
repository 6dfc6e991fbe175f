package gossip

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"time"

	"warren/keys"
)

// Core is the gossip of one member. It is not safe for concurrent use.
//
// Its parts are: the store, what is known; the topology, with whom to be linked; spread, which passes on what is new;
// and the comparison, which finds what spread missed.
type Core struct {
	turn
	store    store
	topology topology
	spread   spread
	compare  comparison
	wake     time.Time // the last Wake, zero when it has passed
}

// turn is what the parts of a Core share: how it behaves, and the Step under way.
type turn struct {
	cfg    Config
	codec  codec
	rand   *rand.Rand
	stats  Stats
	start  time.Time // of the first Step
	now    time.Time
	acts   []Action
	retime bool // a deadline may have come nearer
}

// do appends an action.
func (t *turn) do(a Action) { t.acts = append(t.acts, a) }

// jitter returns d, 15 % more or less.
func (t *turn) jitter(d time.Duration) time.Duration {
	return d - d*15/100 + time.Duration(t.rand.Int64N(int64(d*30/100)+1))
}

// clock returns the time since the first Step, which no step of a wall clock changes.
func (t *turn) clock() time.Duration { return t.now.Sub(t.start) }

// budget is a rate limit, the generic cell rate algorithm (ITU-T I.371): the clock at which all that was taken is earned.
type budget time.Duration

// has reports whether what was taken in advance is at most burst.
func (b budget) has(clock, burst time.Duration) bool { return time.Duration(b)-clock <= burst }

func (b *budget) take(clock, cost time.Duration) { *b = budget(max(time.Duration(*b), clock) + cost) }

// New makes a Core that knows the given items, as the disk remembered them; they are not verified again, and items
// that are not Valid are left out. Send it Roster next.
func New(cfg Config, items []*Item) *Core {
	cfg = cfg.withDefaults()
	c := &Core{turn: turn{
		cfg: cfg, codec: newCodec(), rand: rand.New(rand.NewPCG(cfg.Seed, binary.BigEndian.Uint64(cfg.Self[:]))),
	}}
	c.topology = topology{turn: &c.turn, table: table{peers: map[keys.NodeID]*peer{}}}
	c.spread = spread{turn: &c.turn, store: &c.store, near: &c.topology.table}
	c.compare = comparison{turn: &c.turn, store: &c.store, near: &c.topology.table}
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
	if c.start.IsZero() {
		c.start = now
	}
	c.now, c.acts = now, acts
	if !c.wake.IsZero() && !now.Before(c.wake) {
		c.wake, c.retime = time.Time{}, true
	}
	switch ev := ev.(type) {
	case Roster:
		c.topology.setRoster(ev.Members)
	case LinkUp:
		c.topology.linkUp(ev.Peer)
	case LinkDown:
		c.topology.linkDown(ev.Peer, ev.ByPeer)
	case DialFailed:
		c.topology.dialFailed(ev.Peer)
	case Received:
		c.received(ev.Peer, ev.Body)
	case Publish:
		c.spread.publish(ev.Item)
	case NetworkChanged:
		c.topology.networkChanged()
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

// due does what the time has come for.
func (c *Core) due() {
	c.compare.due()
	c.spread.due()
	c.topology.due()
}

// next returns the time of the next deadline, zero if there is none.
func (c *Core) next() time.Time {
	next := sooner(c.topology.at.next(), sooner(c.compare.next(), c.spread.next()))
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
	if !l.admit(c.clock(), len(b)) {
		c.stats.Limited++
		return
	}
	var sum [32]byte
	if len(l.wants) == 0 && isPush(b) {
		if sum = sha256.Sum256(b); c.spread.recent.has(sum) {
			c.stats.Duplicates++
			return
		}
	}
	m, err := c.codec.decode(b)
	switch {
	case errors.Is(err, errType):
		c.stats.Skipped++
	case err != nil:
		c.stats.Malformed++
		c.topology.blame(from, "malformed message")
	case m.kind == typePush:
		c.receivedItems(l, m.items, sum)
	case m.kind == typeRoot:
		c.compare.receiveRoot(l, m.root)
	case m.kind == typeBuckets:
		c.compare.receiveBuckets(l, m.sums)
	case m.kind == typeHave:
		c.compare.receiveHave(l, m)
	case m.kind == typeWant:
		c.compare.receiveWant(l, m.wants)
	}
}

// receivedItems takes in a push; sum is its hash if it was made.
func (c *Core) receivedItems(l *link, items []*Item, sum [32]byte) {
	switch got := c.spread.receive(l, items); {
	case got.forged:
		c.topology.blame(l.peer.id, "forged item")
	case got.unknown:
		c.compare.soon(l)
	case got.complete:
		c.compare.start(l) // until nothing is missing
	case got.all && sum != [32]byte{}:
		c.spread.recent.add(sum)
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
		ids[i] = l.peer.id
	}
	return ids
}

// Stats are counters since New.
type Stats struct {
	Stored     uint64 // items accepted
	Duplicates uint64 // items that were known already
	Unknown    uint64 // items that could not be judged
	Forged     uint64 // items that did not verify
	Limited    uint64 // items and messages dropped by a rate limit or a full store
	Malformed  uint64 // messages that could not be read
	Skipped    uint64 // messages of an unknown type
	Rounds     uint64 // comparisons of stores that found a difference
	Links      int    // now
	Peers      int    // members of which something is known besides their items, now
	Wants      int    // items asked for, now
}

// Stats returns the counters.
func (c *Core) Stats() Stats {
	s := c.stats
	s.Links, s.Peers = len(c.topology.links), len(c.topology.peers)
	for _, l := range c.topology.links {
		s.Wants += len(l.wants)
	}
	return s
}
