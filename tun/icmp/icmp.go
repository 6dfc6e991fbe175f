// Package icmp reads as much of an IP packet as the tun device needs, and makes the few ICMP messages that it
// sends: echoes (RFC 792, RFC 4443) and "unreachable". It is no IP stack: options and extension headers are
// skipped or refused, fragments are not put together.
//
// Layout of what is appended: IPv4 header without options (20 bytes, RFC 791) or IPv6 header (40 bytes,
// RFC 8200), then type 1, code 1, checksum 2, rest 4 (identifier and sequence number of an echo, else zero),
// then the payload or the beginning of the packet that is answered.
package icmp

import (
	"encoding/binary"
	"net/netip"
)

// Protocol numbers and ICMP types (RFC 791, 792, 4443).
const (
	ipv4Header = 20
	ipv6Header = 40
	icmpHeader = 8

	protoICMP   = 1
	protoICMPv6 = 58

	echoReply4   = 0
	unreachable4 = 3
	echoRequest4 = 8
	unreachable6 = 1
	echoRequest6 = 128
	echoReply6   = 129
	hostCode4    = 1 // host unreachable, RFC 792
	addressCode6 = 3 // address unreachable, RFC 4443 section 3.1
	maxAnswer4   = 576
	hops         = 64
)

// MaxAnswer is the size of the largest packet that AppendUnreachable makes: IPv6's least MTU.
const MaxAnswer = 1280

// Destination returns where the IP packet b is going. It refuses what is shorter than its fixed header.
func Destination(b []byte) (netip.Addr, bool) {
	if len(b) >= ipv4Header && b[0]>>4 == 4 {
		return netip.AddrFrom4([4]byte(b[16:20])), true
	}
	if len(b) >= ipv6Header && b[0]>>4 == 6 {
		return netip.AddrFrom16([16]byte(b[24:40])), true
	}
	return netip.Addr{}, false
}

// Source returns where the IP packet b comes from. Destination must have approved of b.
func Source(b []byte) netip.Addr {
	if b[0]>>4 == 4 {
		return netip.AddrFrom4([4]byte(b[12:16]))
	}
	return netip.AddrFrom16([16]byte(b[8:24]))
}

// Echo is an ICMP or ICMPv6 echo message in an IP packet.
type Echo struct {
	Src, Dst netip.Addr // of one family
	Reply    bool
	ID, Seq  uint16
	Payload  []byte
}

// ParseEcho reads a whole, unfragmented echo message whose checksum is right. The payload aliases b.
func ParseEcho(b []byte) (Echo, bool) {
	dst, ok := Destination(b)
	if !ok {
		return Echo{}, false
	}
	e := Echo{Src: Source(b), Dst: dst}
	message, ok := icmpMessage(b)
	if !ok || len(message) < icmpHeader || message[1] != 0 {
		return Echo{}, false
	}
	var sum uint32
	if dst.Is6() {
		sum = pseudo(e.Src, e.Dst, len(message))
	}
	if checksum(message, sum) != 0 {
		return Echo{}, false
	}
	switch {
	case dst.Is4() && message[0] == echoReply4, dst.Is6() && message[0] == echoReply6:
		e.Reply = true
	case dst.Is4() && message[0] == echoRequest4, dst.Is6() && message[0] == echoRequest6:
	default:
		return Echo{}, false
	}
	e.ID, e.Seq = binary.BigEndian.Uint16(message[4:]), binary.BigEndian.Uint16(message[6:])
	e.Payload = message[icmpHeader:]
	return e, true
}

// icmpMessage returns what follows the IP header of b when that is a whole message of the family's ICMP.
// IPv6 extension headers are not followed.
func icmpMessage(b []byte) ([]byte, bool) {
	if b[0]>>4 == 6 {
		end := ipv6Header + int(binary.BigEndian.Uint16(b[4:]))
		if b[6] != protoICMPv6 || end > len(b) {
			return nil, false
		}
		return b[ipv6Header:end], true
	}
	head, end := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	// The mask leaves out "don't fragment".
	fragment := binary.BigEndian.Uint16(b[6:])&0x3fff != 0
	if b[9] != protoICMP || fragment || head < ipv4Header || end < head || end > len(b) {
		return nil, false
	}
	return b[head:end], true
}

