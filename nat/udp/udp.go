// Package udp is the only code that touches a UDP socket: batches of datagrams in and out.
//
// Package nat owns what travels in them. In tests an in-memory network takes the place of the sockets.
package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
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
	// ReadBatch blocks until datagrams arrive and fills bufs, sizes and from, which are equally long; it returns how
	// many. Some sizes may be 0: skip them. What is longer than its buffer is cut. It is called from one goroutine at a
	// time. After Close it returns an error wrapping net.ErrClosed.
	ReadBatch(bufs [][]byte, sizes []int, from []Flow) (int, error)
	// WriteBatch sends each of bufs to remote, at best in one system call, and keeps none. What the kernel refuses is
	// left out; the error is the first one. Many goroutines may call it.
	WriteBatch(local, remote netip.AddrPort, bufs [][]byte) error
	// Local returns the address it is bound to; its family is the one that the socket carries.
	Local() netip.AddrPort
	Close() error
}

// portTries is how many random ports are tried until one is free in both families.
const portTries = 16

// Open binds an IPv4 and an IPv6 socket, as far as the host has the family, to one port (0: a random one) and
// sets their mark unless it is 0. The error wraps ErrPortInUse where that is the cause.
func Open(port uint16, mark uint32) (socks []Socket, got uint16, err error) {
	for range portTries {
		socks, got, err = openBoth(port, mark)
		if port != 0 || !errors.Is(err, ErrPortInUse) {
			break
		}
	}
	return socks, got, err
}

func openBoth(port uint16, mark uint32) (socks []Socket, got uint16, err error) {
	defer func() {
		if err != nil {
			for _, s := range socks {
				_ = s.Close()
			}
			socks = nil
		}
	}()
	var missing error
	for _, v4 := range []bool{true, false} {
		s, err := open(v4, port, mark)
		switch {
		case errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL):
			missing = err
		case errors.Is(err, syscall.EADDRINUSE):
			return socks, 0, fmt.Errorf("udp: opening udp port %d: %w", port, ErrPortInUse)
		case err != nil:
			return socks, 0, fmt.Errorf("udp: opening udp port %d: %w", port, err)
		default:
			socks = append(socks, s)
			port = s.local.Port()
		}
	}
	if len(socks) == 0 {
		return nil, 0, fmt.Errorf("udp: opening udp port %d: %w", port, missing)
	}
	return socks, port, nil
}

// open binds one family.
func open(v4 bool, port uint16, mark uint32) (*socket, error) {
	network, any := "udp6", netip.IPv6Unspecified()
	if v4 {
		network, any = "udp4", netip.IPv4Unspecified()
	}
	pc, err := new(net.ListenConfig).ListenPacket(context.Background(), network, net.JoinHostPort(any.String(), strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	conn, ok := pc.(*net.UDPConn)
	if !ok {
		return nil, fmt.Errorf("udp: a %T instead of a socket", pc)
	}
	s := &socket{UDPConn: conn, local: netip.AddrPortFrom(any, conn.LocalAddr().(*net.UDPAddr).AddrPort().Port())} //nolint:errcheck,forcetypeassert // of a UDP socket
	if v4 {
		s.batch = ipv4.NewPacketConn(conn)
	} else {
		s.batch = ipv6.NewPacketConn(conn)
	}
	s.prepare(tune(conn))
	if mark != 0 {
		if err := s.SetMark(mark); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	return s, nil
}

// Plain is a without zone and, if it is IPv4 in IPv6, as IPv4.
func Plain(a netip.AddrPort) netip.AddrPort {
	if ip := a.Addr(); ip.Is4In6() || ip.Zone() != "" {
		return netip.AddrPortFrom(ip.Unmap().WithZone(""), a.Port())
	}
	return a
}
