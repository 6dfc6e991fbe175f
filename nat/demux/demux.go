// Package demux tells what a datagram on the shared port is, by its first bytes alone. It is pure.
//
//	first bytes                            what
//	1..4, then 00 00 00, long enough       WireGuard (lengths of transport messages need not be multiples of 16)
//	top bits 00, cookie 0x2112A442 at 4    STUN
//	bit 0x40 set                           QUIC
//	0x80..0xBF                             a relay frame
//	anything else                          nothing of ours
package demux

import "encoding/binary"

// Class is what a datagram is, judged by its first bytes alone.
type Class uint8

// The classes of datagrams that share the port.
const (
	Unknown Class = iota
	WireGuard
	STUN
	QUIC
	Relay
)

// String returns the class in one lower-case word.
func (c Class) String() string {
	switch c {
	case WireGuard:
		return "wireguard"
	case STUN:
		return "stun"
	case QUIC:
		return "quic"
	case Relay:
		return "relay"
	case Unknown:
	}
	return "unknown"
}

// Types of WireGuard messages and their sizes (of a transport message: the least one).
const (
	TypeInitiation = 1
	TypeResponse   = 2
	TypeCookie     = 3
	TypeTransport  = 4

	SizeInitiation = 148
	SizeResponse   = 92
	SizeCookie     = 64
	SizeTransport  = 32 // also that of a keepalive
)

// Sizes and marks of the rest.
const (
	SizeSTUN  = 20
	Cookie    = 0x2112A442 // RFC 8489 section 5
	SizeRelay = 8
)

// Classify tells what the datagram b is. It is total and reads nothing but b; the classes exclude each other.
func Classify(b []byte) Class {
	if len(b) == 0 {
		return Unknown
	}
	switch b[0] >> 6 {
	case 1, 3: // The fixed bit, RFC 9000 section 17.
		return QUIC
	case 2:
		if len(b) >= SizeRelay {
			return Relay
		}
		return Unknown
	}
	if isWireGuard(b) {
		return WireGuard
	}
	if len(b) >= SizeSTUN && binary.BigEndian.Uint32(b[4:]) == Cookie {
		if n := int(binary.BigEndian.Uint16(b[2:])); n%4 == 0 && n == len(b)-SizeSTUN {
			return STUN
		}
	}
	return Unknown
}

func isWireGuard(b []byte) bool {
	if len(b) < 4 || b[1] != 0 || b[2] != 0 || b[3] != 0 {
		return false
	}
	switch b[0] {
	case TypeInitiation:
		return len(b) >= SizeInitiation
	case TypeResponse:
		return len(b) >= SizeResponse
	case TypeCookie:
		return len(b) >= SizeCookie
	case TypeTransport:
		return len(b) >= SizeTransport
	}
	return false
}

// LongHeader reports whether a QUIC packet may begin a connection, RFC 9000 section 17.2. It is not empty.
func LongHeader(b []byte) bool { return b[0]&0x80 != 0 }
