package gossip

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"iter"
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
