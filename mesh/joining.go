package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"warren/keys"
	"warren/mesh/control"
	"warren/mesh/gossip"
	"warren/mesh/join"
	"warren/mesh/link"
	"warren/mesh/roster"
	"warren/mesh/vault"
	"warren/nat"
)

// Join implements control.Backend.
func (v verbs) Join(ctx context.Context, r control.JoinRequest, progress func(control.Progress)) (*control.JoinReply, error) {
	code, err := keys.ParseJoinCode(r.Code)
	if err != nil {
		return nil, badCode(err)
	}
	host, err := hostName(r.Hostname)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	if !v.joining.TryLock() {
		return nil, control.Errorf(control.ExitFailed, "wait for it", "another join is under way")
	}
	defer v.joining.Unlock()
	held, err := ask(ctx, v.Node, func() (*vault.Member, error) {
		if err := v.mayBegin(); err != nil {
			return nil, err
		}
		return vault.Vault{Folder: v.folder}.MakeKeys()
	})
	if err != nil {
		return nil, control.AsError(err)
	}
	admission, at, err := v.knock(ctx, code, join.Applicant{
		Network: code.Network, Invite: code.Invite(), Identity: held.Identity, WG: held.WG, Name: host, Explicit: r.Hostname != "",
	}, progress)
	if err != nil {
		return nil, err
	}
	reply, err := ask(ctx, v.Node, func() (*control.JoinReply, error) { return v.enter(held, admission, at, host) })
	if err != nil {
		return nil, err
	}
	progress(control.Progress{Text: "member " + reply.Self.Name + ", waiting for an answer over the tunnel"})
	if reply.Reached = v.reach(ctx, admission.Member.Node); len(reply.Reached) == 0 {
		return reply, control.Errorf(control.ExitFailed, "this host is a member: no new code is needed; see warren status",
			"no member answered over the tunnel in time")
	}
	return reply, nil
}

// badCode explains why a text is no join code.
func badCode(err error) error {
	hint := "a code begins with warren1: and is printed by warren invite"
	switch {
	case errors.Is(err, keys.ErrCodeChecksum):
		hint = "copy it again: a character is wrong"
	case errors.Is(err, keys.ErrCodeTruncated):
		hint = "copy it again: its end is missing"
	case errors.Is(err, keys.ErrCodeVersion):
		hint = "it was made by a newer version: update warren on this host"
	}
	return control.Errorf(control.ExitUsage, hint, "%w", err)
}

// knock tries the endpoints of a code, all at once for a sign of life, then one after the other for admission. It
// returns where it succeeded.
func (v verbs) knock(ctx context.Context, code keys.JoinCode, a join.Applicant, progress func(control.Progress)) (
	*join.Admission, netip.AddrPort, error,
) {
	type answer struct {
		at   netip.AddrPort
		addr net.Addr
		err  error
	}
	answers := make(chan answer, len(code.Endpoints))
	checks, stop := context.WithTimeout(ctx, 15*time.Second)
	defer stop()
	for _, at := range code.Endpoints {
		progress(control.Progress{Text: "asking " + at.String()})
		v.background.Go(func() {
			addr, err := v.nat.JoinCheck(checks, code.Network, at)
			answers <- answer{at, addr, err}
		})
	}
	var last error
	for range code.Endpoints {
		got := <-answers
		if got.err != nil {
			continue
		}
		admission, err := v.apply(ctx, got.addr, a)
		if err == nil {
			return admission, got.at, nil
		}
		last = err
		if refusal := (*join.Refusal)(nil); errors.As(err, &refusal) && refusal.Code != join.CodeNoSigner && refusal.Code != join.CodeFailed {
			return nil, got.at, turnedAway(refusal)
		}
	}
	if refusal := (*join.Refusal)(nil); errors.As(last, &refusal) {
		return nil, netip.AddrPort{}, turnedAway(refusal)
	}
	if last != nil {
		return nil, netip.AddrPort{}, control.Errorf(control.ExitFailed, "try again; the code is still good", "%w", last)
	}
	hint := "is a member running there, and does UDP pass on the way?"
	if v.clock.Now().After(code.Expires) {
		hint = "the code expired at " + code.Expires.UTC().Format(time.RFC3339) + " by this host's clock: ask for a new one"
	}
	return nil, netip.AddrPort{}, control.Errorf(control.ExitFailed, hint, "nobody answers at %s", list(code.Endpoints))
}

func list(all []netip.AddrPort) (text string) {
	for i, a := range all {
		if i > 0 {
			text += ", "
		}
		text += a.String()
	}
	return first(text, "no address: the code names none")
}

func turnedAway(r *join.Refusal) error {
	code := control.ExitFailed
	if r.Code == join.CodeBadName {
		code = control.ExitUsage
	}
	return control.Errorf(code, r.Hint, "%w", r)
}

