package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
)

// The public segment.
var (
	internet4 = netip.MustParsePrefix("198.51.100.0/24")
	internet6 = netip.MustParsePrefix("2001:db8::/64")
)

const (
	firstPublic = 11
	firstRouter = 101
	lastAddress = 254
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

// Lab is one small Internet. Its methods and those of its hosts and routers may be called from several goroutines.
type Lab struct {
	internet *bridge

	mu      sync.Mutex
	closed  bool
	public  int // hosts made on the public segment
	routers int
	spaces  []*namespace
	running map[*Process]struct{}
	procs   sync.WaitGroup
}

// New makes an Internet without hosts. The caller closes it. The error wraps [ErrUnsupported] where this program may
// not make namespaces.
func New() (*Lab, error) {
	if err := Check(); err != nil {
		return nil, err
	}
	l := &Lab{running: map[*Process]struct{}{}}
	ns, err := l.space()
	if err != nil {
		return nil, err
	}
	l.internet, err = newBridge(ns, "internet", addrIn(internet4, 1), addrIn(internet6, 1))
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close kills every process that still runs in the lab, waits for them, and takes the lab away. Sockets opened inside
// hosts belong to the caller; their namespace goes when they are closed. Close may be called more than once.
func (l *Lab) Close() error {
	l.mu.Lock()
	l.closed = true
	running := l.running
	l.running = nil
	l.mu.Unlock()
	var errs []error
	for p := range running {
		errs = append(errs, p.Kill())
	}
	l.procs.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ns := range l.spaces {
		ns.close()
	}
	l.spaces = nil
	return errors.Join(errs...)
}

// Public makes a host on the public segment: one public address of each family, a default route, no firewall.
func (l *Lab) Public(name string) (*Host, error) {
	l.mu.Lock()
	n := firstPublic + l.public
	l.public++
	l.mu.Unlock()
	if n >= firstRouter {
		return nil, errors.New("netlab: the public segment is full")
	}
	return l.host(name, l.internet, n)
}

// host makes a host with the n-th address on a segment and its default route through the segment's gateway.
func (l *Lab) host(name string, segment *bridge, n int) (*Host, error) {
	ns, err := l.space()
	if err != nil {
		return nil, err
	}
	h := &Host{lab: l, ns: ns, name: name, addr: addrIn(segment.net4, n).Addr()}
	addrs := []netip.Prefix{addrIn(segment.net4, n)}
	gateways := []netip.Addr{segment.net4.Addr()}
	if segment.net6.IsValid() {
		p := addrIn(segment.net6, n)
		h.addr6 = p.Addr()
		addrs = append(addrs, p)
		gateways = append(gateways, segment.net6.Addr())
	}
	if err := segment.attach(ns, "eth0", addrs, gateways); err != nil {
		return nil, fmt.Errorf("netlab: host %s: %w", name, err)
	}
	return h, nil
}

// space makes a namespace that belongs to the lab.
func (l *Lab) space() (*namespace, error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		ns.close()
		return nil, errors.New("netlab: the lab is closed")
	}
	l.spaces = append(l.spaces, ns)
	return ns, nil
}

// bridge is one segment: a bridge in a namespace that is also the segment's gateway.
type bridge struct {
	ns         *namespace
	link       netlink.Link
	net4, net6 netip.Prefix // the gateway's address with the segment's length; net6 may be invalid

	mu    sync.Mutex
	ports int
}

func newBridge(ns *namespace, name string, net4, net6 netip.Prefix) (*bridge, error) {
	off := false
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}, MulticastSnooping: &off}
	if err := ns.link.LinkAdd(link); err != nil {
		return nil, fmt.Errorf("netlab: make bridge %s: %w", name, err)
	}
	addrs := []netip.Prefix{net4}
	if net6.IsValid() {
		addrs = append(addrs, net6)
	}
	if err := ns.configure(name, addrs, nil); err != nil {
		return nil, err
	}
	return &bridge{ns: ns, link: link, net4: net4, net6: net6}, nil
}

// attach plugs a namespace into the segment by an interface with these addresses and default gateways.
func (b *bridge) attach(ns *namespace, name string, addrs []netip.Prefix, gateways []netip.Addr) error {
	b.mu.Lock()
	port := fmt.Sprintf("port%d", b.ports)
	b.ports++
	b.mu.Unlock()
	pair := netlink.NewVeth(netlink.LinkAttrs{Name: port, MasterIndex: b.link.Attrs().Index})
	pair.PeerName = name
	pair.PeerNamespace = netlink.NsFd(ns.fd)
	if err := b.ns.link.LinkAdd(pair); err != nil {
		return fmt.Errorf("plug %s into %s: %w", name, b.link.Attrs().Name, err)
	}
	if err := b.ns.link.LinkSetUp(pair); err != nil {
		return fmt.Errorf("set %s up: %w", port, err)
	}
	if err := ns.configure(name, addrs, gateways); err != nil {
		return err
	}
	// The kernel notices carriers in the background, and drops what is sent before that.
	return errors.Join(ns.awaitUp(name), b.ns.awaitUp(port), b.ns.awaitUp(b.link.Attrs().Name))
}

// awaitUp waits until a link carries packets.
func (ns *namespace) awaitUp(name string) error {
	const patience = 10 * time.Second
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		link, err := ns.link.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		if link.Attrs().OperState == netlink.OperUp {
			return nil
		}
	}
	return fmt.Errorf("%s is not up after %s", name, patience)
}

// configure gives a link its addresses, sets it up and adds default routes.
func (ns *namespace) configure(name string, addrs []netip.Prefix, gateways []netip.Addr) error {
	link, err := ns.link.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	for _, p := range addrs {
		if err := ns.link.AddrAdd(link, &netlink.Addr{IPNet: ipNet(p)}); err != nil {
			return fmt.Errorf("add %s to %s: %w", p, name, err)
		}
	}
	if err := ns.link.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	for _, gw := range gateways {
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: gw.AsSlice()}
		if err := ns.link.RouteAdd(route); err != nil {
			return fmt.Errorf("default route by %s: %w", gw, err)
		}
	}
	return nil
}
