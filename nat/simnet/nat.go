package simnet

import (
	"net/netip"
	"time"

	"warren/keys"
)

// Ports says how a NAT chooses the outer port of a new mapping.
type Ports uint8

// The ways of choosing.
const (
	PreservePorts   Ports = iota // the inner port if it is free, else the next free one
	SequentialPorts              // counting up from 20000
	RandomPorts
)

// NATConfig describes a NAT box in the words of RFC 4787. Zero behaviours mean endpoint-independent.
type NATConfig struct {
	Mapping   keys.NATBehaviour // section 4.1
	Filtering keys.NATBehaviour // section 5
	Ports     Ports
	Timeout   time.Duration // of an unused mapping, refreshed in both directions; default 2 minutes
	Hairpin   bool          // section 6: packets from inside to an own mapping are turned round
}

// PortRestricted is the usual home router.
func PortRestricted() NATConfig {
	return NATConfig{Mapping: keys.EndpointIndependent, Filtering: keys.AddressAndPortDependent}
}

// Symmetric is a NAT with a new, random port per destination.
func Symmetric() NATConfig {
	return NATConfig{
		Mapping: keys.AddressAndPortDependent, Filtering: keys.AddressAndPortDependent, Ports: RandomPorts,
	}
}

// NAT is a router between a LAN and the segment it stands on.
type NAT struct {
	cfg    NATConfig
	at     *Segment // outside
	inside *Segment
	public netip.Addr
	next   uint16

	byFlow map[flow]*mapping // inner source and, by behaviour, what of the destination counts
	byPort map[uint16]*mapping
}

type flow struct{ from, to netip.AddrPort }

type mapping struct {
	key   flow
	outer uint16
	used  time.Time
	asked map[netip.AddrPort]time.Time // whom the inside sent to, by filtering behaviour
}

// NAT puts a router with the given outer address on the segment; what it hides goes on Inside.
func (s *Segment) NAT(public netip.Addr, cfg NATConfig) *NAT {
	if cfg.Timeout == 0 {
		cfg.Timeout = 2 * time.Minute
	}
	t := &NAT{cfg: cfg, at: s, public: public, next: 20000}
	t.inside = &Segment{net: s.net, stations: map[netip.Addr]station{}, gateway: t}
	t.forget()
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	s.join(public, t)
	return t
}

// Inside returns the LAN behind the router.
func (t *NAT) Inside() *Segment { return t.inside }

// Reboot makes the router forget all mappings; new ones get other ports, unless it preserves ports.
func (t *NAT) Reboot() {
	t.at.net.mu.Lock()
	defer t.at.net.mu.Unlock()
	t.forget()
}

func (t *NAT) forget() {
	t.byFlow, t.byPort = map[flow]*mapping{}, map[uint16]*mapping{}
	t.next += 1000
}

// narrow keeps of an address what a behaviour looks at.
func narrow(a netip.AddrPort, b keys.NATBehaviour) netip.AddrPort {
	switch b {
	case keys.AddressDependent:
		return netip.AddrPortFrom(a.Addr(), 0)
	case keys.AddressAndPortDependent:
		return a
	case keys.BehaviourUnknown, keys.EndpointIndependent:
	}
	return netip.AddrPort{}
}

// out takes a packet from inside.
func (t *NAT) out(p Packet) {
	n := t.at.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if p.To.Addr().Is4() != t.public.Is4() {
		return
	}
	key := flow{p.From, narrow(p.To, t.cfg.Mapping)}
	m := t.byFlow[key]
	if m == nil || n.clock().Sub(m.used) > t.cfg.Timeout {
		if m = t.open(key); m == nil {
			return
		}
	}
	m.used = n.clock()
	m.asked[narrow(p.To, t.cfg.Filtering)] = n.clock()
	p.From = netip.AddrPortFrom(t.public, m.outer)
	if p.To.Addr() != t.public {
		t.at.send(p)
	} else if t.cfg.Hairpin {
		n.at(n.clock(), func() { t.receive(p) })
	}
}

// open makes a mapping, nil if all ports are in use.
func (t *NAT) open(key flow) *mapping {
	n := t.at.net
	t.close(t.byFlow[key])
	port := key.from.Port()
	for range 65536 {
		switch t.cfg.Ports {
		case SequentialPorts:
			t.next++
			port = t.next
		case RandomPorts:
			port = uint16(1024 + n.rand.IntN(64512))
		case PreservePorts:
		}
		old := t.byPort[port]
		if port != 0 && (old == nil || n.clock().Sub(old.used) > t.cfg.Timeout) {
			t.close(old)
			m := &mapping{key: key, outer: port, asked: map[netip.AddrPort]time.Time{}}
			t.byFlow[key], t.byPort[port] = m, m
			return m
		}
		port++
	}
	return nil
}

// close forgets m, which may be nil.
func (t *NAT) close(m *mapping) {
	if m != nil {
		delete(t.byFlow, m.key)
		delete(t.byPort, m.outer)
	}
}

// receive takes a packet from outside.
func (t *NAT) receive(p Packet) {
	n := t.at.net
	n.mu.Lock()
	defer n.mu.Unlock()
	m := t.byPort[p.To.Port()]
	if m == nil || n.clock().Sub(m.used) > t.cfg.Timeout {
		return
	}
	from := narrow(p.From, t.cfg.Filtering)
	asked, ok := m.asked[from]
	if t.cfg.Filtering > keys.EndpointIndependent && (!ok || n.clock().Sub(asked) > t.cfg.Timeout) {
		return
	}
	m.used = n.clock()
	if ok {
		m.asked[from] = n.clock()
	}
	p.To = m.key.from
	t.inside.send(p)
}
