// Package endpoints judges the addresses at which a host may be reached: which are public, which fit into a join code,
// and what a person means by HOST:PORT.
package endpoints

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"warren/keys"
	"warren/keys/name"
	"warren/mesh/control"
)

// notPublic are IPv4 addresses that look like any other: "this network" (RFC 1122), the shared space of carriers' NATs
// (RFC 6598) and what is reserved (RFC 1112).
var notPublic = []netip.Prefix{
	netip.PrefixFrom(netip.AddrFrom4([4]byte{0}), 8),
	netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10),
	netip.PrefixFrom(netip.AddrFrom4([4]byte{240}), 4),
}

// globalUnicast is all of IPv6 that is assigned as such, RFC 4291 section 2.4 and the registry of IANA.
var globalUnicast = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20}), 3)

// Public reports whether an address can be reached from anywhere; documentation addresses count.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	if a.Is6() {
		return globalUnicast.Contains(a)
	}
	return a.IsGlobalUnicast() && !a.IsPrivate() &&
		!slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Outside picks the addresses at which a reachable member is reachable: those that it advertises or mapped, and its
// public ones, but no relay's.
func Outside(candidates []keys.Candidate) (all []netip.AddrPort) {
	for _, c := range candidates {
		if c.Kind == keys.Mapped || c.Kind != keys.Relayed && Public(c.Addr.Addr()) {
			all = append(all, c.Addr)
		}
	}
	return all
}

// Fit picks as many endpoints as a code has room for: IPv4 first, as more hosts have it, then one IPv6, two where there
// is room. Those that no packet can be sent to, and repetitions, are left out.
func Fit(all []netip.AddrPort) []netip.AddrPort {
	var four, six []netip.AddrPort
	for _, a := range all {
		if a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port()); !name.ValidEndpoint(a) {
			continue
		}
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

// LeftOut warns of those that a person gave and that did not fit.
func LeftOut(given, fit []netip.AddrPort) []control.Warning {
	out := slices.DeleteFunc(slices.Clone(given), func(a netip.AddrPort) bool { return slices.Contains(fit, a) })
	if len(out) == 0 {
		return nil
	}
	return []control.Warning{{Code: "endpoints-left-out", Text: fmt.Sprintf(
		"a join code has room for %d endpoints, two of them IPv6: it does not name %s", keys.MaxEndpoints, Text(out))}}
}

// resolveFor bounds the look-ups of one Resolve.
const resolveFor = 5 * time.Second

// Resolve turns HOST:PORT texts into addresses to which packets can be sent, asking the system's resolver where needed,
// for at most 5 s. A text that is none, or names no such address, is a *control.Error with ExitUsage; a name that is not
// found one with ExitFailed.
func Resolve(ctx context.Context, texts []string) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveFor)
	defer cancel()
	var all []netip.AddrPort
	for _, text := range texts {
		addrs, err := resolve(ctx, text)
		if err != nil {
			return nil, err
		}
		all = append(all, addrs...)
	}
	return all, nil
}

func resolve(ctx context.Context, text string) ([]netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(text)
	if err == nil && (host == "" || strings.Contains(host, "%")) {
		err = errors.New("no host, or one with a zone")
	}
	if err != nil {
		return nil, control.Errorf(control.ExitUsage, "write HOST:PORT, an IPv6 address in brackets", "endpoint %.300q: %w", text, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return nil, control.Errorf(control.ExitUsage, "a port is a number from 1 to 65535", "endpoint %.300q: no such port", text)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, control.Errorf(control.ExitFailed, "give an address instead of a name", "endpoint %.300q: %w", text, err)
	}
	var usable []netip.AddrPort
	for _, a := range addrs {
		at := netip.AddrPortFrom(a.Unmap(), uint16(port))
		if name.ValidEndpoint(at) && !slices.Contains(usable, at) {
			usable = append(usable, at)
		}
	}
	if len(usable) == 0 {
		return nil, control.Errorf(control.ExitUsage, "give an address that one host has",
			"endpoint %.300q: nobody can be reached there", text)
	}
	return usable, nil
}

// Text lists addresses for a person.
func Text(all []netip.AddrPort) string {
	if len(all) == 0 {
		return "any address: the code names none"
	}
	texts := make([]string, len(all))
	for i, a := range all {
		texts[i] = a.String()
	}
	return strings.Join(texts, ", ")
}
