// Package nat owns the UDP sockets of a host and finds a way through whatever stands between it and the others.
//
// Everything shares one port: WireGuard, connectivity checks (STUN), control links (QUIC), later relay frames. A Stack
// sorts what arrives, keeps one path core per member (nat/path), answers and sends checks (nat/stun), speaks CALL, ACK
// and GO (nat/call) through whatever carries them, and learns the addresses at which this host can be reached.
//
// Goroutines of others, those of the device and of QUIC, carry the data and touch only what nat/peers and nat/ring
// hold. Everything else belongs to the one goroutine of Run, the loop: they tell it by signs, and callers of Stack by
// functions that it calls.
//
// Who calls it: the WireGuard device reads and writes through ConnBind, control links through PacketConn, the engine
// through the methods of Stack. The package knows no certificate, no gossip and no interface of the kernel's.
//
//	first bytes                            what       goes to
//	1..4, then 00 00 00, long enough       WireGuard  the device, in the same batch, without a copy
//	top bits 00, cookie 0x2112A442 at 4    STUN       the loop of Run
//	bit 0x40 set                           QUIC       PacketConn, if its source passed a check
//	0x80..0xBF                             relay      nobody yet: counted
//	anything else                                     dropped and counted
package nat

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"warren/nat/count"
	"warren/nat/demux"
	"warren/nat/udp"
)

// Class is what a datagram is, see package demux.
type Class = demux.Class

// Classify tells what the datagram b is.
func Classify(b []byte) Class { return demux.Classify(b) }

// Flow says between which two addresses a datagram travelled, see package udp.
type Flow = udp.Flow

// Socket is what touches the network, see package udp.
type Socket = udp.Socket

// ErrPortInUse is wrapped by the error of OpenSockets when another process holds the port.
var ErrPortInUse = udp.ErrPortInUse

// OpenSockets binds an IPv4 and an IPv6 socket to one port, see udp.Open.
func OpenSockets(port uint16, mark uint32) (socks []Socket, got uint16, err error) {
	return udp.Open(port, mark)
}

// sockets are the ones that are open, and how to open them again. listen and close are called by one goroutine at a time.
type sockets struct {
	open   func(port uint16) ([]Socket, uint16, error)
	counts *count.Set
	port   uint16 // the last one that was open
	now    atomic.Pointer[families]
	single sync.Pool // of *[1][]byte
}

// families are the open sockets. It is immutable.
type families struct {
	v4, v6 Socket
	all    []Socket
}

func sorted(all []Socket) *families {
	f := &families{all: all}
	for _, sock := range all {
		switch v4 := sock.Local().Addr().Is4(); {
		case v4 && f.v4 == nil:
			f.v4 = sock
		case !v4 && f.v6 == nil:
			f.v6 = sock
		}
	}
	return f
}

// to returns the socket that carries the family of remote, or nil.
func (f *families) to(remote netip.AddrPort) Socket {
	if remote.Addr().Is4() {
		return f.v4
	}
	return f.v6
}

// listen opens the sockets unless they are open on that port; port 0 is the one that was open before, else a random one.
func (s *sockets) listen(port uint16) ([]Socket, error) {
	if port == 0 {
		port = s.port
	}
	if now := s.now.Load(); now != nil {
		if port == s.port {
			return now.all, nil
		}
		_ = s.close()
	}
	all, got, err := s.open(port)
	if err != nil {
		return nil, err
	}
	s.now.Store(sorted(all))
	s.port = got
	return all, nil
}

func (s *sockets) close() error {
	now := s.now.Swap(nil)
	if now == nil {
		return nil
	}
	var errs []error
	for _, sock := range now.all {
		errs = append(errs, sock.Close())
	}
	return errors.Join(errs...)
}

// mark marks what is sent from now on, on sockets that know of marks.
func (s *sockets) mark(mark uint32) error {
	now := s.now.Load()
	if now == nil {
		return nil
	}
	for _, sock := range now.all {
		if m, ok := sock.(interface{ SetMark(mark uint32) error }); ok {
			if err := m.SetMark(mark); err != nil {
				return fmt.Errorf("nat: setting mark %#x: %w", mark, err)
			}
		}
	}
	return nil
}

// write sends bufs and counts what the kernel refuses.
func (s *sockets) write(flow Flow, bufs [][]byte) {
	now := s.now.Load()
	if now == nil {
		s.counts.Add(count.TxClosed)
		return
	}
	sock := now.to(flow.Remote)
	if sock == nil {
		s.counts.Add(count.TxNoFamily)
		return
	}
	if err := sock.WriteBatch(flow.Local, flow.Remote, bufs); err != nil {
		s.counts.Add(count.TxRefused)
	}
}

// writeOne sends one datagram; data is not kept.
func (s *sockets) writeOne(flow Flow, data []byte) {
	one, ok := s.single.Get().(*[1][]byte)
	if !ok {
		one = new([1][]byte)
	}
	one[0] = data
	s.write(flow, one[:])
	one[0] = nil
	s.single.Put(one)
}
