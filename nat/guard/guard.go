// Package guard holds what keeps strangers from costing much: a memory of the ids of authentic requests, so that a
// replay triggers nothing, and a limit on how many bad packets of one sender are looked at. Both are bounded, pure, and
// for one goroutine.
package guard

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// Replay remembers transaction ids for at least a while, unless there are too many.
type Replay struct {
	life       time.Duration
	limit      int
	now, older map[[12]byte]struct{}
	turned     time.Time // when now became older
}

// NewReplay returns a Replay that remembers an id for life to twice life, and at most twice limit of them.
func NewReplay(life time.Duration, limit int) *Replay {
	return &Replay{life: life, limit: limit, now: make(map[[12]byte]struct{})}
}

// Again reports whether id was given before, and remembers it. Only ids of authentic requests should be given.
func (r *Replay) Again(id [12]byte, now time.Time) bool {
	if now.Sub(r.turned) > r.life || len(r.now) >= r.limit {
		r.now, r.older, r.turned = make(map[[12]byte]struct{}), r.now, now
	}
	_, is := r.now[id]
	_, was := r.older[id]
	r.now[id] = struct{}{}
	return is || was
}

// Flood counts bad packets a second, by sender: an IPv4 address or a /64 of IPv6. Senders may share a count by chance.
type Flood struct {
	limit  uint8
	counts [1024]uint8
	second int64
	seed   maphash.Seed
}

// NewFlood returns a Flood that is full after limit bad packets of a sender within a second.
func NewFlood(limit uint8) *Flood { return &Flood{limit: limit, seed: maphash.MakeSeed()} }

// Bad counts a bad packet.
func (f *Flood) Bad(from netip.Addr, now time.Time) {
	if n := f.count(from, now); *n < f.limit {
		*n++
	}
}

// Full reports whether the sender sent so many that another is not worth a look.
func (f *Flood) Full(from netip.Addr, now time.Time) bool { return *f.count(from, now) >= f.limit }

func (f *Flood) count(from netip.Addr, now time.Time) *uint8 {
	if second := now.Unix(); second != f.second {
		f.second = second
		clear(f.counts[:])
	}
	if from.Is6() {
		if p, err := from.Prefix(64); err == nil {
			from = p.Addr()
		}
	}
	return &f.counts[maphash.Comparable(f.seed, from)%uint64(len(f.counts))]
}
