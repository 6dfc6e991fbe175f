// Package endpoints judges the addresses at which a host may be reached: which are public, which fit into a join code,
// and what a person means by HOST:PORT.
package endpoints

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"warren/keys"
	"warren/mesh/control"
)

// carrierGrade is the shared address space of RFC 6598.
var carrierGrade = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10)

// Public reports whether an address can be reached from anywhere; documentation addresses count.
func Public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !carrierGrade.Contains(a)
}

// Outside picks the addresses at which a reachable member is reachable.
func Outside(candidates []keys.Candidate) (all []netip.AddrPort) {
	for _, c := range candidates {
		if c.Kind == keys.Mapped || Public(c.Addr.Addr()) {
			all = append(all, c.Addr)
		}
	}
	return all
}

// Fit picks as many endpoints as a code has room for: IPv4 first, as more hosts have it, then one IPv6.
func Fit(all []netip.AddrPort) []netip.AddrPort {
	var four, six []netip.AddrPort
	for _, a := range all {
		if a.Addr().Is4() && !slices.Contains(four, a) {
			four = append(four, a)
		} else if a.Addr().Is6() && !slices.Contains(six, a) {
			six = append(six, a)
		}
	}
	fours := min(len(four), keys.MaxEndpoints-min(len(six), 1))
	picked := append([]netip.AddrPort(nil), four[:fours]...)
	return append(picked, six[:min(len(six), keys.MaxEndpoints-fours, 2)]...)
}

// Resolve turns HOST:PORT texts into addresses, asking the system's resolver where needed.
func Resolve(ctx context.Context, texts []string) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var all []netip.AddrPort
	for _, text := range texts {
		host, portText, err := net.SplitHostPort(text)
		if err != nil {
			return nil, control.Errorf(control.ExitUsage, "write HOST:PORT, an IPv6 address in brackets", "endpoint %q: %w", text, err)
		}
		port, err := strconv.ParseUint(portText, 10, 16)
		if err != nil || port == 0 {
			return nil, control.Errorf(control.ExitUsage, "a port is a number from 1 to 65535", "endpoint %q: no such port", text)
		}
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, control.Errorf(control.ExitFailed, "give an address instead of a name", "endpoint %q: %w", text, err)
		}
		for _, a := range addrs {
			all = append(all, netip.AddrPortFrom(a.Unmap(), uint16(port)))
		}
	}
	return all, nil
}
