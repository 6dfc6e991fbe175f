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
	"warren/mesh/endpoints"
	"warren/mesh/gossip"
	"warren/mesh/hint"
	"warren/mesh/join"
	"warren/mesh/link"
	"warren/mesh/loop"
	"warren/mesh/roster"
	"warren/mesh/vault"
	"warren/nat"
)

// Join implements control.Backend.
func (v verbs) Join(ctx context.Context, r control.JoinRequest, progress func(control.Progress)) (*control.JoinReply, error) {
	code, err := keys.ParseJoinCode(r.Code)
	if err != nil {
		return nil, hint.Code(err)
	}
	host, err := hint.HostName(r.Hostname)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	if !v.joining.TryLock() {
		return nil, control.Errorf(control.ExitFailed, "wait for it", "another join is under way")
	}
	defer v.joining.Unlock()
	held, err := loop.Ask(ctx, v.Loop, func() (*vault.Member, error) {
		if err := v.mayBegin(); err != nil {
			return nil, err
		}
		return vault.Vault{Folder: v.folder}.MakeKeys()
	})
	if err != nil {
		return nil, control.AsError(err)
	}
	for _, at := range code.Endpoints {
		progress(control.Progress{Text: "asking " + at.String()})
	}
	admission, at, err := join.Knock(ctx, v.door(), code, join.Applicant{
		Network: code.Network, Invite: code.Invite(), Identity: held.Identity, WG: held.WG, Name: host, Explicit: r.Hostname != "",
	})
	if err != nil {
		return nil, notAdmitted(err, code, v.clock.Now())
	}
	reply, err := loop.Ask(ctx, v.Loop, func() (*control.JoinReply, error) { return v.enter(held, admission, at, host) })
	if err != nil {
		return reply, err
	}
	progress(control.Progress{Text: "member " + reply.Self.Name + ", waiting for an answer over the tunnel"})
	if reply.Reached = v.prober().Reach(ctx, v.targets); len(reply.Reached) == 0 {
		return reply, control.Errorf(control.ExitFailed, "this host is a member: no new code is needed; see warren status",
			"no member answered over the tunnel in time")
	}
	return reply, nil
}

// door is the way to members that let us in.
func (v verbs) door() join.Door {
	return join.Door{
		Check: v.nat.JoinCheck,
		Dial: func(ctx context.Context, addr net.Addr, identity *keys.Identity) (join.Conn, error) {
			c, err := v.links.DialJoin(ctx, addr, identity.Signer())
			if err != nil {
				return nil, err
			}
			return joinConn{c}, nil
		},
	}
}

// joinConn is a connection as package join sees it.
type joinConn struct{ *link.JoinClient }

// Session implements join.Conn.
func (c joinConn) Session() join.Session {
	return join.Session{ReadWriter: c.JoinClient, Exporter: c.Exporter}
}

// notAdmitted explains why nobody let us in; now is the time by this host's clock.
func notAdmitted(err error, code keys.JoinCode, now time.Time) error {
	if refusal := (*join.Refusal)(nil); errors.As(err, &refusal) {
		exit := control.ExitFailed
		if refusal.Code == join.CodeBadName {
			exit = control.ExitUsage
		}
		return control.Errorf(exit, refusal.Hint, "%w", refusal)
	}
	if !errors.Is(err, join.ErrNobody) {
		return control.Errorf(control.ExitFailed, "try again; the code is still good", "%w", err)
	}
	advice := "is a member running there, and does UDP pass on the way?"
	if now.After(code.Expires) {
		advice = "the code expired at " + code.Expires.UTC().Format(time.RFC3339) + " by this host's clock: ask for a new one"
	}
	return control.Errorf(control.ExitFailed, advice, "nobody answers at %s", endpoints.Text(code.Endpoints))
}

