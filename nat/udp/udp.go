// Package udp is the only code that touches a UDP socket: batches of datagrams in and out.
//
// Package nat owns what travels in them. In tests an in-memory network takes the place of the sockets.
package udp

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"syscall"

	"golang.zx2c4.com/wireguard/conn"
)

// ErrPortInUse is wrapped by the error of Open when another process holds the port.
var ErrPortInUse = errors.New("port in use")

// A Flow says between which two addresses a datagram travelled. A zero Local is the kernel's choice.
type Flow struct {
	Local, Remote netip.AddrPort
}

// A Socket is the only thing that touches the network. Addresses are unmapped (IPv4 is never written as IPv6) and have
// no zone.
type Socket interface {
	// ReadBatch blocks until datagrams arrive and fills bufs, sizes and from, which are equally long. Some sizes may
	// be 0: skip them. It is called from one goroutine at a time. After Close it returns an error wrapping net.ErrClosed.
	ReadBatch(bufs [][]byte, sizes []int, from []Flow) (int, error)
	// WriteBatch sends each of bufs to remote, at best in one system call. It may scribble over the capacity of a
	// buffer behind its length, and keeps none. Many goroutines may call it.
	WriteBatch(local, remote netip.AddrPort, bufs [][]byte) error
	// Local returns the address it is bound to; its family is the one that the socket carries.
	Local() netip.AddrPort
	Close() error
}

// Open binds an IPv4 and an IPv6 socket, as far as the host has the family, to one port (0: a random one) and
// sets their mark unless it is 0. The error wraps ErrPortInUse where that is the cause. The sockets close together:
// closing one closes both.
//
// They stand on wireguard's StdNetBind: UDP segmentation offload both ways, no choice of the source address.
func Open(port uint16, mark uint32) (socks []Socket, got uint16, err error) {
	bind := conn.NewStdNetBind()
	fns, got, err := bind.Open(port)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, 0, fmt.Errorf("udp: opening udp port %d: %w", port, ErrPortInUse)
		}
		return nil, 0, fmt.Errorf("udp: opening udp port %d: %w", port, err)
	}
	if mark != 0 {
		if err := bind.SetMark(mark); err != nil {
			_ = bind.Close()
			return nil, 0, fmt.Errorf("udp: marking udp port %d: %w", port, err)
		}
	}
	for _, fn := range fns {
		wildcard := netip.IPv4Unspecified()
		if strings.HasSuffix(fn.PrettyName(), "6") {
			wildcard = netip.IPv6Unspecified()
		}
		socks = append(socks, &stdSocket{bind: bind, read: fn, local: netip.AddrPortFrom(wildcard, got)})
	}
	return socks, got, nil
}

// stdSocket is one family of a StdNetBind.
type stdSocket struct {
	bind      conn.Bind
	read      conn.ReceiveFunc
	local     netip.AddrPort
	eps       []conn.Endpoint // scratch of ReadBatch
	endpoints sync.Pool       // Send wants a *conn.StdNetEndpoint and keeps none
}

func (s *stdSocket) ReadBatch(bufs [][]byte, sizes []int, from []Flow) (int, error) {
	if len(s.eps) < len(bufs) {
		s.eps = make([]conn.Endpoint, len(bufs))
	}
	n, err := s.read(bufs, sizes, s.eps)
	if err != nil {
		return 0, err
	}
	for i := range n {
		if sizes[i] == 0 {
			continue
		}
		if ep, ok := s.eps[i].(*conn.StdNetEndpoint); ok {
			from[i] = Flow{Remote: Plain(ep.AddrPort)}
		}
	}
	return n, nil
}

func (s *stdSocket) WriteBatch(_, remote netip.AddrPort, bufs [][]byte) error {
	ep, ok := s.endpoints.Get().(*conn.StdNetEndpoint)
	if !ok {
		ep = new(conn.StdNetEndpoint)
	}
	ep.AddrPort = remote
	err := s.bind.Send(bufs, ep)
	s.endpoints.Put(ep)
	if err != nil {
		// The kernel refused segmentation once; the packets went out without it.
		if gso, ok := errors.AsType[conn.ErrUDPGSODisabled](err); ok {
			return gso.RetryErr
		}
	}
	return err
}

func (s *stdSocket) Local() netip.AddrPort { return s.local }

func (s *stdSocket) Close() error { return s.bind.Close() }

// SetMark marks every packet sent from now on, SO_MARK.
func (s *stdSocket) SetMark(mark uint32) error { return s.bind.SetMark(mark) }

// Plain is a without zone and, if it is IPv4 in IPv6, as IPv4.
func Plain(a netip.AddrPort) netip.AddrPort {
	if ip := a.Addr(); ip.Is4In6() || ip.Zone() != "" {
		return netip.AddrPortFrom(ip.Unmap().WithZone(""), a.Port())
	}
	return a
}
