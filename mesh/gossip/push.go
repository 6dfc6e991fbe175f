package gossip

import (
	"errors"
	"slices"

	"warren/keys"
)

// ownRecovery spaces the pushes of own items wider than others tolerate, so that the jitter of the way there does not
// make them drop one; ownBurst likewise.
const (
	ownRecovery = rateRecovery * 6 / 5
	ownBurst    = rateBurst - 1
)

// publish stores an own item and pushes it, at once or when its rate allows.
func (c *Core) publish(it *Item) {
	if it == nil || !it.Valid() {
		return
	}
	e := c.store.find(it.short())
	if e != nil && !it.Newer(e.item) || c.dead(it.Key) || e == nil && c.store.full(it.Kind) {
		return
	}
	e = c.keep(it)
	i, waits := slices.BinarySearchFunc(c.delayed, it.Key, func(d delayed, k Key) int { return d.key.Compare(k) })
	switch {
	case waits: // the push to come takes what is stored then
	case e.conforms(c.now, ownBurst):
		e.charge(c.now, ownRecovery)
		c.push([]*Item{it}, keys.NodeID{})
	default:
		at := c.now.Add(ownRecovery)
		c.delayed = slices.Insert(c.delayed, i, delayed{it.Key, at})
		c.retime = true
	}
}

// keep stores an item that was judged good.
func (c *Core) keep(it *Item) *entry {
	e := c.store.put(it)
	c.stats.Stored++
	c.do(Stored{it})
	if it.Kind == KindLeft {
		if record := (Key{KindRecord, it.Subject}); c.store.remove(record) {
			c.do(Removed{record})
		}
	}
	return e
}

// dead reports whether an item of that key is no longer wanted: a member that left has no record. Its certificate
// stays, for those that have yet to judge its last word.
func (c *Core) dead(k Key) bool {
	return k.Kind == KindRecord && c.store.find(Key{KindLeft, k.Subject}.short()) != nil
}

// recent remembers the last messages all of whose items are stored: each neighbour passes on the same bytes.
type recent struct {
	sums [32][32]byte
	next int
}

func (r *recent) has(sum [32]byte) bool { return slices.Contains(r.sums[:], sum) }

func (r *recent) add(sum [32]byte) {
	r.sums[r.next] = sum
	r.next = (r.next + 1) % len(r.sums)
}

// isPush reports whether a message is a push, or none at all.
func isPush(b []byte) bool { return len(b) > 1 && b[1] == typePush }

// receivePush judges items from a neighbour, and passes on those that were new. It reports whether all are stored, in
// this or a newer version.
func (c *Core) receivePush(l *link, items []*Item) bool {
	if len(items) > 1 {
		slices.SortFunc(items, (*Item).compare)
	}
	fresh := items[:0]
	answered, all := false, true
	for _, it := range items {
		if w, ok := c.wants[it.short()]; ok && w.from == l.peer {
			delete(c.wants, it.short())
			l.wanted = max(l.wanted-1, 0)
			answered = true
		}
		switch c.accept(l, it) {
		case stored:
			fresh = append(fresh, c.store.find(it.short()).item)
		case dropped:
			all = false
		case forged:
			return false
		}
	}
	if len(fresh) > 0 && answered {
		l.progress = true
		c.announce(fresh, l.peer) // others may well have these
	} else if len(fresh) > 0 {
		c.push(fresh, l.peer)
	}
	if answered && l.wanted == 0 && l.progress {
		c.compare(l) // until nothing is missing
	}
	return all
}

// outcome is what became of an item.
type outcome int

const (
	stored outcome = iota
	duplicate
	dropped // for now
	forged
)

// accept judges one item and stores it if it is good and newer. After a forged one the rest of the message is not
// believed.
func (c *Core) accept(l *link, it *Item) outcome {
	e := c.store.find(it.short())
	switch {
	case e != nil && !it.Newer(e.item), c.dead(it.Key):
		c.stats.Duplicates++
		return duplicate
	case e == nil && c.store.full(it.Kind), e != nil && !e.conforms(c.now, rateBurst):
		c.stats.Limited++
		return dropped
	}
	if err := c.cfg.Verifier.Verify(it); errors.Is(err, ErrUnknown) {
		c.stats.Unknown++
		c.compareSoon(l)
		return dropped
	} else if err != nil {
		c.stats.Forged++
		c.blame(l.peer, "forged item")
		return forged
	}
	if c.cfg.Intern != nil {
		it = c.cfg.Intern(it)
	}
	replaces := e != nil
	if e = c.keep(it); replaces {
		e.charge(c.now, rateRecovery)
	}
	return stored
}

// announce tells all neighbours but one of items, so that those who lack them ask.
func (c *Core) announce(items []*Item, except keys.NodeID) {
	lines := make([]haveLine, len(items))
	for i, it := range items {
		e := c.store.find(it.short())
		lines[i] = haveLine{e.key, e.version()}
	}
	slices.SortFunc(lines, haveLine.compare)
	for part := range slices.Chunk(lines, maxLines) {
		body := c.codec.encode(&message{kind: typeHave, entries: part})
		for _, l := range c.topology.links {
			if l.peer != except {
				c.do(Send{Peer: l.peer, Body: body, Sync: true})
			}
		}
	}
}

// push sends items to all neighbours but one, in as few messages as they fit into.
func (c *Core) push(items []*Item, except keys.NodeID) {
	if len(c.topology.links) == 0 {
		return
	}
	for _, body := range c.pushes(items) {
		for _, l := range c.topology.links {
			if l.peer != except {
				c.do(Send{Peer: l.peer, Body: body})
			}
		}
	}
}

// pushes encodes items as push messages.
func (c *Core) pushes(items []*Item) (bodies [][]byte) {
	const head, each = 8, 56 // of the message, of an item beside its body; rounded up
	start, size := 0, head
	for i, it := range items {
		n := each + len(it.Body)
		if size+n > MaxMessage {
			bodies = append(bodies, c.codec.encode(&message{kind: typePush, items: items[start:i]}))
			start, size = i, head
		}
		size += n
	}
	return append(bodies, c.codec.encode(&message{kind: typePush, items: items[start:]}))
}