// enter makes this host what the admission says, and connects it.
func (n verbs) enter(held *vault.Member, ad *join.Admission, at netip.AddrPort, wished string) (*control.JoinReply, error) {
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
	n.Node.Down = false
	err := m.connect()
	if err == nil {
		m.introduce(ad.Member, at)
	}
	warnings := append(n.allWarnings(), view{m}.warnings()...)
	return &control.JoinReply{Network: view{m}.network(), Self: view{m}.host(), Warnings: warnings}, err
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
func (n linked) serveJoin(ctx context.Context, s link.JoinServer) {
	host, err := loop.Ask(ctx, n.Loop, func() (join.Host, error) {
		m := n.live()
		if m == nil {
			return join.Host{}, loop.ErrStopping
		}
		return porter{m}.host(), nil
	})
	if err != nil {
		return
	}
	err = join.Serve(ctx, join.Session{ReadWriter: s, Exporter: s.Exporter}, s.Node, host)
	n.log.Info("joiner served", "node", s.Node, "addr", s.From, "err", err)
}

// porter is a member as joiners, and those who bring them, meet it.
type porter struct{ *membership }

// host is this member as a joiner meets it.
func (m porter) host() join.Host {
	return join.Host{
		Network: m.authority().Network, Node: m.id(), Identity: m.Identity, Certificate: m.Own.DER,
		Log: m.authority().Entries,
		Judge: func(ctx context.Context, invite keys.InviteID, joiner keys.NodeID) (join.Verdict, error) {
			return loop.Ask(ctx, m.Loop, func() (join.Verdict, error) {
				g := m.roster.Grant(invite)
				if g == nil {
					return join.Verdict{}, nil
				}
				return join.Verdict{Key: g.Key, No: join.Judge(g, m.roster.Receipts(invite), joiner, m.netTime())}, nil
			})
		},
		Signer: m.signer, Redeem: m.redeemAt,
	}
}

// nearestSigner is this host if it signs, else a signer that it has a link to; others are dialled.
func (m porter) nearestSigner() (*keys.Certificate, error) {
	if m.CA != nil {
		return m.Own, nil
	}
	for _, s := range m.authority().Signers {
		who := m.roster.Member(s.Node)
		if who != nil && m.near.Get(s.Node) != nil {
			return who.Certificate, nil
		}
		if _, under := m.dials[s.Node]; who != nil && !under {
			ties(m).dial(s.Node)
		}
	}
	return nil, errors.New("mesh: no link to a signer")
}

// signer waits for a link to a signer.
func (m porter) signer(ctx context.Context) (keys.NodeID, keys.WGPublic, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // to dial one
	defer cancel()
	c, err := loop.Retry(ctx, m.Loop, 50*time.Millisecond, m.nearestSigner)
	if err != nil {
		return keys.NodeID{}, keys.WGPublic{}, err
	}
	return c.Node, c.WG, nil
}

// redeemAt asks a signer, which may be this host, to decide.
func (m porter) redeemAt(ctx context.Context, signer keys.NodeID, r *join.Redemption) (*join.Issued, error) {
	if signer == m.id() {
		return loop.Ask(ctx, m.Loop, func() (*join.Issued, error) { return m.redeem(r) })
	}
	l, err := loop.Ask(ctx, m.Loop, func() (*link.Link, error) {
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
	return loop.Ask(ctx, m.Loop, func() (*join.Issued, error) { return m.expect(issued) })
}

// expect takes over the certificate that a signer issued, and adds what the newcomer needs to find us.
func (m porter) expect(issued *join.Issued) (*join.Issued, error) {
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
func (m porter) greetings() (items []join.Item) {
	for _, kind := range []gossip.Kind{gossip.KindCertificate, gossip.KindRecord} {
		if it := m.gossip.Get(gossip.Key{Kind: kind, Subject: m.id()}); it != nil {
			items = append(items, join.Item{Kind: uint8(it.Kind), Subject: it.Subject, Seq: it.Seq, Body: it.Body})
		}
	}
	return items
}

// redeem decides over a join request, in the loop, so that one invite is never redeemed twice at once.
func (m porter) redeem(r *join.Redemption) (*join.Issued, error) {
	if m.CA == nil {
		return nil, errors.New("mesh: this host is no signer")
	}
	if now := m.clock.Now(); m.netTime().After(now.Add(time.Hour)) && len(m.near.IDs()) == 0 {
		return nil, hint.Clock(now, "sign")
	}
	signer := join.Signer{
		Authority: m.authority(), CA: m.CA, Node: m.id(), WG: m.WG, Registry: registry{m.roster, m.membership}, Now: m.netTime,
	}
	issued, err := signer.Redeem(r)
	if err != nil {
		return nil, err
	}
	return m.expect(issued)
}

// registry is the roster as a signer uses it.
type registry struct {
	*roster.Roster
	m *membership
}

// Member implements join.Registry.
func (r registry) Member(id keys.NodeID) bool { return r.Roster.Member(id) != nil }

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
	issued, err := loop.Ask(ctx, h.Loop, func() (*join.Issued, error) {
		m, err := h.membership()
		if err != nil {
			return nil, err
		}
		return porter{m}.redeem(r)
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
