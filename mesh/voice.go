package mesh

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"warren/keys"
	"warren/mesh/control"
	"warren/mesh/gossip"
	"warren/mesh/roster"
)

// speak publishes what this host says of itself, if that changed.
func (m *membership) speak() {
	if !m.connected() {
		return
	}
	last := m.recordOf(m.id())
	rec := keys.Record{
		Node: m.id(), Candidates: m.candidates(), Contacts: m.contacts(),
		ReachableUDP: m.reachable(), Version: m.cfg.Version,
	}
	seen := m.nat.NAT()
	rec.NAT = keys.NAT{Mapping: seen.Mapping, Filtering: seen.Filtering}
	if last != nil {
		rec.Seq = last.Seq
		if sameRecord(&rec, last) {
			return
		}
	}
	rec.Seq++
	signed, err := keys.SignRecord(rec, m.identity, m.authority().Network)
	if err != nil {
		m.log.Error("record not made", "err", err)
		return
	}
	m.step(gossip.Publish{Item: roster.RecordItem(&rec, signed)})
}

func sameRecord(a, b *keys.Record) bool {
	return slices.Equal(a.Candidates, b.Candidates) && slices.Equal(a.Relays, b.Relays) &&
		slices.Equal(a.Contacts, b.Contacts) && a.NAT == b.NAT && a.Version == b.Version &&
		a.ReachableUDP == b.ReachableUDP && a.ReachableTCP == b.ReachableTCP
}

// candidates are the addresses at which others may try this host: those advertised by a person first.
func (m *membership) candidates() []keys.Candidate {
	var all []keys.Candidate
	for _, a := range m.advertised {
		all = append(all, keys.Candidate{Kind: keys.Mapped, Addr: a})
	}
	for _, c := range m.nat.Candidates() {
		if !slices.ContainsFunc(all, func(o keys.Candidate) bool { return o.Addr == c.Addr }) {
			all = append(all, c)
		}
	}
	return all[:min(len(all), keys.MaxCandidates)]
}

// reachable reports whether others can reach this host unasked: it was seen to be so, a person says so, or an interface
// of it has a public address.
func (m *membership) reachable() bool {
	return m.nat.NAT().Reachable || len(m.advertised) > 0 ||
		slices.ContainsFunc(m.nat.Candidates(), func(c keys.Candidate) bool { return c.Kind == keys.Host && public(c.Addr.Addr()) })
}

// carrierGrade is the shared address space of RFC 6598.
var carrierGrade = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10)

// public reports whether an address can be reached from anywhere; documentation addresses count.
func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !carrierGrade.Contains(a)
}

// contacts are two neighbours through which others may call this host, public ones first. Those named before stay
// while they are neighbours, so that the record rarely changes.
func (m *membership) contacts() []keys.NodeID {
	var before []keys.NodeID
	if last := m.recordOf(m.id()); last != nil {
		before = last.Contacts
	}
	ids := sorted(m.links)
	slices.SortStableFunc(ids, func(a, b keys.NodeID) int { return m.worth(b, before) - m.worth(a, before) })
	ids = ids[:min(2, len(ids))]
	slices.SortFunc(ids, keys.NodeID.Compare)
	return ids
}

func (m *membership) worth(id keys.NodeID, before []keys.NodeID) (points int) {
	if who := m.roster.Member(id); who != nil && who.Reachable() {
		points += 2
	}
	if slices.Contains(before, id) {
		points++
	}
	return points
}

// resolve turns HOST:PORT texts into addresses, asking the system's resolver where needed.
func resolve(ctx context.Context, texts []string) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var all []netip.AddrPort
	for _, text := range texts {
		host, portText, err := net.SplitHostPort(text)
		if err != nil {
			return nil, control.Errorf(control.ExitUsage, "write HOST:PORT, an IPv6 address in brackets", "endpoint %q: %w", text, err)
		}
		port, err := strconv.ParseUint(portText, 10, 16)
		if err != nil || port == 0 {
			return nil, control.Errorf(control.ExitUsage, "a port is a number from 1 to 65535", "endpoint %q: no such port", text)
		}
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, control.Errorf(control.ExitFailed, "give an address instead of a name", "endpoint %q: %w", text, err)
		}
		for _, a := range addrs {
			all = append(all, netip.AddrPortFrom(a.Unmap(), uint16(port)))
		}
	}
	return all, nil
}

// advertise takes over the addresses that the config file advertises; names are looked up in the background.
func (n *Node) advertise(texts []string) {
	n.background.Go(func() {
		addrs, err := resolve(n.ctx, texts)
		n.post(func() {
			if err != nil {
				n.warn("advertise", "advertised addresses are not used: "+err.Error())
				return
			}
			n.unwarn("advertise")
			n.advertised = addrs
			if n.member != nil {
				n.member.speak()
			}
		})
	})
}
