package simnet

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// queueSize is how many packets wait unread on a Conn; more are lost.
const queueSize = 1024

// Conn is a UDP socket of a host as a packet connection, for a net that runs by Serve. It also has the netip methods
// of net.UDPConn.
type Conn struct {
	host *Host
	port uint16

	arrived chan Packet
	closed  chan struct{}
	once    sync.Once

	deadline struct {
		sync.Mutex
		at      time.Time
		changed chan struct{} // closed when at changes
	}
}

var _ net.PacketConn = (*Conn)(nil)

// ListenPacket opens a socket on port; 0 takes a free one from 49152 on. The error is ErrPortInUse.
func (h *Host) ListenPacket(port uint16) (*Conn, error) {
	c := &Conn{host: h, port: port, arrived: make(chan Packet, queueSize), closed: make(chan struct{})}
	c.deadline.changed = make(chan struct{})
	try := port
	if port == 0 {
		try = 49152
	}
	for {
		err := h.Listen(try, c.arrive)
		if err == nil {
			c.port = try
			return c, nil
		}
		if port != 0 || try == 65535 {
			return nil, err
		}
		try++
	}
}

func (c *Conn) arrive(p Packet) {
	select {
	case c.arrived <- p:
	default:
	}
}

// ReadFromUDPAddrPort waits for a packet, the deadline or Close.
func (c *Conn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		c.deadline.Lock()
		at, changed := c.deadline.at, c.deadline.changed
		c.deadline.Unlock()
		var expired <-chan time.Time
		if !at.IsZero() {
			if !at.After(time.Now()) {
				return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
			}
			timer := time.NewTimer(time.Until(at))
			defer timer.Stop()
			expired = timer.C
		}
		select {
		case <-c.closed:
			return 0, netip.AddrPort{}, net.ErrClosed
		case p := <-c.arrived:
			return copy(b, p.Body), p.From, nil
		case <-expired:
			return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
		case <-changed:
		}
	}
}

// WriteToUDPAddrPort sends a packet; it never blocks.
func (c *Conn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	c.host.Send(c.port, to, b)
	return len(b), nil
}

// ReadFrom is ReadFromUDPAddrPort with a *net.UDPAddr.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteTo is WriteToUDPAddrPort with a *net.UDPAddr.
func (c *Conn) WriteTo(b []byte, to net.Addr) (int, error) {
	a, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, &net.OpError{Op: "write", Net: "udp", Addr: to, Err: net.InvalidAddrError("not a UDP address")}
	}
	return c.WriteToUDPAddrPort(b, a.AddrPort())
}

// Close frees the port and ends waiting readers.
func (c *Conn) Close() error {
	c.once.Do(func() {
		c.host.Close(c.port)
		close(c.closed)
	})
	return nil
}

// LocalAddr returns the host's first address and the port.
func (c *Conn) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.host.addrs[0], c.port))
}

// SetReadDeadline ends reads, the waiting one too, at t; the zero time never.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	c.deadline.at = t
	close(c.deadline.changed)
	c.deadline.changed = make(chan struct{})
	return nil
}

// SetWriteDeadline does nothing, since writes do not wait.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is SetReadDeadline.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }
