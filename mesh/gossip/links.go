package gossip

import (
	"bytes"
	"slices"
	"time"

	"warren/keys"
)

// topology decides with whom to be linked.
type topology struct {
	*turn
	table
	full     bool // all members are linked with all
	failures int  // dials in a row that gave nothing
	at       deadlines
}

// deadlines are the times at which the topology has something to do; zero: nothing.
type deadlines struct{ fill, prune, probe, shuffle time.Time }

func (d deadlines) next() time.Time {
	return sooner(sooner(d.fill, d.prune), sooner(d.probe, d.shuffle))
}

// maxLost bounds the lost neighbours that are remembered.
const maxLost = 8

// bounds are those of the number of links above MaxFull: below low others are dialled, above high links are hung up.
// Public members share the links of all those that want a public neighbour.
func (t *topology) bounds() (low, high int) {
	high = t.cfg.Neighbours + 4
	if t.self.Public {
		high += 2 * t.others / (len(t.publics) + 1)
	}
	return min(t.cfg.Neighbours-2, t.others), high
}

// setRoster learns who is a member.
func (t *topology) setRoster(members []Member) {
	former := t.setMembers(t.cfg.Self, members)
	t.full = t.others < t.cfg.MaxFull
	for _, m := range former {
		if _, still := t.member(m.ID); still {
			continue
		}
		if p := t.peers[m.ID]; p != nil {
			if t.link(m.ID) != nil || p.dialing {
				t.hangup(m.ID)
			}
			t.forget(p)
		}
	}
	if t.at.probe.IsZero() {
		t.at.probe = t.now.Add(t.jitter(t.cfg.ProbeEvery))
		t.at.shuffle = t.now.Add(t.jitter(t.cfg.Shuffle))
	}
	t.failures = 0
	t.fillAt(t.now)
}

// linkUp learns of a link, whoever dialled it.
func (t *topology) linkUp(id keys.NodeID) {
	p := t.peer(id)
	if t.now.Before(p.banned) || id == t.cfg.Self {
		t.do(Hangup{Peer: id})
		return
	}
	dialled := t.stopDialing(p)
	t.found(p)
	t.failures, p.backoff, p.retry, p.tried = 0, 0, time.Time{}, t.now
	t.dropLink(id)
	l := &link{peer: p, since: t.now, probe: dialled && p.probe, wants: map[shortKey]time.Time{}}
	i, _ := t.findLink(id)
	t.links = slices.Insert(t.links, i, l)
	// One of the two compares at once, the other soon if nothing was heard.
	if l.nextDigest = t.now; bytes.Compare(t.cfg.Self[:], id[:]) > 0 {
		l.nextDigest = t.now.Add(t.jitter(3 * time.Second))
	}
	t.at.prune = sooner(t.at.prune, t.now.Add(t.jitter(graceLink)))
	t.fillAt(t.now.Add(t.jitter(100 * time.Millisecond)))
}

// linkDown learns that a link is gone.
func (t *topology) linkDown(id keys.NodeID, byPeer bool) {
	l := t.link(id)
	if l == nil {
		return
	}
	t.dropLink(id)
	p := t.peer(id)
	p.tried = t.now
	_, member := t.member(id)
	switch {
	case !member:
		t.forget(p)
	case !t.full && byPeer:
		p.retry = t.now.Add(t.jitter(t.cfg.RetryMax)) // it has enough neighbours
	case !t.full && !l.probe:
		t.lost = append(t.lost, p)
		t.lost = t.lost[max(0, len(t.lost)-maxLost):]
		fallthrough
	default:
		p.backoff = t.cfg.RetryMin
		p.retry = t.now.Add(t.jitter(p.backoff))
	}
	t.fillAt(t.now)
}

// dialFailed learns that a dial gave no link.
func (t *topology) dialFailed(id keys.NodeID) {
	p := t.peers[id]
	if p == nil || !t.stopDialing(p) {
		return
	}
	t.failures++
	p.backoff = min(max(2*p.backoff, t.cfg.RetryMin), t.cfg.RetryMax)
	p.retry = t.now.Add(t.jitter(p.backoff))
	t.fillAt(t.now.Add(t.patience(t.cfg.RetryMin / 10)))
}

// patience returns how long to wait after dials that failed, from d up: with nobody reachable a large roster is not
// tried from end to end.
func (t *topology) patience(d time.Duration) time.Duration {
	return t.jitter(min(d<<min(t.failures/4, 10), t.cfg.RetryMax/2))
}

// networkChanged forgets back-offs.
func (t *topology) networkChanged() {
	t.failures = 0
	for _, m := range t.members {
		if p := t.peers[m.ID]; p != nil {
			p.backoff, p.retry = 0, p.banned
		}
	}
	t.fillAt(t.now)
}

// blame counts a misbehaviour; the third ends the link for minutes.
func (t *topology) blame(id keys.NodeID, why string) {
	t.do(Misbehaved{Peer: id, Why: why})
	p := t.peer(id)
	if p.strikes++; p.strikes < maxStrikes {
		return
	}
	p.strikes = 0
	p.banned = t.now.Add(banFor)
	p.retry = p.banned
	t.hangup(id)
	t.fillAt(t.now)
}

// hangup ends a link or a dial.
func (t *topology) hangup(id keys.NodeID) {
	if p := t.peers[id]; p != nil {
		t.stopDialing(p)
		p.tried = t.now
		if _, member := t.member(id); !member && !t.now.Before(p.banned) {
			t.forget(p)
		}
	}
	t.dropLink(id)
	t.retime = true
	t.do(Hangup{Peer: id})
}

// dial starts a dial.
func (t *topology) dial(p *peer, probe bool) {
	p.dialing, p.probe, p.tried = true, probe, t.now
	t.dialing = append(t.dialing, p)
	t.do(Dial{Peer: p.id})
}

// fillAt has due look for neighbours at that time, if not sooner.
func (t *topology) fillAt(at time.Time) {
	t.at.fill = sooner(t.at.fill, at)
	t.retime = true
}
