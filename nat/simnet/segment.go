package simnet

import (
	"errors"
	"net/netip"
	"slices"
	"time"
)

// ErrPortInUse is returned when a host's port has a listener already.
var ErrPortInUse = errors.New("simnet: port in use")

// station is what has addresses on a segment: a host, or the outer side of a NAT.
type station interface{ receive(p Packet) }

// Segment is the Internet or one LAN: stations that reach each other directly, and a NAT as the way out of a LAN.
type Segment struct {
	net      *Net
	stations map[netip.Addr]station
	gateway  *NAT
}

// Host puts a host with these addresses on the segment. It panics if one is taken.
func (s *Segment) Host(addrs ...netip.Addr) *Host {
	h := &Host{at: s, addrs: addrs, ports: map[uint16]func(Packet){}}
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	for _, a := range addrs {
		s.join(a, h)
	}
	return h
}

func (s *Segment) join(a netip.Addr, x station) {
	if s.stations[a] != nil {
		panic("simnet: address taken: " + a.String())
	}
	s.stations[a] = x
}

// send carries a packet to its station, or out through the gateway; it wants the lock.
func (s *Segment) send(p Packet) {
	n := s.net
	to := s.stations[p.To.Addr()]
	if to == nil && s.gateway != nil {
		n.at(n.clock().Add(n.cfg.LAN), func() { s.gateway.out(p) })
		return
	}
	lost := to == nil
	delay := n.cfg.LAN
	if s == n.root {
		delay = n.cfg.Delay
		if n.cfg.Jitter > 0 {
			delay += time.Duration(n.rand.Int64N(int64(n.cfg.Jitter)))
		}
		lost = n.rand.Float64() < n.cfg.Loss || lost || n.drop != nil && n.drop(p)
	}
	n.note(p, lost)
	if !lost {
		n.at(n.clock().Add(delay), func() { to.receive(p) })
	}
}

// Host is a machine with one address or more and any number of UDP ports.
type Host struct {
	at    *Segment
	addrs []netip.Addr
	ports map[uint16]func(Packet)
	down  bool
}

// Addrs returns the addresses of the host's interfaces.
func (h *Host) Addrs() []netip.Addr { return slices.Clone(h.addrs) }

// SetDown cuts the host off or connects it again; its ports stay open.
func (h *Host) SetDown(down bool) {
	h.at.net.mu.Lock()
	defer h.at.net.mu.Unlock()
	h.down = down
}

// Listen calls f, from Run or Serve, for each packet that arrives on port. The error is ErrPortInUse.
func (h *Host) Listen(port uint16, f func(Packet)) error {
	h.at.net.mu.Lock()
	defer h.at.net.mu.Unlock()
	if h.ports[port] != nil {
		return ErrPortInUse
	}
	h.ports[port] = f
	return nil
}

// Close ends listening on port.
func (h *Host) Close(port uint16) {
	h.at.net.mu.Lock()
	defer h.at.net.mu.Unlock()
	delete(h.ports, port)
}

// Send sends a datagram from port, with the host's first address of to's family; without one it is lost, as in a
// network without a route. It copies body.
func (h *Host) Send(port uint16, to netip.AddrPort, body []byte) {
	h.at.net.mu.Lock()
	defer h.at.net.mu.Unlock()
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	i := slices.IndexFunc(h.addrs, func(a netip.Addr) bool { return a.Is4() == to.Addr().Is4() })
	if i < 0 || h.down {
		return
	}
	h.at.send(Packet{From: netip.AddrPortFrom(h.addrs[i], port), To: to, Body: slices.Clone(body)})
}

func (h *Host) receive(p Packet) {
	h.at.net.mu.Lock()
	f := h.ports[p.To.Port()]
	if h.down {
		f = nil
	}
	h.at.net.mu.Unlock()
	if f != nil {
		f(p)
	}
}
