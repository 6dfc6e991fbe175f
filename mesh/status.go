package mesh

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"warren/keys"
	"warren/mesh/control"
	"warren/mesh/loop"
	"warren/mesh/roster"
	"warren/mesh/tunnels"
	"warren/nat/path"
)

// Status implements control.Backend.
func (v verbs) Status(ctx context.Context, peer string) (*control.Status, error) {
	return loop.Ask(ctx, v.Loop, func() (*control.Status, error) { return v.status(peer) })
}

func (n verbs) status(peer string) (*control.Status, error) {
	st := &control.Status{Version: n.cfg.Version, State: control.StateNone, Warnings: n.allWarnings()}
	if d := n.clock.Offset(); d != 0 {
		st.Warnings = append(st.Warnings, control.Warning{Code: "clock-offset", Text: "the clock is shifted by " + d.String() + " for a test"})
	}
	if n.member == nil {
		return st, nil
	}
	m := view{n.member}
	st.Warnings = append(st.Warnings, m.warnings()...)
	st.State = control.StateDown
	if m.connected() {
		st.State = control.StateUp
	}
	if m.roster.Gone(m.id()) {
		st.State = control.StateRevoked
	}
	network := m.network()
	st.Network, st.Self = &network, m.self()
	others := m.others()
	if peer != "" {
		one, err := m.pick(peer)
		if err != nil {
			return nil, err
		}
		others = []*roster.Member{one}
	}
	names, open := m.roster.Names(), m.tunnels.Sweep(n.clock.Now())
	for _, who := range others {
		st.Peers = append(st.Peers, m.peer(who, names[who.Node], open))
	}
	slices.SortFunc(st.Peers, func(a, b control.Peer) int { return strings.Compare(a.Name, b.Name) })
	return st, nil
}

// view is what a membership shows of itself.
type view struct{ *membership }

// network is the network as documents show it.
func (m view) network() control.Network {
	a := m.authority()
	return control.Network{Name: a.Name, ID: a.Network.String(), Members: len(m.roster.Members())}
}

// host is this host as documents show it.
func (m view) host() control.Host {
	return control.Host{Name: m.Own.Name, ID: m.id().String(), Addresses: addresses(m.Own), PublicKey: m.Own.WG.String()}
}

func (m view) self() control.Self {
	host := m.host()
	seen := m.nat.NAT()
	self := control.Self{
		Name: control.Text(host.Name), ID: control.Text(host.ID), Addresses: host.Addresses, PublicKey: control.Text(host.PublicKey),
		Signer: m.CA != nil, Expires: control.Time{Time: m.Own.NotAfter},
		NAT: control.NAT{UDP: seen.UDP, Mapping: control.Text(seen.Mapping.String()), Filtering: control.Text(seen.Filtering.String())},
	}
	if m.connected() {
		for _, c := range m.candidates() {
			self.Candidates = append(self.Candidates, c.Addr)
		}
	}
	return self
}

func (m view) peer(who *roster.Member, name string, open map[keys.NodeID]tunnels.Tunnel) control.Peer {
	p := control.Peer{Name: name, ID: who.Node.String(), Addresses: addresses(who.Certificate), Online: m.online(who.Node), Path: control.PathIdle}
	st := m.nat.PeerStatus(who.Node)
	t, wanted := open[who.Node]
	if l := m.near.Get(who.Node); l != nil {
		p.RTT = control.Millis(l.RTT())
	}
	if !wanted {
		return p
	}
	p.RxBytes, p.TxBytes = t.RxBytes, t.TxBytes
	p.LastHandshake = control.Time{Time: t.LastHandshake}
	p.Path, p.Reason = control.Path(st.State.String()), st.Reason
	switch {
	case st.State == path.Direct:
		p.Endpoint, p.Transport = control.Text(st.Path.Remote.String()), "udp"
		if st.RTT > 0 {
			p.RTT = control.Millis(st.RTT)
		}
	case st.State == path.Probing && !p.Online:
		p.Reason = cmp.Or(p.Reason, "it was not heard of for a while")
	}
	return p
}

// online reports whether a member is linked or was heard of within five minutes.
func (m view) online(id keys.NodeID) bool {
	if !m.connected() {
		return false
	}
	now := m.clock.Now()
	if st := m.nat.PeerStatus(id); !st.LastRx.IsZero() && now.Sub(m.wall(st.LastRx)) < 15*time.Second {
		return true
	}
	return m.near.Online(id, now)
}

// wall brings a time of the paths, which know no offset of the clock, to ours.
func (m view) wall(t time.Time) time.Time { return t.Add(m.clock.Offset()) }

// warnings are what a person should know of the membership. The recovery key is with the founder alone.
func (m view) warnings() (all []control.Warning) {
	if len(m.authority().Signers) == 1 {
		text := inviter(m).signers() + " is the only signer: while it is away nobody can join"
		if m.CA != nil {
			text = "this host is the only signer: while it is away nobody can join, and if it is lost only the recovery key helps"
		}
		all = append(all, control.Warning{Code: "single-signer", Text: text})
	}
	now, net := m.clock.Now(), m.netTime()
	if d := net.Sub(now); d.Abs() > time.Hour {
		all = append(all, control.Warning{
			Code: "clock", Text: fmt.Sprintf("this host's clock is off by %s: the network's time is %s", d.Round(time.Minute), net.UTC().Format(time.DateTime)),
		})
	}
	if left := m.Own.NotAfter.Sub(net); left < 21*24*time.Hour {
		all = append(all, control.Warning{
			Code: "certificate-expires", Text: "this host's certificate expires at " + m.Own.NotAfter.UTC().Format(time.RFC3339),
		})
	}
	return all
}

// addresses are a member's, IPv4 first.
func addresses(c *keys.Certificate) []netip.Addr {
	all := slices.Clone(c.Addrs)
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

func (m view) others() []*roster.Member {
	return slices.DeleteFunc(m.roster.Members(), func(who *roster.Member) bool { return who.Node == m.id() })
}

// pick finds the member that a person means, which must not be this host.
func (m view) pick(text string) (*roster.Member, error) {
	who, err := m.find(text)
	if err == nil && who.Node == m.id() {
		return nil, control.Errorf(control.ExitUsage, "warren status lists the others", "%s is this host itself", m.Own.Name)
	}
	return who, err
}

// find is pick among all members.
func (m view) find(text string) (*roster.Member, error) {
	members, names := m.roster.Members(), m.roster.Names()
	named := make([]control.Named, len(members))
	for i, who := range members {
		named[i] = control.Named{Name: names[who.Node], ID: who.Node.String(), Addresses: who.Addrs}
	}
	i, err := control.Pick(text, named)
	if err != nil {
		return nil, err
	}
	return members[i], nil
}

// IP implements control.Backend.
func (v verbs) IP(ctx context.Context, peer string) ([]netip.Addr, error) {
	return loop.Ask(ctx, v.Loop, func() ([]netip.Addr, error) {
		m, err := v.membership()
		if err != nil {
			return nil, err
		}
		if peer == "" {
			return addresses(m.Own), nil
		}
		who, err := view{m}.find(peer)
		if err != nil {
			return nil, err
		}
		return addresses(who.Certificate), nil
	})
}
