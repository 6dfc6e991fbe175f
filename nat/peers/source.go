// Package peers holds what the data path of package nat knows: Sources, the ways by which packets come and go, and
// Peers, the members at their other ends. Both are a few atomics, written by the loop of package nat and read for every
// batch of packets, or the reverse, so that neither waits for the other.
//
// A Peer tells the loop by Signs in an Inbox what happened to it. The package sends nothing and starts nothing; which
// way is good is the business of nat/path.
package peers

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"warren/keys"
	"warren/nat/udp"
)

// Way is one way for packets between this host and another. It is comparable; the zero Way is none.
type Way struct {
	udp.Flow             // direct: the two addresses
	Relay    keys.NodeID // else the relay
	Slot     uint32      // and the slot there
	TLS      bool        // on a connection, not in datagrams
}

// Direct returns the way that a datagram came.
func Direct(f udp.Flow) Way { return Way{Flow: f} }

// Addr is the address of one end of a control link. With a Node it is that member, by whatever path is best when a
// packet leaves; without, it is a joiner, or the member that a joiner asks, at Remote. It is comparable.
type Addr struct {
	Node   keys.NodeID
	Remote netip.AddrPort
}

var _ net.Addr = Addr{}

// Network returns "warren".
func (Addr) Network() string { return "warren" }

// String returns the id of the member, or the address of the joiner. Equal addresses have equal texts.
func (a Addr) String() string {
	if !a.Node.IsZero() {
		return a.Node.String()
	}
	return a.Remote.String()
}

// A Source is where packets come from: the conn.Endpoint that receive functions hand to the WireGuard device, one per
// Way. The device keeps an endpoint only after it authenticated a packet from it; that is what makes a Send towards it
// a proof. The Source of a Peer itself, see Peer.Endpoint, has no way.
type Source struct {
	way    Way
	remote net.Addr // an Addr, made once

	peer    atomic.Pointer[Peer] // who proved by a check to be there; nil: nobody yet
	rx      atomic.Int64         // last WireGuard packet
	proven  atomic.Int64         // last report that the device took its packets for authentic
	checked atomic.Int64         // last authenticated check, or answer, of a member
	joined  atomic.Int64         // the same of a joiner, or of the member that a joiner asks
	gone    atomic.Bool          // no longer in the table
}

var _ conn.Endpoint = (*Source)(nil)

// Way returns how packets come from s.
func (s *Source) Way() Way { return s.way }

// Direct reports whether s is a way to send by, not only the name of a peer.
func (s *Source) Direct() bool { return s.way.Remote.IsValid() }

// Peer returns who proved to be there, nil if nobody did.
func (s *Source) Peer() *Peer { return s.peer.Load() }

// Heard notes a WireGuard packet from s.
func (s *Source) Heard(stamp int64) { s.rx.Store(stamp) }

// Checked notes that p proved by a check to be there.
func (s *Source) Checked(p *Peer, stamp int64) {
	s.checked.Store(stamp)
	s.peer.Store(p)
}

// Bind makes p the peer at s without a check, as its core says so.
func (s *Source) Bind(p *Peer) { s.peer.Store(p) }

// Joined notes a check of a joiner, or that the member answered which a joiner asks.
func (s *Source) Joined(stamp int64) { s.joined.Store(stamp) }

// Known reports whether somebody proved to be there: a member that is still one, or a joiner.
func (s *Source) Known() bool { return s.peer.Load() != nil || s.joined.Load() != 0 }

// Fresh reports whether a check from or to s was authenticated within d of now.
func (s *Source) Fresh(now int64, d time.Duration) bool {
	at := max(s.checked.Load(), s.joined.Load())
	return at != 0 && now-at <= int64(d)
}

// used is when anything last came from s.
func (s *Source) used() int64 { return max(s.rx.Load(), s.checked.Load(), s.joined.Load()) }

// Addr is what control links call s, an Addr: the member, unless a joiner was heard there since.
func (s *Source) Addr() net.Addr {
	if peer := s.peer.Load(); peer != nil && s.joined.Load() <= s.checked.Load() {
		return peer.self.remote
	}
	return s.remote
}

// ClearSrc does nothing: the source address is part of the way.
func (s *Source) ClearSrc() {}

// SrcIP returns the local address of the way, the zero Addr if the kernel chooses it.
func (s *Source) SrcIP() netip.Addr { return s.way.Local.Addr() }

// SrcToString returns the local address of the way.
func (s *Source) SrcToString() string { return s.way.Local.String() }

// DstIP returns the address by which the device limits handshakes: the remote one, or that of the peer in the overlay
// where there is none.
func (s *Source) DstIP() netip.Addr {
	if s.Direct() {
		return s.way.Remote.Addr()
	}
	if peer := s.peer.Load(); peer != nil {
		if overlay := peer.overlay.Load(); overlay != nil {
			return *overlay
		}
	}
	return netip.IPv6Unspecified()
}

// DstToString returns the remote address, or the id of the peer where there is none.
func (s *Source) DstToString() string {
	if s.Direct() {
		return s.way.Remote.String()
	}
	if peer := s.peer.Load(); peer != nil {
		return peer.id.String()
	}
	return ""
}

// DstToBytes returns what the cookie of a handshake is bound to.
func (s *Source) DstToBytes() []byte {
	b, _ := netip.AddrPortFrom(s.DstIP(), s.way.Remote.Port()).MarshalBinary()
	return b
}
