package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
)

// NAT is the kind of address translation and filtering a router does, in the words of RFC 4787.
type NAT uint8

// The kinds of router. All of them forward from outside only what belongs to a flow that began inside.
const (
	// PortRestricted maps endpoint-independently and filters by address and port, and keeps the host's port where it
	// is free. Unasked UDP to the router's own address is dropped before conntrack remembers it. Most home routers.
	PortRestricted NAT = iota + 1
	// PortRestrictedRemap is PortRestricted with an outside port of its own, 20000 to 29999, chosen anew after Flush.
	PortRestrictedRemap
	// Symmetric takes a random outside port for every destination: address- and port-dependent mapping and filtering.
	Symmetric
	// EarlyPacket is PortRestricted without the drop: a packet that comes in before the first one goes out leaves an
	// entry in conntrack, and the flow from inside then gets another port.
	EarlyPacket
)

// String returns the kind in lower-case words, as failures and tables show it.
func (k NAT) String() string {
	switch k {
	case PortRestricted:
		return "port-restricted"
	case PortRestrictedRemap:
		return "port-restricted, new ports"
	case Symmetric:
		return "symmetric"
	case EarlyPacket:
		return "port-restricted, early packets remembered"
	default:
		return fmt.Sprintf("NAT(%d)", uint8(k))
	}
}

// Router joins a private network to the public segment by NAT. It speaks IPv4 only.
type Router struct {
	lab  *Lab
	ns   *namespace
	name string
	kind NAT
	addr netip.Addr
	lan  *bridge

	mu    sync.Mutex
	hosts int
}

// Router makes a router of this kind on the public segment, with an empty private network behind it.
func (l *Lab) Router(name string, kind NAT) (*Router, error) {
	l.mu.Lock()
	l.routers++
	n := l.routers
	l.mu.Unlock()
	if firstRouter+n-1 > lastAddress {
		return nil, errors.New("netlab: the public segment is full")
	}
	wan := addrIn(internet4, firstRouter+n-1)
	ns, err := l.space()
	if err != nil {
		return nil, err
	}
	r := &Router{lab: l, ns: ns, name: name, kind: kind, addr: wan.Addr()}
	if err := r.build(wan, netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(n), 1}), 24)); err != nil {
		return nil, fmt.Errorf("netlab: router %s: %w", name, err)
	}
	return r, nil
}

func (r *Router) build(wan, lan netip.Prefix) error {
	err := r.lab.internet.attach(r.ns, "wan", []netip.Prefix{wan}, []netip.Addr{r.lab.internet.net4.Addr()})
	if err != nil {
		return err
	}
	if r.lan, err = newBridge(r.ns, "lan", lan, netip.Prefix{}); err != nil {
		return err
	}
	if err := r.ns.install(r.kind, wan.Addr()); err != nil {
		return err
	}
	return r.ns.sysctl("net.ipv4.ip_forward", "1")
}

// Name is the name given at making.
func (r *Router) Name() string { return r.name }

// Kind is what the router does to addresses.
func (r *Router) Kind() NAT { return r.kind }

// Addr is the router's public IPv4 address.
func (r *Router) Addr() netip.Addr { return r.addr }

// Host makes a host on the router's private network, with a default route through the router.
func (r *Router) Host(name string) (*Host, error) {
	r.mu.Lock()
	r.hosts++
	n := r.hosts + 1
	r.mu.Unlock()
	if n > lastAddress {
		return nil, fmt.Errorf("netlab: the network of router %s is full", r.name)
	}
	h, err := r.lab.host(name, r.lan, n)
	if err != nil {
		return nil, err
	}
	h.router = r
	return h, nil
}

// Flush makes the router forget every mapping, as a reboot would. UDP flows get another outside port only where the
// kind chooses ports; TCP flows may survive because the router takes them up again from the middle.
func (r *Router) Flush() error {
	if err := r.ns.link.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		return fmt.Errorf("netlab: flush the mappings of %s: %w", r.name, err)
	}
	return nil
}

// Sysctl sets a kernel setting of the router, for example "net.netfilter.nf_conntrack_udp_timeout" to "3".
func (r *Router) Sysctl(key, value string) error { return r.ns.sysctl(key, value) }
