// Package tunnels keeps the wanted set: which members are peers of the WireGuard engine. Everything else follows the
// roster; this follows the traffic. WireGuard knows a peer from its first packet in either direction until five minutes
// without traffic, so that an idle pair of members costs nothing, however large the network.
package tunnels

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"warren/keys"
	"warren/tun"
)

// idle is how long a tunnel stays without traffic.
const idle = 5 * time.Minute

// margin is by how much a session must be too old: what a member says of its age took some time to come here.
const margin = 20 * time.Millisecond

// Set is the wanted set. It is used from several goroutines, never from the data path.
type Set struct {
	mu     sync.Mutex
	engine tun.Engine
	ready  func(id keys.NodeID, ready bool)
	known  map[keys.NodeID]tun.Peer // who may be wanted; nil while disconnected
	open   map[keys.NodeID]*Tunnel
}

// New returns an empty set. ready is told when a member becomes a peer of the engine, and before it ceases to be one; it
// must not block.
func New(engine tun.Engine, ready func(id keys.NodeID, ready bool)) *Set {
	return &Set{engine: engine, ready: ready, open: map[keys.NodeID]*Tunnel{}}
}

// Tunnel is a member that is a peer of the engine.
type Tunnel struct {
	tun.PeerStats
	active time.Time // when the counters last moved, or it was wanted
}

// Allow says who may be wanted. Tunnels to all others are torn down, as are those whose keys or addresses changed. The map
// is kept: the caller must not change it.
func (t *Set) Allow(known map[keys.NodeID]tun.Peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.open {
		if old, now := t.known[id], known[id]; old.Key != now.Key || !slices.Equal(old.Allowed, now.Allowed) {
			t.dropLocked(id)
		}
	}
	t.known = known
}

// Want makes a member a peer of the engine, if it is none yet. A stranger is an error.
func (t *Set) Want(id keys.NodeID, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if open := t.open[id]; open != nil {
		open.active = now
		return nil
	}
	peer, ok := t.known[id]
	if !ok {
		return fmt.Errorf("tunnels: %s is no member that could have a tunnel", id)
	}
	if err := t.engine.SetPeer(peer); err != nil {
		return err
	}
	t.open[id] = &Tunnel{active: now}
	t.ready(id, true)
	return nil
}

// Renew is told by a member that it has forgotten all sessions older than age. If ours is, it starts a new one; where the
// member's clock went back, that begins with forgetting when the last handshake was.
func (t *Set) Renew(id keys.NodeID, age time.Duration, clockBack bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[id] == nil {
		return nil
	}
	peer := t.known[id]
	stats, err := t.engine.Stats()
	if err != nil {
		return err
	}
	// One that has never been is under way: it must not be disturbed.
	last := stats[peer.Key].LastHandshake
	if last.IsZero() || time.Since(last) <= age+margin {
		return nil
	}
	if !clockBack {
		return t.engine.Renew(peer.Key)
	}
	if err := t.engine.RemovePeer(peer.Key); err != nil {
		return err
	}
	if err := t.engine.SetPeer(peer); err != nil {
		t.dropLocked(id) // the next packet tries again
		return err
	}
	return nil
}

func (t *Set) dropLocked(id keys.NodeID) {
	t.ready(id, false)
	delete(t.open, id)
	// The engine fails only when it is closed, and then it holds no peer either.
	_ = t.engine.RemovePeer(t.known[id].Key)
}

// Sweep reads the counters and closes tunnels without traffic. It returns those that are left.
func (t *Set) Sweep(now time.Time) map[keys.NodeID]Tunnel {
	t.mu.Lock()
	defer t.mu.Unlock()
	left := make(map[keys.NodeID]Tunnel, len(t.open))
	if len(t.open) == 0 {
		return left
	}
	stats, err := t.engine.Stats()
	if err != nil {
		return left
	}
	for id, open := range t.open {
		s := stats[t.known[id].Key]
		if s.RxBytes != open.RxBytes || s.TxBytes != open.TxBytes {
			open.active = now
		}
		open.PeerStats = s
		if now.Sub(open.active) > idle {
			t.dropLocked(id)
			continue
		}
		left[id] = *open
	}
	return left
}
