package gossip

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"iter"
	"slices"
	"time"
)

// Kind tells what an item is. Items are sent and judged in the order of their kinds, so that a certificate arrives
// before the record that it vouches for.
type Kind uint8

// The kinds of items. Log, Revocation, Left and Receipt only grow: their Seq is 0, but for Log, where it is the index.
const (
	KindLog         Kind = 1 // an entry of the authority log; subject: hash of the entry, Seq: its index
	KindCertificate Kind = 2 // a node certificate; subject: node id
	KindRevocation  Kind = 3 // a revocation; subject: hash of what it revokes
	KindLeft        Kind = 4 // the last word of a member that left; subject: node id
	KindRecord      Kind = 5 // what a member says of itself; subject: node id
	KindGrant       Kind = 6 // an invite; subject: invite id
	KindReceipt     Kind = 7 // an invite used; subject: hash of invite id and identity key
)

// Key names an item. Subject is a hash or an id, thus evenly spread.
type Key struct {
	Kind    Kind
	Subject [32]byte
}

// Compare orders keys by kind, then by subject.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Kind, o.Kind), bytes.Compare(k.Subject[:], o.Subject[:]))
}

// Item is one signed object. Items are immutable and shared by pointer. Of two with the same key the one with the
// higher Seq is newer; with equal Seq the one whose Body has the lower SHA-256.
type Item struct {
	Key
	Seq  uint64
	Body []byte
}

// Newer reports whether i replaces o, an item of the same key. Every item is newer than nil.
func (i *Item) Newer(o *Item) bool {
	if o == nil || i.Seq != o.Seq {
		return o == nil || i.Seq > o.Seq
	}
	if bytes.Equal(i.Body, o.Body) {
		return false
	}
	a, b := sha256.Sum256(i.Body), sha256.Sum256(o.Body)
	return bytes.Compare(a[:], b[:]) < 0
}

// compare orders items for sending and judging: by kind, the log by index, the rest by subject.
func (i *Item) compare(o *Item) int {
	if c := cmp.Compare(i.Kind, o.Kind); c != 0 {
		return c
	}
	if i.Kind == KindLog && i.Seq != o.Seq {
		return cmp.Compare(i.Seq, o.Seq)
	}
	return bytes.Compare(i.Subject[:], o.Subject[:])
}

// ErrUnknown is wrapped by a Verifier's error when it cannot judge an item yet or at this hour: the certificate or the
// log entry that it needs is missing, or this host's clock disagrees. Such an item is dropped without blame and asked
// for again later. Any other error says that the item is forged, and counts against the neighbour that passed it on.
var ErrUnknown = errors.New("cannot be judged yet")

// Verifier judges items. Verify must check that Body is authentic for this network and says the same Subject and Seq
// as the item, or a lie about them would spread. Core calls it from Step, after size and rate limits, at most once for
// an item received; it must not keep the item.
type Verifier interface {
	Verify(*Item) error
}

// MaxMessage is the largest message in bytes, of those that Core makes and of those that it accepts.
const MaxMessage = 60 << 10

// bounds are the largest body and the largest number of items of a kind; zero for a kind that does not exist.
func (k Kind) bounds() (body, count int) {
	switch k {
	case KindLog:
		return 4 << 10, 4 << 10
	case KindCertificate, KindRecord:
		return 1 << 10, 32 << 10
	case KindLeft:
		return 512, 32 << 10
	case KindRevocation, KindReceipt:
		return 1 << 10, 64 << 10
	case KindGrant:
		return 1 << 10, 4 << 10
	}
	return 0, 0
}

// growOnly reports whether items of this kind are never replaced.
func (k Kind) growOnly() bool {
	return k == KindLog || k == KindRevocation || k == KindLeft || k == KindReceipt
}

// Valid reports whether the item has a kind that exists, a body that is not empty and not too large for it (512 bytes
// to 4 KiB), and Seq 0 where the kind demands it.
func (i *Item) Valid() bool {
	limit, _ := i.Kind.bounds()
	return len(i.Body) > 0 && len(i.Body) <= limit && (i.Seq == 0 || !i.Kind.growOnly() || i.Kind == KindLog)
}

// Items iterates over the stored items of a kind: the log by index, the others by subject. The store must not change
// meanwhile.
func (c *Core) Items(k Kind) iter.Seq[*Item] {
	return func(yield func(*Item) bool) {
		for _, it := range c.store.sorted(k) {
			if !yield(it) {
				return
			}
		}
	}
}

// shortKey is a Key as comparisons use it: the subject's first 15 bytes, then the kind. What belongs to one subject
// stands together, its certificate before its record.
type shortKey [16]byte

func (k Key) short() (s shortKey) {
	copy(s[:], k.Subject[:15])
	s[15] = byte(k.Kind)
	return s
}

