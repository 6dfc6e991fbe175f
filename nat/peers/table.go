package peers

import (
	"hash/maphash"
	"sync"

	"warren/nat/udp"
)

// Table interns Sources. Strangers can fill it, so it is bounded and sheds the least useful of a few.
type Table struct {
	mu    sync.RWMutex
	byWay map[Way]*Source
	limit int
}

// NewTable returns a Table of at most limit Sources.
func NewTable(limit int) *Table { return &Table{byWay: make(map[Way]*Source), limit: limit} }

// Get returns the Source of w, or nil.
func (t *Table) Get(w Way) *Source {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byWay[w]
}

// Intern returns the Source of w, a new one if there is none.
func (t *Table) Intern(w Way) *Source {
	if s := t.Get(w); s != nil {
		return s
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.byWay[w]; s != nil {
		return s
	}
	if len(t.byWay) >= t.limit {
		t.shed()
	}
	s := &Source{way: w, remote: Addr{Remote: w.Remote}}
	t.byWay[w] = s
	return s
}

// shed forgets one Source: of a few at random one without a peer, else the longest unused that carries no traffic. A
// device that still holds it may go on sending by it.
func (t *Table) shed() {
	const few = 16
	var worst *Source
	looked := 0
	for _, s := range t.byWay {
		peer := s.peer.Load()
		switch {
		case peer != nil && peer.chosen.Load() == s:
			continue
		case worst == nil, peer == nil && worst.peer.Load() != nil,
			(peer == nil) == (worst.peer.Load() == nil) && s.used() < worst.used():
			worst = s
		}
		if looked++; looked == few {
			break
		}
	}
	if worst != nil {
		worst.gone.Store(true)
		delete(t.byWay, worst.way)
	}
}

// Unbind takes p off all its Sources.
func (t *Table) Unbind(p *Peer) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, s := range t.byWay {
		s.peer.CompareAndSwap(p, nil)
	}
}

// Cache is the part of a Table that one goroutine asks first, without a lock.
type Cache struct {
	table *Table
	seed  maphash.Seed
	flow  udp.Flow
	last  *Source
	slots [256]*Source
}

// NewCache returns an empty Cache of t.
func NewCache(t *Table) *Cache { return &Cache{table: t, seed: maphash.MakeSeed()} }

// Get returns the Source of flow, or nil if the table has none.
func (c *Cache) Get(flow udp.Flow) *Source { return c.find(flow, false) }

// Intern returns the Source of flow, a new one if the table has none.
func (c *Cache) Intern(flow udp.Flow) *Source { return c.find(flow, true) }

func (c *Cache) find(flow udp.Flow, create bool) *Source {
	if c.last != nil && c.flow == flow && !c.last.gone.Load() {
		return c.last
	}
	slot := &c.slots[maphash.Comparable(c.seed, flow)%uint64(len(c.slots))]
	s := *slot
	if s == nil || s.gone.Load() || s.way != Direct(flow) {
		if create {
			s = c.table.Intern(Direct(flow))
		} else {
			s = c.table.Get(Direct(flow))
		}
		if s == nil {
			return nil
		}
		*slot = s
	}
	c.flow, c.last = flow, s
	return s
}
