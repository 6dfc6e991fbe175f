package tun

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// protocolOurs marks routes and rules as ours (rtm_protocol; 187 BGP, 188 IS-IS, … 192 EIGRP are taken).
	protocolOurs = 176
	// routeMetric is above those of attached networks, whoever set them, so that they win.
	routeMetric = 4096
	// rulePriority is before the main table's rule and those that other overlays make.
	rulePriority = 4176
)

// addRoute sends what goes to p into the interface.
func addRoute(nl *netlink.Handle, index int, p netip.Prefix, src netip.Addr) error {
	err := nl.RouteAdd(&netlink.Route{
		LinkIndex: index,
		Dst:       ipNet(p),
		Src:       net.IP(src.AsSlice()),
		Scope:     netlink.SCOPE_LINK,
		Protocol:  protocolOurs,
		Priority:  routeMetric,
		Table:     unix.RT_TABLE_MAIN,
	})
	if errors.Is(err, unix.EEXIST) {
		err = ErrRouteTaken
	}
	if err != nil {
		return fmt.Errorf("adding route to %s: %w", p, err)
	}
	return nil
}

// rule keeps marked packets to p, our own UDP, out of every interface.
func rule(p netip.Prefix, mark uint32) *netlink.Rule {
	r := netlink.NewRule()
	r.Family = family(p)
	r.Priority = rulePriority
	r.Mark = mark
	r.Dst = ipNet(p)
	r.Type = unix.RTN_UNREACHABLE
	r.Protocol = protocolOurs
	return r
}

func addRule(nl *netlink.Handle, p netip.Prefix, mark uint32) error {
	// What an earlier process left would make the kernel refuse the new one.
	if err := cleanup(nl, []netip.Prefix{p}, mark); err != nil {
		return err
	}
	if err := nl.RuleAdd(rule(p, mark)); err != nil {
		return fmt.Errorf("adding rule for %s: %w", p, err)
	}
	return nil
}

// Cleanup removes the rules of ours for these prefixes and this mark that a process left which was killed; its
// interface, addresses and routes vanished with it. Without prefixes all rules of ours with this mark go.
func Cleanup(prefixes []netip.Prefix, mark uint32) error {
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("tun: opening netlink: %w", err)
	}
	defer nl.Close()
	if err := cleanup(nl, prefixes, mark); err != nil {
		return fmt.Errorf("tun: cleaning up: %w", permission(err))
	}
	return nil
}

func cleanup(nl *netlink.Handle, prefixes []netip.Prefix, mark uint32) error {
	var errs []error
	for _, f := range []int{unix.AF_INET, unix.AF_INET6} {
		rules, err := nl.RuleList(f)
		if err != nil {
			if !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) {
				errs = append(errs, fmt.Errorf("listing rules: %w", err))
			}
			continue
		}
		for _, r := range rules {
			p, ok := prefixOf(r.Dst)
			if r.Protocol != protocolOurs || r.Mark != mark || !ok || len(prefixes) > 0 && !slices.Contains(prefixes, p) {
				continue
			}
			ours := rule(p, mark)
			ours.Priority = r.Priority
			if err := nl.RuleDel(ours); err != nil && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("removing rule for %s: %w", p, err))
			}
		}
	}
	return errors.Join(errs...)
}

// Conflicts lists this host's addresses and routes, in whatever table, that overlap p, sorted, for people to
// read. Routes to almost everything (default routes and halves of them) are no conflict.
func Conflicts(p netip.Prefix) ([]string, error) {
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("tun: opening netlink: %w", err)
	}
	defer nl.Close()
	links, err := nl.LinkList()
	if err != nil {
		return nil, fmt.Errorf("tun: listing links: %w", err)
	}
	names := make(map[int]string)
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	addrs, err := nl.AddrList(nil, family(p))
	if err != nil {
		return nil, fmt.Errorf("tun: listing addresses: %w", err)
	}
	found := []string{}
	for _, a := range addrs {
		if q, ok := prefixOf(a.IPNet); ok && p.Overlaps(q) {
			found = append(found, fmt.Sprintf("address %s on %s", q, names[a.LinkIndex]))
		}
	}
	routes, err := nl.RouteListFiltered(family(p), &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("tun: listing routes: %w", err)
	}
	for _, r := range routes {
		q, ok := prefixOf(r.Dst)
		if !ok || q.Bits() <= 1 || r.Table == unix.RT_TABLE_LOCAL || !p.Overlaps(q) {
			continue
		}
		text := "route to " + q.String()
		if name := names[r.LinkIndex]; name != "" {
			text += " on " + name
		}
		if r.Table != unix.RT_TABLE_MAIN {
			text += " in table " + strconv.Itoa(r.Table)
		}
		found = append(found, text)
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if !ok || size == 0 {
		return netip.Prefix{}, false
	}
	if size == 32 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, bits), true
}

func family(p netip.Prefix) int {
	if p.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
