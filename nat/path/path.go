package path

import (
	"net/netip"
	"time"

	"warren/keys"
)

// Kind says by which means a path carries packets.
type Kind uint8

// The kinds of path. This version makes only DirectUDP; the core and its callers must cope with all.
const (
	DirectUDP Kind = 1 // from our socket to the peer's address
	RelayUDP  Kind = 2 // through a slot on a relay, over UDP
	DirectTLS Kind = 3 // on a TLS connection with the peer
	RelayTLS  Kind = 4 // through a slot on a relay, over TLS
)

// String returns the kind in words.
func (k Kind) String() string {
	switch k {
	case DirectUDP:
		return "direct udp"
	case RelayUDP:
		return "relay udp"
	case DirectTLS:
		return "direct tls"
	case RelayTLS:
		return "relay tls"
	}
	return "none"
}

// Path is one way for packets to a peer. It is comparable: two equal values are the same way. The zero Path is none.
//
// Remote is never an IPv4 address mapped into IPv6 (the core unmaps what it is given). Local zero leaves the choice of
// socket and source address to the kernel; a caller that never sets Local in what it sends must not set it in events.
type Path struct {
	Kind          Kind
	Local, Remote netip.AddrPort
	Relay         keys.NodeID // the relay, for the two relay kinds
	Slot          uint32      // the peer's slot there
}

// UDP returns the direct UDP path to remote from the kernel's choice of source.
func UDP(remote netip.AddrPort) Path {
	return Path{Kind: DirectUDP, Remote: unmap(remote)}
}

// IsZero reports whether p is no path.
func (p Path) IsZero() bool { return p == Path{} }

// String returns the path for logs, such as "direct udp 192.0.2.1:41641".
func (p Path) String() string {
	if p.IsZero() {
		return "none"
	}
	return p.Kind.String() + " " + p.Remote.String()
}

func (p Path) unmap() Path {
	p.Local, p.Remote = unmap(p.Local), unmap(p.Remote)
	return p
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// State is what status says of the way to a peer.
type State uint8

// The states. They speak of interest: a path may be usable and the peer Idle, because nobody sends.
const (
	Idle        State = iota // nobody wants the peer: no traffic for a while, no timers; the last path is remembered
	Probing                  // wanted: looking for a path, or a path that no WireGuard packet has proven yet
	Direct                   // wanted, a check was answered and a WireGuard packet crossed
	Relay                    // wanted and proven on a relay
	Unreachable              // wanted, tried and failed; tried again from time to time
)

// String returns the state as the status document writes it: "idle", "probing", "direct", "relay" or "unreachable".
func (s State) String() string {
	switch s {
	case Idle:
		return "idle"
	case Probing:
		return "probing"
	case Direct:
		return "direct"
	case Relay:
		return "relay"
	case Unreachable:
		return "unreachable"
	}
	return "unknown"
}

// Snapshot is what a Core can tell about its peer.
type Snapshot struct {
	State  State
	Path   Path          // the data path, also of an idle peer; zero is none
	RTT    time.Duration // smoothed, of checks on Path; zero is unknown
	Usable bool          // a check on Path was answered, and it has not died since
	Proven bool          // and an authenticated WireGuard packet came by it since
	Since  time.Time     // when State became what it is
	Acked  bool          // the peer acknowledged our newest call, or called us: it is there and signalling works

	ChecksSent, ChecksAnswered, Rounds int // since New
}
