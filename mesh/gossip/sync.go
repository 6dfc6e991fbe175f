package gossip

import (
	"bytes"
	"slices"
	"time"

	"warren/keys"
)

// maxLines is the number of lines that a have message holds.
const maxLines = (MaxMessage - 512) / entrySize

// unknownRetry is how soon a neighbour is compared with again after it sent an item that could not be judged.
const unknownRetry = time.Second

// compare starts a comparison with a neighbour. If both stores are equal it costs one small message.
func (c *Core) compare(l *link) {
	l.nextDigest, c.retime = c.now.Add(c.jitter(c.cfg.DigestEvery)), true
	l.wanted, l.progress = 0, false
	c.send(l, &message{kind: typeRoot, root: c.store.rootSum()})
}

// compareSoon compares again after an item that could not be judged, ever less often.
func (c *Core) compareSoon(l *link) {
	at := c.now.Add(c.jitter(max(l.unknown, unknownRetry)))
	if at.Before(l.nextDigest) {
		l.unknown = min(2*max(l.unknown, unknownRetry), c.cfg.DigestEvery)
		l.nextDigest, c.retime = at, true
	}
}

func (c *Core) send(l *link, m *message) {
	c.do(Send{Peer: l.peer, Body: c.codec.encode(m), Sync: true})
}

// receiveRoot answers a comparison with the hashes of the buckets if the stores differ.
func (c *Core) receiveRoot(l *link, root [32]byte) {
	l.nextDigest = c.now.Add(c.jitter(c.cfg.DigestEvery)) // one of the two asks
	if root == c.store.rootSum() || !l.serve(c.now, 256*8) {
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
func (c *Core) receiveBuckets(l *link, sums []byte) {
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
		if l.serve(c.now, len(m.entries)*entrySize) {
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
			m.entries = append(m.entries, haveLine{entries[i].key, entries[i].version()})
		}
		m.listed = append(m.listed, b)
	}
	flush()
}

// receiveHave asks for what the neighbour has and this store lacks, and tells what the neighbour lacks.
func (c *Core) receiveHave(l *link, listed []byte, lines []haveLine) {
	var ask []shortKey
	answer := &message{kind: typeHave}
	for i := range lines {
		e := c.store.find(lines[i].key)
		switch {
		case e == nil || lines[i].newer(e.version()):
			if c.wantable(lines[i].key, e) {
				ask = append(ask, lines[i].key)
			}
		case len(listed) > 0 && e.version().newer(lines[i].version):
			answer.entries = append(answer.entries, haveLine{e.key, e.version()})
		}
	}
	for _, b := range listed {
		for i := range c.store.buckets[b].entries {
			e := &c.store.buckets[b].entries[i]
			_, known := slices.BinarySearchFunc(lines, e.key, func(h haveLine, k shortKey) int {
				return bytes.Compare(h.key[:], k[:])
			})
			if !known {
				answer.entries = append(answer.entries, haveLine{e.key, e.version()})
			}
		}
	}
	for part := range slices.Chunk(ask, (MaxMessage-16)/len(shortKey{})) {
		for _, k := range part {
			c.wants[k] = want{l.peer, c.now.Add(wantFor)}
		}
		l.wanted += len(part)
		c.send(l, &message{kind: typeWant, wants: part})
	}
	slices.SortFunc(answer.entries, haveLine.compare)
	for part := range slices.Chunk(answer.entries, maxLines) {
		if l.serve(c.now, len(part)*entrySize) {
			c.send(l, &message{kind: typeHave, entries: part})
		}
	}
}

// wantable reports whether to ask for an item now; e is the older one in the store, or nil.
func (c *Core) wantable(k shortKey, e *entry) bool {
	kind := Kind(k[15])
	if _, limit := kind.bounds(); limit == 0 || len(c.wants) >= maxWants && !c.expireWants() {
		return false
	}
	if w, asked := c.wants[k]; asked && c.now.Before(w.until) {
		return false
	}
	if e != nil {
		return e.conforms(c.now, rateBurst)
	}
	left := k
	left[15] = byte(KindLeft)
	return !c.store.full(kind) && (kind != KindRecord || c.store.find(left) == nil)
}

// expireWants forgets questions that got no answer, and reports whether there is room again.
func (c *Core) expireWants() bool {
	for k, w := range c.wants {
		if !c.now.Before(w.until) {
			delete(c.wants, k)
		}
	}
	return len(c.wants) < maxWants
}

// forgetWants lets others be asked for what a lost neighbour did not answer.
func (c *Core) forgetWants(p keys.NodeID) {
	for k, w := range c.wants {
		if w.from == p {
			delete(c.wants, k)
		}
	}
}

// receiveWant sends the items asked for, within the link's budget.
func (c *Core) receiveWant(l *link, wants []shortKey) {
	var items []*Item
	for _, k := range wants {
		if e := c.store.find(k); e != nil && l.serve(c.now, len(e.item.Body)+64) {
			items = append(items, e.item)
		}
	}
	if len(items) == 0 {
		return
	}
	slices.SortFunc(items, (*Item).compare)
	for _, body := range c.pushes(items) {
		c.do(Send{Peer: l.peer, Body: body, Sync: true})
	}
}
