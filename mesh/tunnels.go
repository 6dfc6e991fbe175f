package mesh

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"warren/keys"
	"warren/tun"
)

// Tunnels are lazy: WireGuard knows a peer from its first packet in either direction until so long without traffic.
const tunnelIdle = 5 * time.Minute

// tunnels is the wanted set: which members are peers of the WireGuard engine. Everything else follows the roster; this
// follows the traffic. It is used from several goroutines, never from the data path.
type tunnels struct {
	mu     sync.Mutex
	engine tun.Engine
	dev    *tun.Device
	known  map[keys.NodeID]tun.Peer // who may be wanted; nil while disconnected
	open   map[keys.NodeID]*tunnel
}

// tunnel is a member that is a peer of the engine.
type tunnel struct {
	tun.PeerStats
	active time.Time // when the counters last moved, or it was wanted
}

// allow says who may be wanted. Tunnels to all others are torn down, as are those whose keys or addresses changed.
func (t *tunnels) allow(known map[keys.NodeID]tun.Peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.open {
		if old, now := t.known[id], known[id]; old.Key != now.Key || !equal(old.Allowed, now.Allowed) {
			t.dropLocked(id)
		}
	}
	t.known = known
}

func equal(a, b []netip.Prefix) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// want makes a member a peer of the engine, if it is none yet. A stranger is an error.
func (t *tunnels) want(id keys.NodeID, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if open := t.open[id]; open != nil {
		open.active = now
		return nil
	}
	peer, ok := t.known[id]
	if !ok {
		return fmt.Errorf("mesh: %s is no member that could have a tunnel", id)
	}
	if err := t.engine.SetPeer(peer); err != nil {
		return err
	}
	t.open[id] = &tunnel{active: now}
	t.dev.SetReady(id, true)
	return nil
}

// renew forgets the session with a member that has forgotten it: the next packet makes a handshake.
func (t *tunnels) renew(id keys.NodeID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[id] == nil {
		return nil
	}
	if err := t.engine.RemovePeer(t.known[id].Key); err != nil {
		return err
	}
	return t.engine.SetPeer(t.known[id])
}

func (t *tunnels) dropLocked(id keys.NodeID) {
	t.dev.SetReady(id, false)
	delete(t.open, id)
	// The engine fails only when it is closed, and then it holds no peer either.
	_ = t.engine.RemovePeer(t.known[id].Key)
}

// sweep reads the counters and closes tunnels without traffic. It returns those that are left.
func (t *tunnels) sweep(now time.Time) map[keys.NodeID]tunnel {
	t.mu.Lock()
	defer t.mu.Unlock()
	left := make(map[keys.NodeID]tunnel, len(t.open))
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
		if now.Sub(open.active) > tunnelIdle {
			t.dropLocked(id)
			continue
		}
		left[id] = *open
	}
	return left
}
