package join

import (
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"warren/keys"
)

// backdate is by how much a certificate begins before the signer's net time, for hosts whose clocks differ a little.
const backdate = time.Hour

// Registry is what a signer knows of its network.
type Registry interface {
	// Grant returns the invite's grant, nil if there is none.
	Grant(invite keys.InviteID) *keys.Grant
	// Receipts returns what was redeemed with the invite so far.
	Receipts(invite keys.InviteID) []*keys.Receipt
	// Owner returns who holds a name, or was promised it; false: the name is free.
	Owner(name string) (keys.NodeID, bool)
	// Taken reports whether an address belongs, or is promised, to somebody other than node.
	Taken(addr netip.Addr, node keys.NodeID) bool
	// Member reports whether the node is a member now.
	Member(node keys.NodeID) bool
	// Gone reports whether the node left or was revoked: it is never a member again.
	Gone(node keys.NodeID) bool
	// Commit stores the receipt so that it survives a power cut, before it returns.
	Commit(r *keys.Receipt, signed []byte) error
}

// Signer decides over join requests. Redeem must not run twice at the same time for one Registry.
type Signer struct {
	Authority *keys.Authority
	CA        *keys.CA
	Node      keys.NodeID
	WG        keys.WGPrivate
	Registry  Registry
	Now       func() time.Time // net time
}

// Judge tells whether a joiner who proved an invite may go on; nil is yes. A joiner that has a receipt may always
// repeat its request.
func Judge(g *keys.Grant, receipts []*keys.Receipt, joiner keys.NodeID, now time.Time) *Refusal {
	if slices.ContainsFunc(receipts, func(r *keys.Receipt) bool { return r.Node == joiner }) {
		return nil
	}
	ask := "ask for a new one: warren invite"
	switch {
	case g.Approve:
		return &Refusal{Code: CodePending, Text: "the request waits for approval", Hint: "ask a signer to approve it"}
	case now.After(g.Expires):
		at := g.Expires.UTC().Format(time.RFC3339)
		return &Refusal{Code: CodeExpired, Text: "the join code expired at " + at, Hint: ask}
	case uint64(len(receipts)) >= uint64(g.Uses):
		return &Refusal{Code: CodeUsed, Text: "the join code was used already", Hint: ask}
	}
	return nil
}

// Redeem checks everything by itself, writes the receipt and only then signs: a repeated request gives the same member
// again, and a crash in between loses no use and admits nobody twice. A no is a *Refusal.
func (s *Signer) Redeem(r *Redemption) (*Issued, error) {
	grant := s.Registry.Grant(r.Invite)
	csr, err := keys.ParseRequest(r.CSR)
	if err != nil || grant == nil {
		return nil, refused()
	}
	signed := askBytes(s.Authority.Network, r.Invite, r.CSR, r.Exporter, r.Member)
	if !ed25519.Verify(grant.Key, signed, r.Signature) ||
		!keys.CheckWG(s.WG, csr.WG, proofContext(r.CSR, r.Exporter), r.Proof) {
		return nil, refused()
	}
	if _, ok := s.Authority.Signer(s.CA.Key()); !ok {
		return nil, &Refusal{
			Code: CodeNoSigner, Text: "the member that was asked to sign is no signer any more",
			Hint: "try again when another signer is online",
		}
	}
	if s.Registry.Gone(csr.Node) {
		return nil, &Refusal{
			Code: CodeRevoked, Text: "this host's key was expelled from the network, or left it",
			Hint: "to come back it needs new keys: warren leave, then join with a new code",
		}
	}
	now := s.Now()
	receipts := s.Registry.Receipts(r.Invite)
	if refusal := Judge(grant, receipts, csr.Node, now); refusal != nil {
		return nil, refusal
	}
	var receipt *keys.Receipt
	if i := slices.IndexFunc(receipts, func(r *keys.Receipt) bool { return r.Node == csr.Node }); i >= 0 {
		receipt = receipts[i]
	} else if receipt, err = s.admit(grant, csr, r.Explicit, now); err != nil {
		return nil, err
	}
	der, err := s.CA.Issue(keys.Profile{
		Node: csr.Node, Network: s.Authority.Network, Name: receipt.Name, Addrs: receipt.Addrs, WG: csr.WG,
		Groups: grant.Groups, Since: receipt.At, NotBefore: now.Add(-backdate), NotAfter: now.Add(s.life()),
	}, csr.Public)
	if err != nil {
		return nil, fmt.Errorf("join: issuing the certificate: %w", err)
	}
	return &Issued{Certificate: der, Unix: now.Unix()}, nil
}

