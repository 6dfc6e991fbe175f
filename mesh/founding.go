package mesh

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"warren/keys"
	"warren/mesh/clock"
	"warren/mesh/control"
	"warren/mesh/endpoints"
	"warren/mesh/gossip"
	"warren/mesh/hint"
	"warren/mesh/loop"
	"warren/mesh/roster"
	"warren/mesh/vault"
	"warren/tun"
)

// verbs are what the command line can ask of a node.
type verbs struct{ *Node }

// Init implements control.Backend.
func (v verbs) Init(ctx context.Context, r control.InitRequest) (*control.InitReply, error) {
	return loop.Ask(ctx, v.Loop, func() (*control.InitReply, error) { return v.found(r) })
}

// found makes a network of which this host is the first member and signer.
func (n verbs) found(r control.InitRequest) (*control.InitReply, error) {
	if err := n.mayBegin(); err != nil {
		return nil, err
	}
	now := n.clock.Now()
	if now.Before(clock.BuildDate()) {
		return nil, hint.Clock(now, "found a network")
	}
	r.Name = cmp.Or(r.Name, "home")
	if !keys.ValidName(r.Name) {
		return nil, hint.Name("network name", r.Name)
	}
	host, err := hint.HostName(r.Hostname)
	if err != nil {
		return nil, err
	}
	if !r.IPRange.IsValid() {
		r.IPRange = keys.DefaultIPRange()
	}
	if !keys.ValidIPRange(r.IPRange) {
		return nil, control.Errorf(control.ExitUsage, "a private IPv4 range such as 10.90.0.0/16",
			"%s cannot be the range of a network", r.IPRange)
	}
	held, authority, recovery, err := vault.Vault{Folder: n.folder}.Found(r.Name, host, r.IPRange, now)
	if err != nil {
		return nil, control.Errorf(control.ExitFailed, "", "%w", err)
	}
	reply := &control.InitReply{RecoveryKey: recovery.Recovery()}
	if taken, err := tun.Conflicts(r.IPRange); err == nil && len(taken) > 0 {
		text := fmt.Sprintf("%s is in use on this host (%s); what is directly attached wins", r.IPRange, strings.Join(taken, ", "))
		n.warn("range-conflict", text)
	}
	m := n.adopt(held, authority, append(roster.LogItems(authority.Entries), roster.CertificateItem(held.Own)))
	n.Node.Down = false
	if err := m.connect(); err != nil {
		// Nothing is lost by starting over: nobody else knows of this network.
		_ = n.forget()
		return nil, err
	}
	n.log.Info("network founded", "network", r.Name, "id", authority.Network)
	reply.Network, reply.Self, reply.Warnings = view{m}.network(), view{m}.host(), append(n.allWarnings(), view{m}.warnings()...)
	return reply, nil
}

// Invite implements control.Backend.
func (v verbs) Invite(ctx context.Context, r control.InviteRequest) (*control.InviteReply, error) {
	given, err := endpoints.Resolve(ctx, r.Endpoints)
	if err != nil {
		return nil, err
	}
	return loop.Ask(ctx, v.Loop, func() (*control.InviteReply, error) {
		m, err := v.membership()
		if err != nil {
			return nil, err
		}
		return inviter{m}.invite(r, given)
	})
}

// inviter makes join codes.
type inviter struct{ *membership }

// invite makes a join code and publishes the grant that it stands for.
func (m inviter) invite(r control.InviteRequest, given []netip.AddrPort) (*control.InviteReply, error) {
	if m.CA == nil {
		return nil, control.Errorf(control.ExitPermission, "run it on "+m.signers(), "this host may not invite: it is no signer")
	}
	if now := m.clock.Now(); now.Before(clock.BuildDate()) {
		return nil, hint.Clock(now, "invite")
	}
	groups, err := hint.Groups(r.Groups)
	if err != nil {
		return nil, err
	}
	seed, err := keys.NewSeed()
	if err != nil {
		return nil, err
	}
	now := m.netTime()
	code := keys.JoinCode{Network: m.authority().Network, Seed: seed, Expires: now.Add(r.TTL)}
	var warnings []control.Warning
	if code.Endpoints, warnings = m.endpoints(given); len(code.Endpoints) == 0 {
		return nil, control.Errorf(control.ExitFailed, "bring a network interface up, or give one with --endpoint HOST:PORT",
			"this host has no address that a join code could name")
	}
	invite := code.Invite()
	grant := keys.Grant{
		Invite: invite.ID, Key: invite.Key.Public().(ed25519.PublicKey), Uses: uint32(r.Uses), Expires: code.Expires,
		Groups: groups, Issued: now,
	}
	signed, err := keys.SignGrant(grant, m.CA)
	if err != nil {
		return nil, control.Errorf(control.ExitUsage, "", "%w", err)
	}
	item := roster.GrantItem(&grant, signed)
	if err := m.store.PutSync(item); err != nil {
		return nil, control.Errorf(control.ExitFailed, "", "%w", err)
	}
	m.step(gossip.Publish{Item: item})
	reply := &control.InviteReply{
		Code: code.String(), ID: invite.ID.String(), Expires: control.Time{Time: grant.Expires}, Uses: int(grant.Uses), Warnings: warnings,
	}
	for _, e := range code.Endpoints {
		reply.Endpoints = append(reply.Endpoints, e.String())
	}
	return reply, nil
}

// endpoints are where a joiner should knock: what a person gave, else members that are reachable, ourselves first, else
// what may work, with a warning.
func (m inviter) endpoints(given []netip.AddrPort) ([]netip.AddrPort, []control.Warning) {
	var all []netip.AddrPort
	all = append(all, given...)
	if len(given) == 0 {
		if m.reachable() {
			all = append(all, endpoints.Outside(m.candidates())...)
		}
		for _, who := range m.roster.Members() {
			if who.Node != m.id() && who.Reachable() && view(m).online(who.Node) {
				all = append(all, endpoints.Outside(who.Record.Candidates)...)
			}
		}
	}
	if len(all) > 0 {
		fit := endpoints.Fit(all)
		return fit, endpoints.LeftOut(given, fit)
	}
	var public, local []netip.AddrPort
	for _, c := range m.candidates() {
		if c.Kind == keys.Host {
			local = append(local, c.Addr)
		} else {
			public = append(public, c.Addr)
		}
	}
	return endpoints.Fit(append(local, public...)), []control.Warning{{
		Code: "not-reachable",
		Text: fmt.Sprintf("no member is known to be reachable from outside: this code works on this host's LAN; "+
			"for more, open UDP port %d on the router or use --endpoint HOST:PORT", m.Port),
	}}
}

// signers names the members that sign.
func (m inviter) signers() string {
	names := m.roster.Names()
	var list []string
	for _, s := range m.authority().Signers {
		list = append(list, cmp.Or(names[s.Node], s.Node.String()))
	}
	slices.Sort(list)
	return strings.Join(list, " or ")
}
