package nat

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"warren/keys"
	"warren/nat/count"
	"warren/nat/peers"
	"warren/nat/ring"
)

const (
	ringSTUN   = 512
	ringQUIC   = 1024
	maxKnocks  = 64
	maxSources = 16384
	quicFresh  = 30 * time.Second // a long header counts only so long after a check
)

// Bind is the conn.Bind of the WireGuard device and the one reader of the sockets. It survives Close and Open, which
// the device does when it changes its port or mark: the sockets come back on the same port.
type Bind struct {
	sockets sockets
	roster  *roster
	sources *peers.Table
	counts  *count.Set
	clock   peers.Clock

	stun, quic *ring.Ring
	knocks     *peers.Knocks

	mu       sync.Mutex    // of the rest, and of opening and closing sockets; never taken by data
	attached bool          // receive functions are out
	ended    chan struct{} // closed when they shall end
}

var _ conn.Bind = (*Bind)(nil)

func newBind(cfg *Config, in *peers.Inbox) *Bind {
	counts := new(count.Set)
	return &Bind{
		sockets: sockets{open: cfg.Open, counts: counts},
		roster:  newRoster(in),
		sources: peers.NewTable(maxSources),
		counts:  counts,
		clock:   peers.NewClock(cfg.Now, cfg.Now()),
		stun:    ring.New(ringSTUN),
		quic:    ring.New(ringQUIC),
		knocks:  peers.NewKnocks(maxKnocks, counts),
	}
}

// start opens the sockets before the device asks for them.
func (b *Bind) start(port uint16) (uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := b.sockets.listen(port)
	return b.sockets.port, err
}

// stop closes the sockets for good.
func (b *Bind) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.detach()
}

// detach ends the receive functions and closes the sockets. mu is held.
func (b *Bind) detach() error {
	if b.attached {
		b.attached = false
		close(b.ended)
	}
	return b.sockets.close()
}

// Open hands out a receive function per socket, and one for what was held back. Port 0 means the port that the Stack opened.
func (b *Bind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.attached {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	socks, err := b.sockets.listen(port)
	if err != nil {
		return nil, 0, err
	}
	var fns []conn.ReceiveFunc
	for _, sock := range socks {
		r := &receiver{bind: b, sock: sock, cache: peers.NewCache(b.sources)}
		fns = append(fns, r.receive)
	}
	b.attached, b.ended = true, make(chan struct{})
	fns = append(fns, b.knocks.Receiver(b.ended))
	return fns, b.sockets.port, nil
}

// Close ends the receive functions. Sockets that no receive function reads yet stay open.
func (b *Bind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.attached {
		return nil
	}
	return b.detach()
}

// SetMark marks what is sent from now on, on sockets that know of marks.
func (b *Bind) SetMark(mark uint32) error { return b.sockets.mark(mark) }

// BatchSize returns how many buffers a receive function wants and Send takes at most.
func (b *Bind) BatchSize() int { return conn.IdealBatchSize }

// ParseEndpoint returns the endpoint of the member whose id s is: by whatever path is best.
func (b *Bind) ParseEndpoint(s string) (conn.Endpoint, error) {
	id, err := keys.ParseNodeID(s)
	if err != nil {
		return nil, fmt.Errorf("nat: parsing endpoint: %w", err)
	}
	return b.roster.ensure(id).Endpoint(), nil
}

// Send sends bufs by the path of the peer behind ep, or as the packets of ep came if nobody is bound to it. That the
// device calls it with a message of type 1, 2 or 4 proves that an authenticated packet came from ep. A packet without a
// path, or that the kernel refuses, is dropped and counted: the device cannot do better.
func (b *Bind) Send(bufs [][]byte, ep conn.Endpoint) error {
	src, ok := ep.(*Source)
	if !ok {
		return conn.ErrWrongEndpointType
	}
	if len(bufs) == 0 || len(bufs[0]) == 0 {
		return nil
	}
	if p := src.Peer(); p != nil {
		src = p.Route(src, bufs, b.clock.Stamp(b.clock.Now()))
	}
	if src == nil || !src.Direct() {
		b.counts.Add(count.TxNoPath)
		return nil
	}
	b.sockets.write(src.Way().Flow, bufs)
	return nil
}

// packetConn returns a connection for the control links.
func (b *Bind) packetConn() *ring.Conn {
	local := Addr{Remote: netip.AddrPortFrom(netip.IPv6Unspecified(), 0)} // packets leave by more than one
	return ring.NewConn(b.quic, local, b.sendTo)
}

// sendTo sends data to an Addr. A packet for a member without a path is dropped, as the network would: quic-go takes
// any error for the end of the connection.
func (b *Bind) sendTo(data []byte, to net.Addr) error {
	addr, ok := to.(Addr)
	if !ok {
		return fmt.Errorf("nat: writing to %v: not a nat.Addr", to)
	}
	if addr.Node.IsZero() {
		b.sockets.writeOne(Flow{Remote: addr.Remote}, data)
		return nil
	}
	if p := b.roster.get(addr.Node); p != nil {
		b.sendBy(p.By(), data)
		return nil
	}
	b.counts.Add(count.TxNoPath)
	return nil
}

// sendBy sends one datagram by src, nil for none. It does not keep data.
func (b *Bind) sendBy(src *Source, data []byte) {
	if src == nil || !src.Direct() {
		b.counts.Add(count.TxNoPath)
		return
	}
	b.sockets.writeOne(src.Way().Flow, data)
}