// life is how long certificates are valid.
func (s *Signer) life() time.Duration {
	if d := s.Authority.Policy.Lifetime; d > 0 {
		return d
	}
	return keys.DefaultLifetime
}

// admit gives the newcomer its name and addresses and commits them.
func (s *Signer) admit(g *keys.Grant, csr *keys.Request, explicit bool, now time.Time) (*keys.Receipt, error) {
	if s.Registry.Member(csr.Node) {
		return nil, &Refusal{
			Code: CodeFailed, Text: "this host's key belongs to a member already", Hint: "a copied host needs keys of its own",
		}
	}
	wish := csr.Name
	if g.Name != "" {
		wish = g.Name
	}
	name, err := s.name(wish, explicit || g.Name != "", csr.Node)
	if err != nil {
		return nil, err
	}
	receipt := &keys.Receipt{
		Invite: g.Invite, Node: csr.Node, Name: name, At: now, Signer: s.Node,
		Addrs: addresses(s.Authority, csr.Node, func(a netip.Addr) bool { return s.Registry.Taken(a, csr.Node) }),
	}
	b, err := keys.SignReceipt(*receipt, s.CA)
	if err != nil {
		return nil, err
	}
	if err := s.Registry.Commit(receipt, b); err != nil {
		return nil, fmt.Errorf("join: writing the receipt: %w", err)
	}
	return receipt, nil
}

// name returns a free name: the one wished for or, unless that one and no other is wanted, the next with a number.
func (s *Signer) name(wish string, exactly bool, node keys.NodeID) (string, error) {
	if !keys.ValidName(wish) {
		return "", &Refusal{
			Code: CodeBadName, Text: fmt.Sprintf("%q cannot be a host's name", wish),
			Hint: "a name has letters a-z, digits and inner hyphens, at most 63 characters",
		}
	}
	free := func(name string) bool {
		owner, taken := s.Registry.Owner(name)
		return !taken || owner == node
	}
	if free(wish) {
		return wish, nil
	}
	if exactly {
		return "", &Refusal{
			Code: CodeName, Text: fmt.Sprintf("the name %q is taken", wish), Hint: "choose another with --hostname; the code stays good",
		}
	}
	for i := 2; i < 10000; i++ {
		suffix := fmt.Sprintf("-%d", i)
		name := wish[:min(len(wish), maxName-len(suffix))] + suffix
		if keys.ValidName(name) && free(name) {
			return name, nil
		}
	}
	return "", &Refusal{Code: CodeName, Text: fmt.Sprintf("the name %q is taken", wish), Hint: "choose another with --hostname"}
}

// maxAddressTries bounds the search for a free IPv4 address: a member without one has IPv6.
const maxAddressTries = 256

// addresses returns the addresses of a new member, IPv6 first: the one that follows from its key and the first free
// IPv4 candidate of the network's range, if there is one.
func addresses(a *keys.Authority, node keys.NodeID, taken func(netip.Addr) bool) []netip.Addr {
	addrs := []netip.Addr{node.Addr(a.Network)}
	for i := range uint32(maxAddressTries) {
		v4 := keys.IPv4Candidate(a.Network, node, i, a.IPRange)
		if v4.IsValid() && !taken(v4) {
			return append(addrs, v4)
		}
	}
	return addrs
}
