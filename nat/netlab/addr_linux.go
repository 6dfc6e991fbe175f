package netlab

import (
	"net"
	"net/netip"
	"strconv"
)

// addrIn is the n-th address of a prefix, with the prefix's length. In IPv6 the last group reads as n does in
// decimal, so that host 11 is .11 and ::11.
func addrIn(p netip.Prefix, n int) netip.Prefix {
	b := p.Addr().AsSlice()
	if p.Addr().Is4() {
		b[3] = byte(n)
	} else {
		group, err := strconv.ParseUint(strconv.Itoa(n), 16, 16)
		if err != nil {
			panic("netlab: host number out of range")
		}
		b[14], b[15] = byte(group>>8), byte(group)
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, p.Bits())
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
