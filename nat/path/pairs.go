package path

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"warren/keys"
)

// pair is one way that might work, RFC 8445's candidate pair: our socket and one address of the peer.
type pair struct {
	path Path
	kind keys.CandidateKind

	listed  origin    // who lists the address now
	vouched bool      // the peer itself lately confirmed it, by CALL or ACK
	heard   time.Time // an authentic packet last came from there

	plan    plan
	sent    time.Time // last check
	budget  int       // checks sent in this round
	lost    losses
	samples int // answers
	rtt     time.Duration

	answered time.Time // last answer
	proof    time.Time // last sign that the path works: answer, tunnel packet
	crossed  bool      // a WireGuard packet came in by it since it last died
}

// losses are the checks sent since the last answer.
type losses struct {
	checks int
	since  time.Time // the first of them
}

// origin is a set of places that may list an address.
type origin uint8

const (
	inRecord origin = 1 << iota
	inSignal        // the newest CALL or ACK
)

// plan is when the next checks of a pair leave. The zero plan is finished.
type plan struct {
	at       []time.Duration
	base     time.Time
	step     int
	sampling bool // goes on after an answer
}

// due returns when the next check leaves, zero if none does.
func (p *plan) due() time.Time {
	if p.step >= len(p.at) {
		return time.Time{}
	}
	return p.base.Add(p.at[p.step])
}

// pass goes over all steps up to now: those missed in a suspended host are not made up for.
func (p *plan) pass(now time.Time) {
	for p.step < len(p.at) && !p.base.Add(p.at[p.step]).After(now) {
		p.step++
	}
}

// class ranks paths by what they cross.
type class uint8

const (
	classIPv4 class = iota
	classIPv6
	classLAN
)

func (p *pair) class() class {
	ip := p.path.Remote.Addr()
	switch {
	case ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsLoopback():
		return classLAN
	case ip.Is6():
		return classIPv6
	}
	return classIPv4
}

// order is how pairs take turns: what is most likely the best first.
func order(a, b *pair) int {
	rank := func(p *pair) int {
		switch {
		case p.class() == classLAN:
			return 0
		case p.class() == classIPv6:
			return 1
		case p.kind == keys.Mapped:
			return 2
		case p.kind == keys.PeerReflexive:
			return 3
		}
		return 4
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), a.path.Remote.Compare(b.path.Remote),
		a.path.Local.Compare(b.path.Local), cmp.Compare(a.path.Kind, b.path.Kind),
		a.path.Relay.Compare(b.path.Relay), cmp.Compare(a.path.Slot, b.path.Slot))
}

// table holds the pairs of one peer in order, at most max of them.
type table struct {
	pairs []*pair
	max   int
}

func (t *table) find(p Path) *pair {
	for _, q := range t.pairs {
		if q.path == p {
			return q
		}
	}
	return nil
}

// add makes a pair for p; a full table drops one of less use, but never keep. It returns nil if there is none to drop.
func (t *table) add(p Path, kind keys.CandidateKind, keep *pair, heard bool) *pair {
	if len(t.pairs) >= t.max && !t.drop(keep, heard) {
		return nil
	}
	q := &pair{path: p, kind: kind}
	at, _ := slices.BinarySearchFunc(t.pairs, q, order)
	t.pairs = slices.Insert(t.pairs, at, q)
	return q
}

// drop makes room: first the last that never showed life; if the newcomer did, then the one silent for longest.
func (t *table) drop(keep *pair, heard bool) bool {
	victim := -1
	for i, q := range t.pairs {
		switch {
		case q == keep:
		case q.life().IsZero():
			victim = i
		case heard && (victim < 0 || !t.pairs[victim].life().IsZero() && q.life().Before(t.pairs[victim].life())):
			victim = i
		}
	}
	if victim < 0 {
		return false
	}
	t.pairs = slices.Delete(t.pairs, victim, victim+1)
	return true
}

// life is when the pair last showed that the peer is behind it.
func (p *pair) life() time.Time {
	if p.heard.After(p.answered) {
		return p.heard
	}
	return p.answered
}

// replace makes list the candidates of one origin and returns the pairs that are new.
func (t *table) replace(list []keys.Candidate, from origin, keep *pair) (fresh []*pair) {
	for _, q := range t.pairs {
		q.listed &^= from
	}
	for _, cand := range list {
		p := UDP(cand.Addr)
		if cand.Kind == keys.Relayed || !reachable(p.Remote) {
			continue
		}
		q := t.find(p)
		if q == nil {
			if q = t.add(p, cand.Kind, keep, false); q == nil {
				continue
			}
			fresh = append(fresh, q)
		}
		q.listed |= from
	}
	t.pairs = slices.DeleteFunc(t.pairs, func(q *pair) bool {
		return q.listed == 0 && q != keep && q.life().IsZero()
	})
	return fresh
}

// reachable reports whether an address in a record can be one at all; link-local ones mean nothing on another host.
func reachable(a netip.AddrPort) bool {
	ip := a.Addr()
	broadcast := ip == netip.AddrFrom4([4]byte{255, 255, 255, 255})
	return ip.IsValid() && a.Port() != 0 && !ip.IsUnspecified() && !ip.IsMulticast() && !ip.IsLinkLocalUnicast() &&
		ip.Zone() == "" && !broadcast
}
