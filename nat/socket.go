// Package nat owns the UDP sockets of a host and finds a way through whatever stands between it and the others.
//
// Everything shares one port: WireGuard, connectivity checks (STUN), control links (QUIC), later relay frames. A Stack
// sorts what arrives, keeps one path core per member (nat/path), answers and sends checks (nat/stun), speaks CALL, ACK
// and GO (nat/call) through whatever carries them, and learns the addresses at which this host can be reached.
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
	"net/netip"
	"sync/atomic"

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

// sockets are the open ones, by family. It is immutable.
type sockets struct {
	v4, v6 Socket
	all    []Socket
}

func newSockets(all []Socket) *sockets {
	s := &sockets{all: all}
	for _, sock := range all {
		switch v4 := sock.Local().Addr().Is4(); {
		case v4 && s.v4 == nil:
			s.v4 = sock
		case !v4 && s.v6 == nil:
			s.v6 = sock
		}
	}
	return s
}

// to returns the socket that carries the family of remote, or nil.
func (s *sockets) to(remote netip.AddrPort) Socket {
	if remote.Addr().Is4() {
		return s.v4
	}
	return s.v6
}

func (s *sockets) close() error {
	var errs []error
	for _, sock := range s.all {
		errs = append(errs, sock.Close())
	}
	return errors.Join(errs...)
}

// counter names one of the reasons that Stats counts.
type counter int

const (
	droppedUnknown counter = iota
	droppedRelay
	droppedLong
	droppedSTUN
	droppedSTUNFull
	droppedFlood
	droppedForged
	droppedReplay
	droppedUnasked
	droppedChecks
	droppedStranger
	droppedStale
	droppedQUICFull
	droppedSignal
	droppedKnock
	droppedCross
	droppedNoPath
	droppedFamily
	droppedSend
	droppedClosed
	failedReceive
	resentInitiation
	counters // how many there are
)

// counts are counters that everybody may add to.
type counts [counters]atomic.Uint64

func (c *counts) add(i counter) { c[i].Add(1) }

// all returns the counters by name.
func (c *counts) all() map[string]uint64 {
	names := [counters]string{
		droppedUnknown:   "rx_unknown",          // no class
		droppedRelay:     "rx_relay",            // a relay frame
		droppedLong:      "rx_long",             // a control packet beyond 1500 bytes
		droppedSTUN:      "stun_malformed",      //
		droppedSTUNFull:  "stun_full",           // the loop is behind
		droppedFlood:     "stun_flood",          // its sender sent too many bad ones
		droppedForged:    "stun_forged",         // integrity
		droppedReplay:    "stun_replayed",       // transaction id seen before
		droppedUnasked:   "stun_unasked",        // of nobody known, or an answer to nothing
		droppedChecks:    "stun_too_many",       // own checks without an answer
		droppedStranger:  "quic_stranger",       // its source never passed a check
		droppedStale:     "quic_stale",          // long header, and the last check is too old
		droppedQUICFull:  "quic_full",           // nobody reads
		droppedSignal:    "signal_forged",       // not sealed by that member
		droppedKnock:     "knocks_refused",      // an initiation of somebody who cannot have a tunnel, or too many
		droppedCross:     "initiations_crossed", // theirs, as ours is on its way
		droppedNoPath:    "tx_no_path",          //
		droppedFamily:    "tx_no_family",        // no socket carries IPv4, or IPv6
		droppedSend:      "tx_refused",          // by the kernel
		droppedClosed:    "tx_closed",           //
		failedReceive:    "rx_failed",           //
		resentInitiation: "initiations_resent",  //
	}
	all := make(map[string]uint64, counters)
	for i, name := range names {
		all[name] = c[i].Load()
	}
	return all
}
