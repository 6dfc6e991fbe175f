package ring

import (
	"net"
	"os"
	"sync"
	"time"
)

// Conn is a net.PacketConn that reads a Ring. It never closes what is below.
type Conn struct {
	ring   *Ring
	local  net.Addr
	write  func(b []byte, to net.Addr) error
	read   deadline
	closed chan struct{}
	once   sync.Once
}

var _ net.PacketConn = (*Conn)(nil)

// NewConn returns a Conn that says it is at local and sends by write, which must not block nor keep b.
func NewConn(r *Ring, local net.Addr, write func(b []byte, to net.Addr) error) *Conn {
	c := &Conn{ring: r, local: local, write: write, closed: make(chan struct{})}
	c.read.passed = make(chan struct{})
	return c
}

// ReadFrom returns the next packet and its From. What is longer than b is cut. After Close the error is net.ErrClosed,
// after the deadline os.ErrDeadlineExceeded.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	passed := c.read.wait()
	select {
	case <-c.closed:
		return 0, nil, net.ErrClosed
	case <-passed:
		return 0, nil, os.ErrDeadlineExceeded
	default:
	}
	select {
	case p := <-c.ring.packets:
		n, from := copy(b, p.Bytes()), p.From
		c.ring.Free(p)
		return n, from, nil
	case <-c.closed:
		return 0, nil, net.ErrClosed
	case <-passed:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

// WriteTo sends b. The error is net.ErrClosed after Close, else that of the function given to NewConn.
func (c *Conn) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	if err := c.write(b, to); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close ends every ReadFrom.
func (c *Conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// LocalAddr returns the address given to NewConn.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// SetDeadline sets the deadline of reads; writes never block.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline makes ReadFrom fail with os.ErrDeadlineExceeded from t on; the zero time lifts it.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.read.set(t)
	return nil
}

// SetWriteDeadline does nothing: writes never block.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// SetReadBuffer does nothing: the sockets have large buffers. quic-go warns where the method is missing.
func (c *Conn) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing, like SetReadBuffer.
func (c *Conn) SetWriteBuffer(int) error { return nil }

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
