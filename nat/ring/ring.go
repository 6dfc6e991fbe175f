// Package ring keeps copies of control packets until somebody has time for them. A receive function must give its
// buffers back at once, so it copies what is not for the WireGuard device into a Ring, which is bounded and drops the
// newest when it is full. Conn reads a Ring as a net.PacketConn; package nat reads another one in its loop.
package ring

import (
	"net"
	"sync"
	"time"

	"warren/nat/udp"
)

// MaxPacket is how long a packet may be, in bytes: longer ones do not exist in STUN nor in QUIC as we speak it.
const MaxPacket = 1500

// Origin says where a datagram came from.
type Origin struct {
	Flow udp.Flow
	From net.Addr // what Conn calls its sender; nil where the reader finds out
	At   time.Time
}

// Packet is a copy of a datagram.
type Packet struct {
	Origin

	n    int
	data [MaxPacket]byte
}

// Bytes returns the datagram. It is valid until Free.
func (p *Packet) Bytes() []byte { return p.data[:p.n] }

// Ring is a bounded queue of packets. Many goroutines may use it.
type Ring struct {
	packets chan *Packet
	pool    sync.Pool // of *Packet
}

// New returns a Ring for at most size packets.
func New(size int) *Ring { return &Ring{packets: make(chan *Packet, size)} }

// Keep copies data, at most MaxPacket bytes of it, and reports whether there was room.
func (r *Ring) Keep(data []byte, o Origin) bool {
	if len(r.packets) == cap(r.packets) {
		return false // without the price of a copy
	}
	p, ok := r.pool.Get().(*Packet)
	if !ok {
		p = new(Packet)
	}
	p.Origin = o
	p.n = copy(p.data[:], data)
	select {
	case r.packets <- p:
		return true
	default:
		r.pool.Put(p)
		return false
	}
}

// Packets is where they come out, the oldest first. Whoever takes one calls Free.
func (r *Ring) Packets() <-chan *Packet { return r.packets }

// Free takes p back.
func (r *Ring) Free(p *Packet) { r.pool.Put(p) }