// apply holds the conversation with the member at addr.
func (v verbs) apply(ctx context.Context, addr net.Addr, a join.Applicant) (*join.Admission, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c, err := v.links.DialJoin(ctx, addr, a.Identity.Signer())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return join.Ask(join.Session{ReadWriter: c, Exporter: c.Exporter}, a)
}

// enter makes this host what the admission says, and connects it.
func (n *Node) enter(held *vault.Member, ad *join.Admission, at netip.AddrPort, wished string) (*control.JoinReply, error) {
	if err := n.mayBegin(); err != nil {
		return nil, err
	}
	held.Own = ad.Own
	if err := (vault.Vault{Folder: n.folder}).Establish(held.Own, ad.Authority); err != nil {
		return nil, control.Errorf(control.ExitFailed, "make room on the disk, then join again with the same code", "%w", err)
	}
	items := append(roster.LogItems(ad.Authority.Entries), roster.CertificateItem(held.Own), roster.CertificateItem(ad.Member))
	m := n.adopt(held, ad.Authority, items)
	m.skew = ad.Issued.Time().Sub(n.clock.Now())
	for _, it := range issuedItems(ad.Issued) {
		if it.Valid() && m.roster.Verify(it) == nil {
			m.step(gossip.Publish{Item: it})
		}
	}
	if m.Own.Name != wished {
		n.warn("name-changed", fmt.Sprintf("the name %q is taken: this host is %q", wished, m.Own.Name))
	}
	n.down = false
	if err := m.connect(); err != nil {
		return nil, err
	}
	m.introduce(ad.Member, at)
	reply := &control.JoinReply{Network: m.describe(), Self: m.describeSelf(), Warnings: append(control.List[control.Warning]{}, n.warnings...)}
	return reply, nil
}

// introduce tells the paths where the member was found that let us in, whatever its record says.
func (m *membership) introduce(member *keys.Certificate, at netip.AddrPort) {
	info := nat.PeerInfo{ID: member.Node, Name: member.Name, Key: member.WG, Overlay: member.ULA()}
	if rec := m.recordOf(member.Node); rec != nil {
		info.Candidates, info.NAT = rec.Candidates, rec.NAT
	}
	for _, c := range info.Candidates {
		if c.Addr == at {
			return
		}
	}
	here := keys.Candidate{Kind: keys.PeerReflexive, Addr: at}
	info.Candidates = append([]keys.Candidate{here}, info.Candidates[:min(len(info.Candidates), keys.MaxCandidates-1)]...)
	m.nat.SetPeer(info)
}

// serveJoin is the member's side: it leads one joiner through the conversation.
func (n *Node) serveJoin(ctx context.Context, s link.JoinServer) {
	host, err := ask(ctx, n, func() (join.Host, error) {
		m, err := n.current()
		if err != nil || !m.connected() {
			return join.Host{}, errors.Join(err, errStopping)
		}
		return m.joinHost(), nil
	})
	if err != nil {
		return
	}
	err = join.Serve(ctx, join.Session{ReadWriter: s, Exporter: s.Exporter}, s.Node, host)
	n.log.Info("joiner served", "node", s.Node, "addr", s.From, "err", err)
}

// joinHost is this member as a joiner meets it.
func (m *membership) joinHost() join.Host {
	return join.Host{
		Network: m.authority().Network, Node: m.id(), Identity: m.Identity, Certificate: m.Own.DER,
		Log: m.authority().Entries,
		Judge: func(ctx context.Context, invite keys.InviteID, joiner keys.NodeID) (join.Verdict, error) {
			return ask(ctx, m.Node, func() (join.Verdict, error) {
				g := m.roster.Grant(invite)
				if g == nil {
					return join.Verdict{}, nil
				}
				return join.Verdict{Key: g.Key, No: join.Judge(g, m.roster.Receipts(invite), joiner, m.netTime())}, nil
			})
		},
		Signer: func(ctx context.Context) (keys.NodeID, keys.WGPublic, error) {
			c, err := ask(ctx, m.Node, m.nearestSigner)
			if err != nil {
				return keys.NodeID{}, keys.WGPublic{}, err
			}
			return c.Node, c.WG, nil
		},
		Redeem: m.redeemAt,
	}
}

// nearestSigner is this host if it signs, else a signer that it has a link to.
func (m *membership) nearestSigner() (*keys.Certificate, error) {
	if m.CA != nil {
		return m.Own, nil
	}
	for _, s := range m.authority().Signers {
		if who := m.roster.Member(s.Node); who != nil && m.near.Get(s.Node) != nil {
			return who.Certificate, nil
		}
	}
	return nil, errors.New("mesh: no link to a signer")
}

