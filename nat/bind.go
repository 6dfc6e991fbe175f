package nat

import (
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"warren/keys"
	"warren/nat/demux"
)

const (
	maxPacket  = 1500 // of STUN and QUIC; longer ones are dropped
	ringSTUN   = 512
	ringQUIC   = 1024
	maxSources = 16384
	quicFresh  = 30 * time.Second // a long header counts only so long after a check
)

// packet is a copy of a control datagram.
type packet struct {
	flow Flow
	src  *Source // nil for STUN
	at   time.Time
	n    int
	data [maxPacket]byte
}

func (p *packet) bytes() []byte { return p.data[:p.n] }

// arrival is a control datagram still in the buffer of the device.
type arrival struct {
	flow Flow
	src  *Source
	at   time.Time
	data []byte
}

// Bind is the conn.Bind of the WireGuard device and the one reader of the sockets. It survives Close and Open, which
// the device does when it changes its port or mark: the sockets come back on the same port.
type Bind struct {
	open    func(port uint16) ([]Socket, uint16, error)
	peers   *peers
	sources *table
	counts  *counts
	clock   clock

	socks      atomic.Pointer[sockets]
	stun, quic chan *packet
	held       chan *packet // initiations for the device
	packets    sync.Pool    // of *packet
	single     sync.Pool    // of *[1][]byte

	mu       sync.Mutex // of the rest; never taken by data
	port     uint16
	attached bool          // receive functions are out
	ended    chan struct{} // closed when they shall end
}

var _ conn.Bind = (*Bind)(nil)

// listen opens the sockets unless they are open on that port; port 0 is the one that was open before, else a random one.
func (b *Bind) listen(port uint16) (*sockets, error) {
	if port == 0 {
		port = b.port
	}
	if socks := b.socks.Load(); socks != nil {
		if port == b.port {
			return socks, nil
		}
		b.socks.Store(nil)
		_ = socks.close()
	}
	all, got, err := b.open(port)
	if err != nil {
		return nil, err
	}
	socks := newSockets(all)
	b.socks.Store(socks)
	b.port = got
	return socks, nil
}

// start opens the sockets before the device asks for them.
func (b *Bind) start(port uint16) (uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := b.listen(port)
	return b.port, err
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
	if socks := b.socks.Swap(nil); socks != nil {
		return socks.close()
	}
	return nil
}