// AppendEcho appends e as an IP packet without options and returns the longer slice.
func AppendEcho(b []byte, e Echo) []byte {
	kind := byte(echoRequest4)
	switch {
	case e.Dst.Is4() && e.Reply:
		kind = echoReply4
	case e.Dst.Is6() && e.Reply:
		kind = echoReply6
	case e.Dst.Is6():
		kind = echoRequest6
	}
	var rest [4]byte
	binary.BigEndian.PutUint16(rest[0:], e.ID)
	binary.BigEndian.PutUint16(rest[2:], e.Seq)
	return appendICMP(b, e.Src, e.Dst, kind, 0, rest, e.Payload)
}

// AppendUnreachable appends the answer to packet that says its destination cannot be reached (RFC 792,
// RFC 4443). The answer comes from that destination: a kernel drops what claims to come from itself.
// It refuses what must not be answered (RFC 1122 section 3.2.2, RFC 4443 section 2.4): other ICMP than
// echo requests, later fragments, and anything that is not between two unicast addresses.
func AppendUnreachable(b, packet []byte) ([]byte, bool) {
	dst, ok := Destination(packet)
	if !ok {
		return b, false
	}
	src := Source(packet)
	if !answerable(src) || !answerable(dst) || laterFragment(packet) {
		return b, false
	}
	if proto := protocol(packet); proto == protoICMP || proto == protoICMPv6 {
		if e, ok := ParseEcho(packet); !ok || e.Reply {
			return b, false
		}
	}
	if dst.Is4() {
		quote := packet[:min(len(packet), maxAnswer4-ipv4Header-icmpHeader)]
		return appendICMP(b, dst, src, unreachable4, hostCode4, [4]byte{}, quote), true
	}
	quote := packet[:min(len(packet), MaxAnswer-ipv6Header-icmpHeader)]
	return appendICMP(b, dst, src, unreachable6, addressCode6, [4]byte{}, quote), true
}

func answerable(a netip.Addr) bool { return a.IsGlobalUnicast() && !a.Is4In6() }

func protocol(b []byte) byte {
	if b[0]>>4 == 4 {
		return b[9]
	}
	return b[6]
}

func laterFragment(b []byte) bool {
	return b[0]>>4 == 4 && binary.BigEndian.Uint16(b[6:])&0x1fff != 0
}

func appendICMP(b []byte, src, dst netip.Addr, kind, code byte, rest [4]byte, body []byte) []byte {
	start := len(b)
	size := icmpHeader + len(body)
	var sum uint32
	if dst.Is4() {
		b = append(b, 0x45, 0, 0, 0, 0, 0, 0, 0, hops, protoICMP, 0, 0)
		binary.BigEndian.PutUint16(b[start+2:], uint16(ipv4Header+size))
		s, d := src.As4(), dst.As4()
		b = append(append(b, s[:]...), d[:]...)
		binary.BigEndian.PutUint16(b[start+10:], checksum(b[start:], 0))
	} else {
		b = append(b, 0x60, 0, 0, 0, 0, 0, protoICMPv6, hops)
		binary.BigEndian.PutUint16(b[start+4:], uint16(size))
		s, d := src.As16(), dst.As16()
		b = append(append(b, s[:]...), d[:]...)
		sum = pseudo(src, dst, size)
	}
	message := len(b)
	b = append(b, kind, code, 0, 0)
	b = append(append(b, rest[:]...), body...)
	binary.BigEndian.PutUint16(b[message+2:], checksum(b[message:], sum))
	return b
}

// pseudo is the unfolded sum of the ICMPv6 pseudo-header (RFC 8200 section 8.1).
func pseudo(src, dst netip.Addr, size int) uint32 {
	s, d := src.As16(), dst.As16()
	return sum16(s[:], 0) + sum16(d[:], 0) + uint32(size) + protoICMPv6
}

// checksum is the Internet checksum (RFC 1071) of b on top of an unfolded sum.
func checksum(b []byte, sum uint32) uint16 {
	sum = sum16(b, sum)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func sum16(b []byte, sum uint32) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}