// version tells which of two items of a key is newer without the items.
type version struct {
	seq  uint64
	hash [16]byte // of the body, truncated
}

// newer agrees with Item.Newer.
func (v version) newer(o version) bool {
	return v.seq > o.seq || v.seq == o.seq && bytes.Compare(v.hash[:], o.hash[:]) < 0
}

// entry is an item as the store holds it.
type entry struct {
	key     shortKey
	hash    [16]byte
	item    *Item
	limited budget // of replacements
}

func (e *entry) version() version { return version{seq: e.item.Seq, hash: e.hash} }

func (e *entry) line() haveLine { return haveLine{e.key, e.version()} }

// conforms reports whether another replacement is within the rate; charge then counts it.
func (e *entry) conforms(clock time.Duration, burst int) bool {
	return e.limited.has(clock, time.Duration(burst-1)*rateRecovery)
}

func (e *entry) charge(clock, interval time.Duration) { e.limited.take(clock, interval) }

// bucket holds the entries whose keys share the first byte, sorted by key.
type bucket struct {
	entries []entry
	sum     [32]byte // zero without entries
	stale   bool
}

// store is the set of newest items, hashed as a tree of two levels.
type store struct {
	buckets [256]bucket
	root    [32]byte
	stale   bool
	count   [KindReceipt + 1]int
}

// find returns the entry of a key, or nil. It is valid until the next put or remove.
func (s *store) find(k shortKey) *entry {
	b := &s.buckets[k[0]]
	if i, ok := b.search(k); ok {
		return &b.entries[i]
	}
	return nil
}

func (b *bucket) search(k shortKey) (int, bool) {
	return slices.BinarySearchFunc(b.entries, k, func(e entry, k shortKey) int { return bytes.Compare(e.key[:], k[:]) })
}

// put stores an item whatever was there, and returns its entry.
func (s *store) put(it *Item) *entry {
	k := it.short()
	b := &s.buckets[k[0]]
	i, ok := b.search(k)
	if !ok {
		b.entries = slices.Insert(b.entries, i, entry{key: k})
		s.count[it.Kind]++
	}
	e := &b.entries[i]
	sum := sha256.Sum256(it.Body)
	e.item, e.hash = it, [16]byte(sum[:16])
	b.stale, s.stale = true, true
	return e
}

// remove drops the item of a key and reports whether there was one.
func (s *store) remove(k Key) bool {
	b := &s.buckets[k.Subject[0]]
	i, ok := b.search(k.short())
	if !ok {
		return false
	}
	b.entries = slices.Delete(b.entries, i, i+1)
	s.count[k.Kind]--
	b.stale, s.stale = true, true
	return true
}

// full reports whether another key of that kind has no room.
func (s *store) full(k Kind) bool {
	_, limit := k.bounds()
	return s.count[k] >= limit
}

// bucketSum returns the hash of a bucket: SHA-256 over key, seq and body hash of its entries.
func (s *store) bucketSum(i int) [32]byte {
	b := &s.buckets[i]
	if !b.stale {
		return b.sum
	}
	b.stale, b.sum = false, [32]byte{}
	if len(b.entries) == 0 {
		return b.sum
	}
	buf := make([]byte, 0, len(b.entries)*entrySize)
	for i := range b.entries {
		buf = b.entries[i].append(buf)
	}
	b.sum = sha256.Sum256(buf)
	return b.sum
}

// rootSum returns the hash over all buckets.
func (s *store) rootSum() [32]byte {
	if !s.stale && s.root != ([32]byte{}) {
		return s.root
	}
	var buf [256 * 32]byte
	for i := range s.buckets {
		sum := s.bucketSum(i)
		copy(buf[i*32:], sum[:])
	}
	s.root, s.stale = sha256.Sum256(buf[:]), false
	return s.root
}

// entrySize is the size of an entry in a have message.
const entrySize = 16 + 8 + 16

func (e *entry) append(b []byte) []byte {
	b = append(b, e.key[:]...)
	b = binary.BigEndian.AppendUint64(b, e.item.Seq)
	return append(b, e.hash[:]...)
}

// sorted returns the items of a kind, the log by index, the others by subject.
func (s *store) sorted(k Kind) []*Item {
	if k == 0 || int(k) >= len(s.count) {
		return nil
	}
	items := make([]*Item, 0, s.count[k])
	for i := range s.buckets {
		for j := range s.buckets[i].entries {
			if it := s.buckets[i].entries[j].item; it.Kind == k {
				items = append(items, it)
			}
		}
	}
	if k == KindLog {
		slices.SortStableFunc(items, func(a, b *Item) int { return cmp.Compare(a.Seq, b.Seq) })
	}
	return items
}