// Open hands out a receive function per socket, and one for what was held back. Port 0 means the port that the Stack opened.
func (b *Bind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.attached {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	socks, err := b.listen(port)
	if err != nil {
		return nil, 0, err
	}
	var fns []conn.ReceiveFunc
	for _, sock := range socks.all {
		r := &receiver{bind: b, sock: sock, cache: cache{seed: maphash.MakeSeed()}}
		fns = append(fns, r.receive)
	}
	b.attached, b.ended = true, make(chan struct{})
	fns = append(fns, b.heldReceiver(b.ended))
	return fns, b.port, nil
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
func (b *Bind) SetMark(mark uint32) error {
	socks := b.socks.Load()
	if socks == nil {
		return nil
	}
	for _, sock := range socks.all {
		if m, ok := sock.(interface{ SetMark(mark uint32) error }); ok {
			if err := m.SetMark(mark); err != nil {
				return fmt.Errorf("nat: setting mark %#x: %w", mark, err)
			}
		}
	}
	return nil
}

// BatchSize returns how many buffers a receive function wants and Send takes at most.
func (b *Bind) BatchSize() int { return conn.IdealBatchSize }

// ParseEndpoint returns the endpoint of the member whose id s is: by whatever path is best.
func (b *Bind) ParseEndpoint(s string) (conn.Endpoint, error) {
	id, err := keys.ParseNodeID(s)
	if err != nil {
		return nil, fmt.Errorf("nat: parsing endpoint: %w", err)
	}
	return &b.peers.ensure(id).self, nil
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
	if peer := src.peer.Load(); peer != nil {
		now := b.clock.now()
		if src = peer.route(src, bufs, now, b.clock.stamp(now)); src == nil {
			b.counts.add(droppedNoPath)
			return nil
		}
	}
	if !src.direct() {
		b.counts.add(droppedNoPath)
		return nil
	}
	b.write(src.path.Local, src.path.Remote, bufs)
	return nil
}

// write sends bufs and counts what the kernel refuses.
func (b *Bind) write(local, remote netip.AddrPort, bufs [][]byte) {
	socks := b.socks.Load()
	if socks == nil {
		b.counts.add(droppedClosed)
		return
	}
	sock := socks.to(remote)
	if sock == nil {
		b.counts.add(droppedFamily)
		return
	}
	if err := sock.WriteBatch(local, remote, bufs); err != nil {
		b.counts.add(droppedSend)
	}
}

// writeOne sends one datagram; data is not kept.
func (b *Bind) writeOne(local, remote netip.AddrPort, data []byte) {
	one, ok := b.single.Get().(*[1][]byte)
	if !ok {
		one = new([1][]byte)
	}
	one[0] = data
	b.write(local, remote, one[:])
	one[0] = nil
	b.single.Put(one)
}

// keep copies a control packet into ring, or drops it where that is full.
func (b *Bind) keep(ring chan *packet, p arrival, full counter) {
	if len(p.data) > maxPacket {
		b.counts.add(droppedLong)
		return
	}
	if len(ring) == cap(ring) {
		b.counts.add(full)
		return
	}
	c, ok := b.packets.Get().(*packet)
	if !ok {
		c = new(packet)
	}
	c.flow, c.src, c.at = p.flow, p.src, p.at
	c.n = copy(c.data[:], p.data)
	select {
	case ring <- c:
	default:
		b.counts.add(full)
		b.packets.Put(c)
	}
}

// receiver reads one socket for the device.
type receiver struct {
	bind  *Bind
	sock  Socket
	flows []Flow
	cache cache
	fails int
}

// receive is a conn.ReceiveFunc: WireGuard stays where it is, everything else is taken out of the batch.
func (r *receiver) receive(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
	if len(r.flows) < len(bufs) {
		r.flows = make([]Flow, len(bufs))
	}
	n, err := r.sock.ReadBatch(bufs, sizes, r.flows)
	if err != nil {
		return 0, r.failed(err)
	}
	r.fails = 0
	now := r.bind.clock.now()
	stamp := r.bind.clock.stamp(now)
	for i := range n {
		if sizes[i] == 0 {
			continue
		}
		b := bufs[i][:sizes[i]]
		class := Classify(b)
		if class != demux.WireGuard {
			sizes[i] = 0
			r.control(class, arrival{flow: r.flows[i], at: now, data: b}, stamp)
			continue
		}
		src := r.cache.find(r.bind.sources, r.flows[i], true)
		src.rx.Store(stamp)
		if peer := src.peer.Load(); peer != nil {
			peer.received(b, src)
			if !r.bind.admits(peer, b, src, now, stamp) {
				sizes[i] = 0
				continue
			}
		}
		eps[i] = src
	}
	return n, nil
}

func (r *receiver) control(class Class, p arrival, stamp int64) {
	b := r.bind
	switch class {
	case demux.STUN:
		b.keep(b.stun, p, droppedSTUNFull)
	case demux.QUIC:
		p.src = r.cache.find(b.sources, p.flow, false)
		switch {
		case p.src == nil, p.src.peer.Load() == nil && p.src.joined.Load() == 0:
			b.counts.add(droppedStranger)
		case demux.LongHeader(p.data) && !p.src.fresh(stamp, quicFresh):
			b.counts.add(droppedStale)
		default:
			b.keep(b.quic, p, droppedQUICFull)
		}
	case demux.Relay:
		b.counts.add(droppedRelay)
	case demux.Unknown, demux.WireGuard:
		b.counts.add(droppedUnknown)
	}
}

// failed turns an error of a socket into one after which the device reads on, unless the socket is closed: upstream ends
// its reader at once on a net.Error that is not temporary, and after a row of errors with a third of a second between
// them. So none is a net.Error, and every second one is not shown at all.
func (r *receiver) failed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return net.ErrClosed
	}
	r.bind.counts.add(failedReceive)
	if r.fails++; r.fails%2 == 0 {
		return nil
	}
	return fmt.Errorf("nat: receiving: %w", err)
}
