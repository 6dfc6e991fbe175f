package nat

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"warren/keys"
	"warren/nat/path"
	"warren/nat/peers"
)

// Addr is the address of one end of a control link, see package peers.
type Addr = peers.Addr

// Source is where packets come from, the conn.Endpoint of the device, see package peers.
type Source = peers.Source

// peer is a member as every goroutine may see it: its data path, and what status shows.
type peer struct {
	*peers.Peer
	info   atomic.Pointer[PeerInfo]      // nil: the engine has not named it yet
	status atomic.Pointer[path.Snapshot] // nil: nobody wanted a path to it
}

// roster lists the members that somebody named.
type roster struct {
	inbox *peers.Inbox

	mu   sync.RWMutex
	byID map[keys.NodeID]*peer
}

func newRoster(in *peers.Inbox) *roster { return &roster{inbox: in, byID: make(map[keys.NodeID]*peer)} }

// get returns the member of that id, or nil.
func (r *roster) get(id keys.NodeID) *peer {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byID[id]
}

// ensure returns the member of that id, a new one if there is none.
func (r *roster) ensure(id keys.NodeID) *peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.byID[id]
	if p == nil {
		p = &peer{Peer: peers.New(id, r.inbox)}
		r.byID[id] = p
	}
	return p
}

// remove takes out the member of that id and returns it, or nil.
func (r *roster) remove(id keys.NodeID) *peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.byID[id]
	delete(r.byID, id)
	return p
}

// clear takes out every member and returns them.
func (r *roster) clear() []*peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := slices.Collect(maps.Values(r.byID))
	clear(r.byID)
	return gone
}

// wayOf is how packets take the path p.
func wayOf(p path.Path) peers.Way {
	return peers.Way{
		Flow: Flow{Local: p.Local, Remote: p.Remote}, Relay: p.Relay, Slot: p.Slot,
		TLS: p.Kind == path.DirectTLS || p.Kind == path.RelayTLS,
	}
}

// pathOf is what a core calls the way w.
func pathOf(w peers.Way) path.Path {
	p := path.Path{Kind: path.DirectUDP, Local: w.Local, Remote: w.Remote, Relay: w.Relay, Slot: w.Slot}
	switch relayed := !w.Relay.IsZero(); {
	case w == peers.Way{}:
		p.Kind = 0
	case relayed && w.TLS:
		p.Kind = path.RelayTLS
	case relayed:
		p.Kind = path.RelayUDP
	case w.TLS:
		p.Kind = path.DirectTLS
	}
	return p
}
