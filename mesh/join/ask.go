package join

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"

	"warren/keys"
	"warren/mesh/link"
)

// Applicant is a host that wants to become a member.
type Applicant struct {
	Network  keys.NetworkID // of the join code
	Invite   keys.Invite    // of the join code
	Identity *keys.Identity
	WG       keys.WGPrivate
	Name     string // wished for
	Explicit bool   // a person asked for the name: it is that or nothing
}

// Admission is what makes a host a member.
type Admission struct {
	Authority *keys.Authority
	Issued    *Issued
	Own       *keys.Certificate // checked: it holds the applicant's keys
	Member    *keys.Certificate // who let us in
}

// Ask leads the joiner's side of the conversation. It trusts nothing but the network id of the join code: the log must
// hash to it, and the member's certificate must follow from the log. A no of the other side is a *Refusal. Nothing is
// judged by this host's clock.
func Ask(s Session, a Applicant) (*Admission, error) {
	err := send(s, link.KindJoinProve, prove{
		Invite: a.Invite.ID, Signature: ed25519.Sign(a.Invite.Key, proveBytes(s.Exporter, a.Network)),
	})
	if err != nil {
		return nil, err
	}
	greeting, err := a.greeting(s)
	if err != nil {
		return nil, err
	}
	authority, member, err := a.checkWelcome(s, greeting)
	if err != nil {
		return nil, err
	}
	request, err := a.request(s, greeting, member.Node)
	if err != nil {
		return nil, err
	}
	if err := send(s, link.KindJoinAsk, request); err != nil {
		return nil, err
	}
	var (
		issued  Issued
		refusal Refusal
	)
	kind, err := receive(s, map[link.Kind]any{link.KindJoinIssued: &issued, link.KindJoinRefused: &refusal})
	if err != nil {
		return nil, err
	}
	if kind == link.KindJoinRefused {
		return nil, refusal.plain()
	}
	own, err := a.checkIssued(authority, &issued)
	if err != nil {
		return nil, err
	}
	return &Admission{Authority: authority, Issued: &issued, Own: own, Member: member}, nil
}

// greeting reads the member's welcome, with the whole log in it. The log's beginning is checked before more of it is taken.
func (a Applicant) greeting(s Session) (*welcome, error) {
	var log [][]byte
	for size := 0; ; {
		var (
			piece   part
			last    welcome
			refusal Refusal
		)
		kind, err := receive(s, map[link.Kind]any{
			link.KindJoinLog: &piece, link.KindJoinWelcome: &last, link.KindJoinRefused: &refusal,
		})
		if err != nil {
			return nil, err
		}
		if kind == link.KindJoinRefused {
			return nil, refusal.plain()
		}
		for _, entry := range slices.Concat(piece.Log, last.Log) {
			if size += len(entry); size > maxLog || len(log) == keys.MaxEntries {
				return nil, fmt.Errorf("join: reading the network's log: longer than %d bytes or %d entries", maxLog, keys.MaxEntries)
			}
			log = append(log, entry)
		}
		if len(log) > 0 && keys.NetworkID(keys.EntryHash(log[0])) != a.Network {
			return nil, fmt.Errorf("join: checking the network's log: it is of another network")
		}
		if kind == link.KindJoinWelcome {
			last.Log = log
			return &last, nil
		}
		if len(piece.Log) == 0 {
			return nil, fmt.Errorf("join: reading the network's log: an empty part")
		}
	}
}

// checkWelcome proves that the other side is a member of the network that the join code names.
func (a Applicant) checkWelcome(s Session, w *welcome) (*keys.Authority, *keys.Certificate, error) {
	authority, err := keys.Replay(w.Log)
	if err != nil {
		return nil, nil, fmt.Errorf("join: checking the network's log: %w", err)
	}
	if authority.Network != a.Network {
		return nil, nil, fmt.Errorf("join: checking the network's log: it is of another network")
	}
	member, err := keys.ParseCertificate(w.Certificate)
	if err != nil {
		return nil, nil, fmt.Errorf("join: checking the member's certificate: %w", err)
	}
	if err := authority.Verify(member, insideOf(member)); err != nil {
		return nil, nil, fmt.Errorf("join: checking the member's certificate: %w", err)
	}
	public, ok := member.X509.PublicKey.(ed25519.PublicKey)
	if !ok || !ed25519.Verify(public, welcomeBytes(s.Exporter, a.Network), w.Signature) {
		return nil, nil, fmt.Errorf("join: checking the member: it does not hold its certificate's key")
	}
	return authority, member, nil
}

func (a Applicant) request(s Session, w *welcome, member keys.NodeID) (*ask, error) {
	csr, err := keys.NewRequest(a.Identity, a.WG.Public(), a.Name)
	if err != nil {
		return nil, err
	}
	proof, err := keys.ProveWG(a.WG, w.SignerKey, proofContext(csr, s.Exporter))
	if err != nil {
		return nil, err
	}
	return &ask{
		CSR: csr, Explicit: a.Explicit, Proof: proof,
		Signature: ed25519.Sign(a.Invite.Key, askBytes(a.Network, a.Invite.ID, csr, s.Exporter, member)),
	}, nil
}

func (a Applicant) checkIssued(authority *keys.Authority, issued *Issued) (*keys.Certificate, error) {
	if len(issued.Items) > maxItems {
		return nil, fmt.Errorf("join: checking the answer: %d items", len(issued.Items))
	}
	own, err := keys.ParseCertificate(issued.Certificate)
	if err != nil {
		return nil, fmt.Errorf("join: checking the certificate: %w", err)
	}
	if err := authority.Verify(own, insideOf(own)); err != nil {
		return nil, fmt.Errorf("join: checking the certificate: %w", err)
	}
	if own.Node != a.Identity.ID() || own.WG != a.WG.Public() {
		return nil, fmt.Errorf("join: checking the certificate: it is for other keys")
	}
	return own, nil
}

// insideOf is a time at which the certificate is valid: a joiner has no clock that it could trust more.
func insideOf(c *keys.Certificate) time.Time { return c.NotBefore.Add(time.Second) }
