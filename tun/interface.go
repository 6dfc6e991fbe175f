package tun

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"warren/tun/icmp"
)

// Errors of Create and Check that a caller has a hint for.
var (
	// ErrNameTaken means that the network namespace has an interface of that name.
	ErrNameTaken = errors.New("interface name is taken")
	// ErrNoTUN means that the kernel offers no TUN device: /dev/net/tun is missing.
	ErrNoTUN = errors.New("no /dev/net/tun")
	// ErrPermission means that the process lacks CAP_NET_ADMIN or may not open /dev/net/tun.
	ErrPermission = errors.New("not permitted: CAP_NET_ADMIN and /dev/net/tun are needed")
	// ErrRouteTaken means that another interface has the very route that we want, and not as a network that is
	// directly attached: most likely another agent's.
	ErrRouteTaken = errors.New("route is taken")
)

// InterfaceConfig is what Create needs.
type InterfaceConfig struct {
	// Name of the interface, at most 15 bytes.
	Name string
	// MTU of the interface. Default DefaultMTU.
	MTU int
	// Addrs are this host's overlay addresses, as /32 and /128; at least one.
	Addrs []netip.Prefix
	// Prefixes of the overlay: one route each in the main table, with this host's address of that family as
	// source. A prefix of a family without an address is left out.
	Prefixes []netip.Prefix
	// Mark is what our own UDP sockets are marked with (SO_MARK). Such packets never enter the interface.
	// 0 makes no rules.
	Mark uint32
	// Log is told what had to be left out. Default: discarded.
	Log *slog.Logger
}

// maxName is IFNAMSIZ less the final zero.
const maxName = 15

func (c *InterfaceConfig) check() error {
	if c.MTU == 0 {
		c.MTU = DefaultMTU
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	// The kernel takes a percent sign for a template.
	if c.Name == "" || len(c.Name) > maxName || c.Name == "." || c.Name == ".." || strings.ContainsAny(c.Name, "/:% \t\n\x00") {
		return fmt.Errorf("tun: interface name %q: want 1 to %d letters, digits, dots or dashes", c.Name, maxName)
	}
	if c.MTU < icmp.MaxAnswer || c.MTU > 65535 {
		return fmt.Errorf("tun: mtu %d: want %d to 65535", c.MTU, icmp.MaxAnswer)
	}
	if len(c.Addrs) == 0 {
		return errors.New("tun: interface without an address")
	}
	for _, a := range c.Addrs {
		if !a.IsValid() || !a.IsSingleIP() || a.Addr().Is4In6() {
			return fmt.Errorf("tun: address %s: want a /32 or /128", a)
		}
	}
	for _, p := range c.Prefixes {
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
			return fmt.Errorf("tun: prefix %s has host bits", p)
		}
	}
	return nil
}

// sourceFor returns the first of addrs of p's family.
func sourceFor(addrs []netip.Prefix, p netip.Prefix) (netip.Addr, bool) {
	for _, a := range addrs {
		if a.Addr().BitLen() == p.Addr().BitLen() {
			return a.Addr(), true
		}
	}
	return netip.Addr{}, false
}
