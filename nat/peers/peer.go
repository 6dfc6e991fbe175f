package peers

import (
	"net/netip"
	"sync/atomic"
	"time"

	"warren/keys"
	"warren/nat/demux"
	"warren/nat/handshake"
)

// A Peer is a member as the data path sees it. All methods are safe for concurrent use.
type Peer struct {
	Handshake handshake.State
	Tunnel    atomic.Bool // the device has it as a peer

	id      keys.NodeID
	self    Source                     // the endpoint without a way; its remote is Addr{Node: id}
	overlay atomic.Pointer[netip.Addr] // nil: not known yet
	knock   atomic.Pointer[Knock]      // newest initiation that came before that

	chosen atomic.Pointer[Source] // where packets go; nil: no path
	back   atomic.Pointer[Source] // where an authentic request came from last
	proven atomic.Pointer[Source] // newest of which the device took a packet for authentic

	traffic traffic

	inbox *Inbox
	signs atomic.Uint32
	next  *Peer // while signs are raised
}

// traffic is what the loop samples of a Peer.
type traffic struct {
	tx      atomic.Int64           // when a packet of the tunnel left last
	last    atomic.Pointer[Source] // where one came from last
	watched atomic.Bool            // the loop looks by itself
}

// New returns a Peer without ways that raises its signs in in.
func New(id keys.NodeID, in *Inbox) *Peer {
	p := &Peer{id: id, inbox: in}
	p.self.remote = Addr{Node: id}
	p.self.peer.Store(p)
	return p
}

// ID returns which member p is.
func (p *Peer) ID() keys.NodeID { return p.id }

// Endpoint returns what the device sends to for p by whatever way is best, always the same.
func (p *Peer) Endpoint() *Source { return &p.self }

// SetOverlay says which address p has in the overlay: the device limits handshakes by it where p has no other.
func (p *Peer) SetOverlay(a netip.Addr) { p.overlay.Store(&a) }

// Choose makes s where packets for p go; nil is no path.
func (p *Peer) Choose(s *Source) { p.chosen.Store(s) }

// Chosen returns where packets for p go, or nil.
func (p *Peer) Chosen() *Source { return p.chosen.Load() }

// Asked notes that an authentic request of p came from s.
func (p *Peer) Asked(s *Source) { p.back.Store(s) }

// By returns where packets for p go: by the chosen way, else to where it asked from last. It is nil if there is neither.
func (p *Peer) By() *Source {
	if chosen := p.chosen.Load(); chosen != nil {
		return chosen
	}
	return p.back.Load()
}

// Rest forgets all ways and is no longer watched.
func (p *Peer) Rest() {
	p.traffic.watched.Store(false)
	p.chosen.Store(nil)
	p.back.Store(nil)
}

// Route notes what the device sends to p by src, and returns the Source to send it by, or nil for none. That the device
// sends a message of type 1, 2 or 4 to a src with a way proves that an authenticated packet came from there.
func (p *Peer) Route(src *Source, bufs [][]byte, stamp int64) *Source {
	switch bufs[0][0] {
	case demux.TypeCookie:
		return src // it goes to sources that have proved nothing
	case demux.TypeInitiation:
		leave := p.Handshake.Initiated(bufs[0], stamp)
		p.Raise(Initiation)
		if !leave {
			return nil
		}
	case demux.TypeResponse:
		p.Handshake.Responded()
	case demux.TypeTransport:
		if len(bufs) > 1 || len(bufs[0]) > demux.SizeTransport {
			p.traffic.tx.Store(stamp)
			if !p.traffic.watched.Load() {
				p.Raise(Traffic)
			}
		}
	}
	if src.Direct() {
		p.prove(src, stamp)
		if chosen := p.chosen.Load(); chosen != nil {
			return chosen
		}
		return src
	}
	return p.By()
}

// prove reports that the device holds src for authentic, if packets came from it since the last report.
func (p *Peer) prove(src *Source, stamp int64) {
	last := src.proven.Load()
	if src.rx.Load() <= last || (stamp-last < int64(time.Second) && p.proven.Load() == src) {
		return
	}
	src.proven.Store(stamp)
	p.proven.Store(src)
	p.Raise(Proven)
}

// Proven returns the Source of which the device took a packet for authentic last, or nil.
func (p *Peer) Proven() *Source { return p.proven.Load() }

// Received notes a WireGuard packet from src, which p proved to be at.
func (p *Peer) Received(b []byte, src *Source) {
	switch b[0] {
	case demux.TypeTransport:
		if p.traffic.last.Load() != src {
			p.traffic.last.Store(src)
		}
		if !p.traffic.watched.Load() {
			p.Raise(Traffic)
		}
	case demux.TypeResponse:
		p.Handshake.Response(b)
	}
}

// Watch says whether the loop looks at Traffic by itself. While it does not, traffic raises a sign.
func (p *Peer) Watch(on bool) { p.traffic.watched.Store(on) }

// Traffic returns the stamps of when packets of the tunnel left and came last, and by which way they came.
func (p *Peer) Traffic() (tx, rx int64, from Way) {
	if last := p.traffic.last.Load(); last != nil {
		rx, from = last.rx.Load(), last.way
	}
	return p.traffic.tx.Load(), rx, from
}

// Raise tells the loop.
func (p *Peer) Raise(sign Signs) {
	if p.signs.Or(uint32(sign)) == 0 {
		p.inbox.push(p)
	}
}
