package mesh

import (
	"slices"

	"warren/keys"
	"warren/mesh/endpoints"
	"warren/mesh/gossip"
	"warren/mesh/roster"
)

// speak publishes what this host says of itself, if that changed.
func (m *membership) speak() {
	if !m.connected() {
		return
	}
	last := m.recordOf(m.id())
	var named []keys.NodeID
	if last != nil {
		named = last.Contacts
	}
	rec := keys.Record{
		Node: m.id(), Candidates: m.candidates(), Contacts: m.near.Contacts(named),
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
	signed, err := keys.SignRecord(rec, m.Identity, m.authority().Network)
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
		slices.ContainsFunc(m.nat.Candidates(), func(c keys.Candidate) bool { return c.Kind == keys.Host && endpoints.Public(c.Addr.Addr()) })
}

// advertise takes over the addresses that the config file advertises; names are looked up in the background.
func (n *Node) advertise(texts []string) {
	n.background.Go(func() {
		addrs, err := endpoints.Resolve(n.ctx, texts)
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
