package name

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
)

// ULA returns the network's IPv6 prefix, a unique local /48 (RFC 4193): fd and the first 40 bits of the network id.
func (n NetworkID) ULA() netip.Prefix {
	a := [16]byte{0: 0xfd}
	copy(a[1:6], n[:5])
	return netip.PrefixFrom(netip.AddrFrom16(a), 48)
}

// Addr returns the member's IPv6 address in network: the network's /48 and the first 80 bits of the node id.
func (n NodeID) Addr(network NetworkID) netip.Addr {
	a := network.ULA().Addr().As16()
	copy(a[6:], n[:10])
	return netip.AddrFrom16(a)
}

// IPv4Candidate returns the i-th address that a signer should try for a member, equal on every signer: the first
// 8 bytes of HMAC-SHA-256 (key: network id) over node id, i and a round, both as 4 bytes big-endian, modulo the number
// of host addresses of the range in; the first round from 0 whose address is free to use counts. The network and
// broadcast addresses, 100.100.100.100 and 100.115.92.0/23 (used by others inside 100.64.0.0/10) are never returned.
// A range without usable addresses gives the zero Addr.
func IPv4Candidate(network NetworkID, node NodeID, i uint32, in netip.Prefix) netip.Addr {
	if !in.IsValid() || !in.Addr().Is4() || in.Bits() > 30 {
		return netip.Addr{}
	}
	in = in.Masked()
	base := binary.BigEndian.Uint32(in.Addr().AsSlice())
	hosts := uint64(1)<<(32-in.Bits()) - 2
	mac := hmac.New(sha256.New, network[:])
	for round := range uint32(64) {
		mac.Reset()
		mac.Write(node[:])
		mac.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, i), round))
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], base+1+uint32(binary.BigEndian.Uint64(mac.Sum(nil))%hosts))
		if addr := netip.AddrFrom4(a); !takenByOthers(addr) {
			return addr
		}
	}
	return netip.Addr{}
}

// takenByOthers reports whether a has a fixed meaning on hosts that also run Tailscale (its resolver) or ChromeOS.
func takenByOthers(a netip.Addr) bool {
	chrome := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 115, 92, 0}), 23)
	return a == netip.AddrFrom4([4]byte{100, 100, 100, 100}) || chrome.Contains(a)
}

// DefaultIPRange is the network's IPv4 range unless its founder names another: 100.64.0.0/10 (RFC 6598).
func DefaultIPRange() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10) }

// ValidIPRange reports whether p can be a network's IPv4 range: a masked IPv4 prefix of 8 to 30 bits that is neither
// loopback, link-local, multicast nor in 0.0.0.0/8 or 240.0.0.0/4.
func ValidIPRange(p netip.Prefix) bool {
	if !p.IsValid() || !p.Addr().Is4() || p != p.Masked() || p.Bits() < 8 || p.Bits() > 30 {
		return false
	}
	a := p.Addr()
	first := a.As4()[0]
	linkLocal := netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254}), 16)
	return first != 0 && first != 127 && first < 224 && !linkLocal.Overlaps(p)
}
