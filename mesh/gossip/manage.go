package gossip

import (
	"slices"
	"time"

	"warren/keys"
)

// due keeps the number of links where it should be.
func (t *topology) due() {
	if reached(t.at.fill, t.now) {
		t.at.fill = time.Time{}
		if t.full {
			t.fillFull()
		} else {
			t.fill()
		}
	}
	if reached(t.at.prune, t.now) {
		t.at.prune = time.Time{}
		t.prune()
	}
	if reached(t.at.probe, t.now) {
		t.at.probe = t.now.Add(t.jitter(t.cfg.ProbeEvery))
		t.probe()
	}
	if reached(t.at.shuffle, t.now) {
		t.at.shuffle = t.now.Add(t.jitter(t.cfg.Shuffle))
		// One neighbour gives way to a random other one, or after a partition all links would follow the old seam.
		if low, _ := t.bounds(); !t.full && len(t.links) >= low {
			t.hangupRandom(t.cfg.Shuffle / 2)
			t.fillAt(t.now)
		}
	}
}

func reached(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

// fillFull dials every member that is not linked.
func (t *topology) fillFull() {
	for _, m := range t.members {
		if t.dialable(m.ID, t.now) {
			t.dial(t.peer(m.ID), false)
		} else if p := t.peers[m.ID]; p != nil && !p.dialing && t.now.Before(p.retry) && t.link(m.ID) == nil {
			t.fillAt(p.retry)
		}
	}
}

// fill dials lost neighbours, a public member if none is linked, and others while there are too few.
func (t *topology) fill() {
	low, high := t.bounds()
	t.lost = slices.DeleteFunc(t.lost, func(p *peer) bool {
		switch {
		case p.dialing:
		case t.now.Before(p.retry):
			t.fillAt(p.retry)
		case len(t.links)+len(t.dialing) >= high:
			return true
		default:
			t.dial(p, false)
		}
		return false
	})
	if len(t.publics) > 0 && !t.hasPublic(keys.NodeID{}) {
		if p := t.pick(len(t.publics), func(i int) keys.NodeID { return t.members[t.publics[i]].ID }); p != nil {
			t.dial(p, false)
		} else {
			t.failures++
			t.fillAt(t.now.Add(t.patience(t.cfg.RetryMin)))
		}
	}
	if len(t.links)+len(t.dialing) >= low {
		return
	}
	if p := t.pick(len(t.members), func(i int) keys.NodeID { return t.members[i].ID }); p != nil {
		t.dial(p, false)
		t.fillAt(t.now.Add(t.patience(t.cfg.RetryMin / 20)))
		return
	}
	t.failures++
	t.fillAt(t.now.Add(t.patience(t.cfg.RetryMin)))
}

// pick returns a random member that may be dialled, or nil if a few tries find none.
func (t *topology) pick(n int, at func(int) keys.NodeID) *peer {
	for range 16 {
		if id := at(t.rand.IntN(n)); t.dialable(id, t.now) {
			return t.peer(id)
		}
	}
	return nil
}

// probe dials the stalest of a few random members, to find out whether the network fell apart.
func (t *topology) probe() {
	if t.full {
		return
	}
	var stalest keys.NodeID
	var since time.Time
	for range 32 {
		id := t.members[t.rand.IntN(len(t.members))].ID
		if !t.dialable(id, t.now) {
			continue
		}
		var tried time.Time
		if p := t.peers[id]; p != nil {
			tried = p.tried
		}
		if stalest.IsZero() || tried.Before(since) {
			stalest, since = id, tried
		}
	}
	if !stalest.IsZero() {
		t.dial(t.peer(stalest), true)
	}
}

// prune ends probes that are over, links to strangers and, one at a time, links too many.
func (t *topology) prune() {
	var drop []keys.NodeID
	for _, l := range t.links {
		_, member := t.member(l.peer.id)
		switch ends := l.since.Add(graceLink); {
		case member && !l.probe:
		case t.now.Before(ends):
			t.at.prune = sooner(t.at.prune, ends)
		case !member || len(t.links)-len(drop) > t.cfg.Neighbours && !t.full:
			drop = append(drop, l.peer.id)
		default:
			l.probe = false
		}
	}
	for _, id := range drop {
		t.hangup(id)
	}
	if _, high := t.bounds(); len(t.links) > high && !t.full {
		t.hangupRandom(graceLink)
		t.at.prune = t.now.Add(t.jitter(time.Second))
	}
	t.retime = true
}

// hangupRandom hangs up a random link of some age, but not the only one to a public member.
func (t *topology) hangupRandom(age time.Duration) {
	n := len(t.links)
	for i, start := 0, t.rand.IntN(n); i < n; i++ {
		l := t.links[(start+i)%n]
		m, _ := t.member(l.peer.id)
		if t.now.Sub(l.since) < age || m.Public && !t.hasPublic(l.peer.id) {
			continue
		}
		t.peer(l.peer.id).retry = t.now.Add(t.jitter(t.cfg.RetryMax))
		t.hangup(l.peer.id)
		return
	}
}