// redeemAt asks a signer, which may be this host, to decide.
func (m *membership) redeemAt(ctx context.Context, signer keys.NodeID, r *join.Redemption) (*join.Issued, error) {
	if signer == m.id() {
		return ask(ctx, m.Node, func() (*join.Issued, error) { return m.redeem(r) })
	}
	l, err := ask(ctx, m.Node, func() (*link.Link, error) {
		if near := m.near.Get(signer); near != nil {
			if l, ok := near.Link.(*link.Link); ok {
				return l, nil
			}
		}
		return nil, errors.New("mesh: the link to the signer is gone")
	})
	if err != nil {
		return nil, err
	}
	b, err := l.Call(ctx, link.KindRedeem, join.EncodeRedemption(r))
	if err != nil {
		return nil, err
	}
	issued, err := join.DecodeAnswer(b)
	if err != nil {
		return nil, err
	}
	// The newcomer will be here in a moment: know it before gossip brings it.
	return ask(ctx, m.Node, func() (*join.Issued, error) { return m.expect(issued) })
}

// expect takes over the certificate that a signer issued, and adds what the newcomer needs to find us.
func (m *membership) expect(issued *join.Issued) (*join.Issued, error) {
	c, err := keys.ParseCertificate(issued.Certificate)
	if err != nil {
		return nil, err
	}
	it := roster.CertificateItem(c)
	if err := m.roster.Verify(it); err != nil {
		return nil, err
	}
	m.step(gossip.Publish{Item: it})
	issued.Items = m.greetings()
	return issued, nil
}

// greetings are the items that a newcomer gets with its certificate: our own, the rest follows by gossip.
func (m *membership) greetings() (items []join.Item) {
	for _, kind := range []gossip.Kind{gossip.KindCertificate, gossip.KindRecord} {
		if it := m.gossip.Get(gossip.Key{Kind: kind, Subject: m.id()}); it != nil {
			items = append(items, join.Item{Kind: uint8(it.Kind), Subject: it.Subject, Seq: it.Seq, Body: it.Body})
		}
	}
	return items
}

// redeem decides over a join request, in the loop, so that one invite is never redeemed twice at once.
func (m *membership) redeem(r *join.Redemption) (*join.Issued, error) {
	if m.CA == nil {
		return nil, errors.New("mesh: this host is no signer")
	}
	if now := m.clock.Now(); m.netTime().After(now.Add(time.Hour)) && len(m.near.IDs()) == 0 {
		return nil, wrongClock(now, "sign")
	}
	signer := join.Signer{
		Authority: m.authority(), CA: m.CA, Node: m.id(), WG: m.WG, Registry: registry{m}, Now: m.netTime,
	}
	issued, err := signer.Redeem(r)
	if err != nil {
		return nil, err
	}
	return m.expect(issued)
}

// registry is the roster as a signer uses it.
type registry struct{ m *membership }

func (r registry) Grant(id keys.InviteID) *keys.Grant        { return r.m.roster.Grant(id) }
func (r registry) Receipts(id keys.InviteID) []*keys.Receipt { return r.m.roster.Receipts(id) }
func (r registry) Owner(name string) (keys.NodeID, bool)     { return r.m.roster.Owner(name) }
func (r registry) Member(id keys.NodeID) bool                { return r.m.roster.Member(id) != nil }
func (r registry) Gone(id keys.NodeID) bool                  { return r.m.roster.Gone(id) }
func (r registry) Taken(a netip.Addr, id keys.NodeID) bool   { return r.m.roster.Taken(a, id) }

// Commit implements join.Registry: on disk first, then known.
func (r registry) Commit(receipt *keys.Receipt, signed []byte) error {
	it := roster.ReceiptItem(receipt, signed)
	if err := r.m.store.PutSync(it); err != nil {
		return err
	}
	r.m.step(gossip.Publish{Item: it})
	return nil
}

// Call implements link.Handler.
func (h linked) Call(ctx context.Context, l *link.Link, kind link.Kind, body []byte) ([]byte, error) {
	if kind != link.KindRedeem {
		return nil, fmt.Errorf("calls of kind %d are not known here", kind)
	}
	r, err := join.DecodeRedemption(body)
	if err != nil {
		return nil, err
	}
	if r.Member != l.Peer() {
		return nil, errors.New("a redemption must come from the member that met the joiner")
	}
	issued, err := ask(ctx, h.Node, func() (*join.Issued, error) {
		m, err := h.current()
		if err != nil {
			return nil, err
		}
		return m.redeem(r)
	})
	if refusal := (*join.Refusal)(nil); errors.As(err, &refusal) {
		return join.EncodeAnswer(nil, refusal), nil
	}
	if err != nil {
		h.log.Warn("join not decided", "peer", l.Peer(), "err", err)
		return nil, errors.New("the signer could not decide")
	}
	issued.Items = nil
	return join.EncodeAnswer(issued, nil), nil
}
