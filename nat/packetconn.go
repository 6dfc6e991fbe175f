package nat

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"warren/keys"
)

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

// packetConn is the net.PacketConn of the control links.
type packetConn struct {
	bind   *Bind
	local  Addr
	read   deadline
	closed chan struct{}
	once   sync.Once
}

var _ net.PacketConn = (*packetConn)(nil)

func newPacketConn(b *Bind) *packetConn {
	c := &packetConn{bind: b, closed: make(chan struct{}), local: Addr{Remote: netip.AddrPortFrom(netip.IPv6Unspecified(), 0)}}
	c.read.passed = make(chan struct{})
	return c
}

// ReadFrom returns the next QUIC packet and, as an Addr, who sent it.
func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	passed := c.read.wait()
	select {
	case <-c.closed:
		return 0, nil, net.ErrClosed
	case <-passed:
		return 0, nil, os.ErrDeadlineExceeded
	default:
	}
	select {
	case p := <-c.bind.quic:
		n, addr := copy(b, p.bytes()), p.src.addr()
		c.bind.packets.Put(p)
		return n, addr, nil
	case <-c.closed:
		return 0, nil, net.ErrClosed
	case <-passed:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

// WriteTo sends b to an Addr. A packet for a member without a path is dropped, as the network would: quic-go takes any
// error for the end of the connection.
func (c *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	addr, ok := to.(Addr)
	if !ok {
		return 0, fmt.Errorf("nat: writing to %v: not a nat.Addr", to)
	}
	if addr.Node.IsZero() {
		c.bind.writeOne(netip.AddrPort{}, addr.Remote, b)
		return len(b), nil
	}
	var by *Source
	if peer := c.bind.peers.get(addr.Node); peer != nil {
		if by = peer.chosen.Load(); by == nil {
			by = peer.back.Load()
		}
	}
	if by == nil {
		c.bind.counts.add(droppedNoPath)
		return len(b), nil
	}
	c.bind.writeOne(by.path.Local, by.path.Remote, b)
	return len(b), nil
}

// Close ends every ReadFrom; the sockets stay.
func (c *packetConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// LocalAddr returns the wildcard address: packets leave by more than one.
func (c *packetConn) LocalAddr() net.Addr { return c.local }

// SetDeadline sets the deadline of reads; writes never block.
func (c *packetConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline makes ReadFrom fail with os.ErrDeadlineExceeded from t on; the zero time lifts it.
func (c *packetConn) SetReadDeadline(t time.Time) error {
	c.read.set(t)
	return nil
}

// SetWriteDeadline does nothing: writes never block.
func (c *packetConn) SetWriteDeadline(time.Time) error { return nil }

// SetReadBuffer does nothing: the sockets have large buffers. quic-go warns where the method is missing.
func (c *packetConn) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing, like SetReadBuffer.
func (c *packetConn) SetWriteBuffer(int) error { return nil }

// deadline is a time after which a channel is closed.
type deadline struct {
	mu     sync.Mutex
	timer  *time.Timer
	passed chan struct{}
}

func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.passed // the timer has fired: let it close the channel
	}
	d.timer = nil
	over := false
	select {
	case <-d.passed:
		over = true
	default:
	}
	if over && (t.IsZero() || time.Until(t) > 0) {
		d.passed = make(chan struct{})
	}
	if t.IsZero() || over && time.Until(t) <= 0 {
		return
	}
	passed := d.passed
	if wait := time.Until(t); wait > 0 {
		d.timer = time.AfterFunc(wait, func() { close(passed) })
		return
	}
	close(passed)
}
