package gossip

import (
	"errors"
	"slices"
	"time"

	"warren/keys"
)

// ownRecovery spaces the pushes of own items wider than others tolerate, so that the jitter of the way there does not
// make them drop one; ownBurst likewise.
const (
	ownRecovery = rateRecovery * 6 / 5
	ownBurst    = rateBurst - 1
)

// spread passes on what is new.
type spread struct {
	*turn
	store   *store
	near    *table
	delayed []delayed // own items whose push waits for the rate, sorted by key
	recent  recent
}

// delayed is an own item whose push is due later.
type delayed struct {
	key Key
	at  time.Time
}

// publish stores an own item and pushes it, at once or when its rate allows.
func (s *spread) publish(it *Item) {
	if it == nil || !it.Valid() {
		return
	}
	e := s.store.find(it.short())
	if e != nil && !it.Newer(e.item) || s.dead(it.Key) || e == nil && s.store.full(it.Kind) {
		return
	}
	e = s.keep(it)
	i, waits := slices.BinarySearchFunc(s.delayed, it.Key, func(d delayed, k Key) int { return d.key.Compare(k) })
	switch {
	case waits: // the push to come takes what is stored then
	case e.conforms(s.clock(), ownBurst):
		e.charge(s.clock(), ownRecovery)
		s.push([]*Item{it}, keys.NodeID{})
	default:
		at := s.now.Add(ownRecovery)
		s.delayed = slices.Insert(s.delayed, i, delayed{it.Key, at})
		s.retime = true
	}
}

// keep stores an item that was judged good.
func (s *spread) keep(it *Item) *entry {
	e := s.store.put(it)
	s.stats.Stored++
	s.do(Stored{it})
	if it.Kind == KindLeft {
		if record := (Key{KindRecord, it.Subject}); s.store.remove(record) {
			s.do(Removed{record})
		}
	}
	return e
}

// dead reports whether an item of that key is no longer wanted: a member that left has no record. Its certificate
// stays, for those that have yet to judge its last word.
func (s *spread) dead(k Key) bool {
	return k.Kind == KindRecord && s.store.find(Key{KindLeft, k.Subject}.short()) != nil
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

// taken says what became of the items of a push.
type taken struct {
	all      bool // are stored, in this or a newer version
	forged   bool // one is, and the rest was not looked at
	unknown  bool // one could not be judged
	complete bool // all that the link was asked for has come, and some of it was new
}

// receive judges items from a neighbour, and passes on those that were new.
func (s *spread) receive(l *link, items []*Item) taken {
	if len(items) > 1 {
		slices.SortFunc(items, (*Item).compare)
	}
	got, answered := taken{all: true}, false
	fresh := items[:0]
	for _, it := range items {
		if _, asked := l.wants[it.short()]; asked {
			delete(l.wants, it.short())
			answered = true
		}
		switch s.accept(it) {
		case stored:
			fresh = append(fresh, s.store.find(it.short()).item)
		case duplicate:
		case unknown:
			got.unknown, got.all = true, false
		case dropped:
			got.all = false
		case forged:
			got.forged, got.all = true, false
		}
		if got.forged {
			break
		}
	}
	if len(fresh) > 0 && answered {
		l.progress = true
		s.announce(fresh, l.peer.id) // others may well have these
	} else if len(fresh) > 0 {
		s.push(fresh, l.peer.id)
	}
	got.complete = answered && len(l.wants) == 0 && l.progress
	return got
}

// outcome is what became of an item.
type outcome int

const (
	stored outcome = iota
	duplicate
	dropped // for now
	unknown
	forged
)

// accept judges one item and stores it if it is good and newer.
func (s *spread) accept(it *Item) outcome {
	e := s.store.find(it.short())
	switch {
	case e != nil && !it.Newer(e.item), s.dead(it.Key):
		s.stats.Duplicates++
		return duplicate
	case e == nil && s.store.full(it.Kind), e != nil && !e.conforms(s.clock(), rateBurst):
		s.stats.Limited++
		return dropped
	}
	if err := s.cfg.Verifier.Verify(it); errors.Is(err, ErrUnknown) {
		s.stats.Unknown++
		return unknown
	} else if err != nil {
		s.stats.Forged++
		return forged
	}
	if s.cfg.Intern != nil {
		it = s.cfg.Intern(it)
	}
	replaces := e != nil
	if e = s.keep(it); replaces {
		e.charge(s.clock(), rateRecovery)
	}
	return stored
}

// announce tells all neighbours but one of items, so that those who lack them ask.
func (s *spread) announce(items []*Item, except keys.NodeID) {
	lines := make([]haveLine, len(items))
	for i, it := range items {
		e := s.store.find(it.short())
		lines[i] = e.line()
	}
	slices.SortFunc(lines, haveLine.compare)
	for part := range slices.Chunk(lines, maxLines) {
		body := s.codec.encode(&message{kind: typeHave, entries: part})
		for _, l := range s.near.links {
			if l.peer.id != except {
				s.do(Send{Peer: l.peer.id, Body: body, Sync: true})
			}
		}
	}
}

// push sends items to all neighbours but one, in as few messages as they fit into.
func (s *spread) push(items []*Item, except keys.NodeID) {
	if len(s.near.links) == 0 {
		return
	}
	for _, body := range s.codec.pushes(items) {
		for _, l := range s.near.links {
			if l.peer.id != except {
				s.do(Send{Peer: l.peer.id, Body: body})
			}
		}
	}
}

// due pushes own items whose rate allows it now.
func (s *spread) due() {
	for i := 0; i < len(s.delayed); {
		if s.now.Before(s.delayed[i].at) {
			i++
			continue
		}
		k := s.delayed[i].key
		s.delayed = slices.Delete(s.delayed, i, i+1)
		if e := s.store.find(k.short()); e != nil {
			e.charge(s.clock(), ownRecovery)
			s.push([]*Item{e.item}, keys.NodeID{})
		}
	}
}

// next returns when due has something to do.
func (s *spread) next() (at time.Time) {
	for i := range s.delayed {
		at = sooner(at, s.delayed[i].at)
	}
	return at
}
