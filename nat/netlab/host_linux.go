package netlab

import (
	"context"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Host is one computer of the lab: a network namespace with the interface eth0.
type Host struct {
	lab         *Lab
	ns          *namespace
	name        string
	addr, addr6 netip.Addr
	router      *Router
}

// Name is the name given at making.
func (h *Host) Name() string { return h.name }

// Addr is the host's own IPv4 address, a private one behind a router.
func (h *Host) Addr() netip.Addr { return h.addr }

// Addr6 is the host's public IPv6 address, the zero Addr behind a router.
func (h *Host) Addr6() netip.Addr { return h.addr6 }

// Router is the router the host is behind, nil for a public host.
func (h *Host) Router() *Router { return h.router }

// Do runs fn on a thread that is inside the host's network. Sockets that fn opens stay inside after it returned.
// Goroutines that fn starts are outside.
func (h *Host) Do(fn func() error) error { return h.ns.do(fn) }

// Sysctl sets a kernel setting of the host, for example "net.ipv6.conf.eth0.disable_ipv6" to "1".
func (h *Host) Sysctl(key, value string) error { return h.ns.sysctl(key, value) }

// Netlink is the host's rtnetlink, for looking at or changing links, addresses, routes and rules. It belongs to the
// lab and is closed with it.
func (h *Host) Netlink() *netlink.Handle { return h.ns.link }

// ListenUDP opens a UDP socket inside the host. The caller closes it.
func (h *Host) ListenUDP(local netip.AddrPort) (*net.UDPConn, error) {
	var conn *net.UDPConn
	err := h.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
		return err
	})
	return conn, err
}

// ListenTCP listens inside the host. The caller closes it.
func (h *Host) ListenTCP(local netip.AddrPort) (*net.TCPListener, error) {
	var ln *net.TCPListener
	err := h.Do(func() (err error) {
		ln, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(local))
		return err
	})
	return ln, err
}

// DialTCP connects from the host, until ctx ends. The caller closes the connection.
func (h *Host) DialTCP(ctx context.Context, remote netip.AddrPort) (*net.TCPConn, error) {
	var conn net.Conn
	// One literal address makes one attempt on the calling thread; names would be dialled by goroutines outside.
	err := h.Do(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", remote.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}
