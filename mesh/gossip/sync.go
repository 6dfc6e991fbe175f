package gossip

import (
	"bytes"
	"slices"
	"time"
)

// maxLines is the number of lines that a have message holds.
const maxLines = (MaxMessage - 512) / entrySize

// unknownRetry is how soon a neighbour is compared with again after it sent an item that could not be judged.
const unknownRetry = time.Second

// comparison finds what two stores do not have in common.
type comparison struct {
	*turn
	store *store
	near  *table
}

// due starts the comparisons whose time has come.
func (c *comparison) due() {
	for _, l := range c.near.links {
		if !c.now.Before(l.nextDigest) {
			c.start(l)
		}
	}
}

// next returns when due has something to do.
func (c *comparison) next() (at time.Time) {
	for _, l := range c.near.links {
		at = sooner(at, l.nextDigest)
	}
	return at
}

// start compares with a neighbour. If both stores are equal it costs one small message.
func (c *comparison) start(l *link) {
	l.nextDigest, c.retime = c.now.Add(c.jitter(c.cfg.DigestEvery)), true
	l.progress = false
	l.giveUp(c.now)
	c.send(l, &message{kind: typeRoot, root: c.store.rootSum()})
}

// soon compares again after an item that could not be judged, ever less often.
func (c *comparison) soon(l *link) {
	at := c.now.Add(c.jitter(max(l.unknown, unknownRetry)))
	if at.Before(l.nextDigest) {
		l.unknown = min(2*max(l.unknown, unknownRetry), c.cfg.DigestEvery)
		l.nextDigest, c.retime = at, true
	}
}

func (c *comparison) send(l *link, m *message) {
	c.do(Send{Peer: l.peer.id, Body: c.codec.encode(m), Sync: true})
}

// receiveRoot answers a comparison with the hashes of the buckets if the stores differ.
func (c *comparison) receiveRoot(l *link, root [32]byte) {
	l.nextDigest = c.now.Add(c.jitter(c.cfg.DigestEvery)) // one of the two asks
	if root == c.store.rootSum() || !l.serve(c.clock(), 256*8) {
		return
	}
	sums := make([]byte, 0, 256*8)
	for i := range c.store.buckets {
		sum := c.store.bucketSum(i)
		sums = append(sums, sum[:8]...)
	}
	c.send(l, &message{kind: typeBuckets, sums: sums})
}

// receiveBuckets answers with what there is in some of the buckets that differ. The rest follows in later rounds.
func (c *comparison) receiveBuckets(l *link, sums []byte) {
	var differ []byte
	start := c.rand.IntN(256)
	for i := range 256 {
		b := (start + i) % 256
		if sum := c.store.bucketSum(b); !bytes.Equal(sum[:8], sums[b*8:][:8]) {
			if differ = append(differ, byte(b)); len(differ) == roundSize {
				break
			}
		}
	}
	if len(differ) == 0 {
		return
	}
	c.stats.Rounds++
	slices.Sort(differ)
	m := &message{kind: typeHave}
	flush := func() {
		if l.serve(c.clock(), len(m.entries)*entrySize) {
			c.send(l, m)
		}
		m = &message{kind: typeHave}
	}
	for _, b := range differ {
		entries := c.store.buckets[b].entries
		if len(m.listed) > 0 && len(m.entries)+len(entries) > maxLines {
			flush()
		}
		for i := range entries[:min(len(entries), maxLines)] {
			m.entries = append(m.entries, entries[i].line())
		}
		m.listed = append(m.listed, b)
	}
	flush()
}

// receiveHave asks for what the neighbour has and this store lacks, and tells what the neighbour lacks.
func (c *comparison) receiveHave(l *link, m *message) {
	var ask []shortKey
	var tell []haveLine
	for _, h := range m.entries {
		e := c.store.find(h.key)
		switch {
		case e == nil || h.newer(e.version()):
			if len(ask) < maxWants && c.wantable(l, h.key, e) {
				ask = append(ask, h.key)
			}
		case len(m.listed) > 0 && e.version().newer(h.version):
			tell = append(tell, e.line())
		}
	}
	if l.servable(c.clock()) { // or the work is in vain
		tell = append(tell, c.missing(m)...)
	}
	c.ask(l, ask)
	slices.SortFunc(tell, haveLine.compare)
	for part := range slices.Chunk(tell, maxLines) {
		if l.serve(c.clock(), len(part)*entrySize) {
			c.send(l, &message{kind: typeHave, entries: part})
		}
	}
}

// missing returns what the sender of a have message lacks in the buckets of which it listed everything.
func (c *comparison) missing(m *message) (lines []haveLine) {
	for _, b := range m.listed {
		for i := range c.store.buckets[b].entries {
			e := &c.store.buckets[b].entries[i]
			_, known := slices.BinarySearchFunc(m.entries, e.key, func(h haveLine, k shortKey) int {
				return bytes.Compare(h.key[:], k[:])
			})
			if !known {
				lines = append(lines, e.line())
			}
		}
	}
	return lines
}

// ask asks a neighbour for items.
func (c *comparison) ask(l *link, wants []shortKey) {
	wants = wants[:min(len(wants), max(maxWants-len(l.wants), 0))]
	for part := range slices.Chunk(wants, (MaxMessage-16)/len(shortKey{})) {
		for _, k := range part {
			l.wants[k] = c.now.Add(wantFor)
		}
		c.send(l, &message{kind: typeWant, wants: part})
	}
}

// wantable reports whether to ask a neighbour for an item now; e is the older one in the store, or nil. Two are asked
// for the same only where the first is known not to answer: it could keep an item away for ever.
func (c *comparison) wantable(l *link, k shortKey, e *entry) bool {
	for _, o := range c.near.links {
		if o.waits(k, c.now) && (o == l || !o.late) {
			return false
		}
	}
	if e != nil {
		return e.conforms(c.clock(), rateBurst)
	}
	kind, left := Kind(k[15]), k
	left[15] = byte(KindLeft)
	_, limit := kind.bounds()
	return limit > 0 && !c.store.full(kind) && (kind != KindRecord || c.store.find(left) == nil)
}

// receiveWant sends the items asked for, within the link's budget.
func (c *comparison) receiveWant(l *link, wants []shortKey) {
	var items []*Item
	for _, k := range wants {
		if e := c.store.find(k); e != nil && l.serve(c.clock(), len(e.item.Body)+64) {
			items = append(items, e.item)
		}
	}
	if len(items) == 0 {
		return
	}
	slices.SortFunc(items, (*Item).compare)
	for _, body := range c.codec.pushes(items) {
		c.do(Send{Peer: l.peer.id, Body: body, Sync: true})
	}
}
