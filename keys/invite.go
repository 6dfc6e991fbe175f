package keys

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"time"

	"warren/keys/canon"
	"warren/keys/secret"
)

// Grant is a signer's word that whoever proves the invite key may become a member.
type Grant struct {
	// Invite and Key are derived from the invite's seed.
	Invite InviteID
	Key    ed25519.PublicKey
	// Uses is how many hosts may join, at least 1.
	Uses uint32
	// Expires is exact to the second.
	Expires time.Time
	// Groups are given to the new member: valid names, ascending, at most MaxGroups.
	Groups []string
	// Name is the host name that the new member gets, or "" for the one it asks for.
	Name string
	// Approve says that a person must approve each joiner.
	Approve bool
	// Issuer is the signer; SignGrant sets it.
	Issuer NodeID
	// Issued is the signer's time, in seconds.
	Issued time.Time
}

// wireGrant is the payload of "warren/grant".
type wireGrant struct {
	Invite  []byte   `cbor:"1,keyasint"`
	Key     []byte   `cbor:"2,keyasint"`
	Uses    uint32   `cbor:"3,keyasint"`
	Expires uint64   `cbor:"4,keyasint"`
	Groups  []string `cbor:"5,keyasint,omitempty"`
	Name    string   `cbor:"6,keyasint,omitempty"`
	Approve bool     `cbor:"7,keyasint,omitempty"`
	Issuer  []byte   `cbor:"8,keyasint"`
	Issued  uint64   `cbor:"9,keyasint"`
}

const (
	kindGrant   = "warren/grant"
	kindReceipt = "warren/receipt"
)

// SignGrant returns g signed by ca. The error wraps ErrObject if g is not as documented.
func SignGrant(g Grant, ca *CA) ([]byte, error) {
	g.Issuer = ca.Node()
	if !g.valid() {
		return nil, fmt.Errorf("keys: signing %s: %w", kindGrant, ErrObject)
	}
	return ca.sign(kindGrant, g.wire())
}

func (g *Grant) wire() wireGrant {
	return wireGrant{
		Invite: g.Invite[:], Key: g.Key, Uses: g.Uses, Expires: seconds(g.Expires), Groups: g.Groups, Name: g.Name,
		Approve: g.Approve, Issuer: g.Issuer[:], Issued: seconds(g.Issued),
	}
}

// PeekGrant returns what b claims to grant, after all checks but the signature.
func PeekGrant(b []byte) (*Grant, error) {
	_, g, err := readGrant(b)
	return g, err
}

// ParseGrant reads a grant that a signer at the head of a must have signed. Whether it is expired or used up is the
// caller's to judge. The error wraps ErrUnknownSigner if the signer is none.
func ParseGrant(b []byte, a *Authority) (*Grant, error) {
	o, g, err := readGrant(b)
	if err != nil {
		return nil, err
	}
	if err := a.verifySigned(o, g.Issuer); err != nil {
		return nil, err
	}
	return g, nil
}

func readGrant(b []byte) (*canon.Object, *Grant, error) {
	var w wireGrant
	o, err := open(b, kindGrant, &w)
	if err != nil {
		return nil, nil, err
	}
	g := &Grant{
		Key: w.Key, Uses: w.Uses, Expires: instant(w.Expires), Groups: w.Groups, Name: w.Name, Approve: w.Approve,
		Issued: instant(w.Issued),
	}
	ok := array(&g.Invite, w.Invite) && array(&g.Issuer, w.Issuer) && w.Expires <= maxSeconds && w.Issued <= maxSeconds
	if !ok || !g.valid() {
		return nil, nil, fmt.Errorf("keys: reading %s: %w", kindGrant, ErrObject)
	}
	return o, g, nil
}

func (g *Grant) valid() bool {
	return !g.Invite.IsZero() && !g.Issuer.IsZero() && secret.Valid(g.Key) && g.Uses > 0 && validLabels(g.Groups, MaxGroups) &&
		(g.Name == "" || ValidName(g.Name))
}

// Receipt is a signer's word that an invite made a host a member; it is written before the certificate.
type Receipt struct {
	// Invite and Node are together the key of a receipt: one host uses an invite once.
	Invite InviteID
	Node   NodeID
	// Name and Addrs (IPv6, then at most one IPv4) are what the member got.
	Name  string
	Addrs []netip.Addr
	// At is the signer's time, in seconds.
	At time.Time
	// Signer is who wrote it; SignReceipt sets it.
	Signer NodeID
}

// wireReceipt is the payload of "warren/receipt".
type wireReceipt struct {
	Invite []byte   `cbor:"1,keyasint"`
	Node   []byte   `cbor:"2,keyasint"`
	Name   string   `cbor:"3,keyasint"`
	Addrs  [][]byte `cbor:"4,keyasint"`
	At     uint64   `cbor:"5,keyasint"`
	Signer []byte   `cbor:"6,keyasint"`
}

// Subject returns the SHA-256 of invite and node id, the name under which a receipt is stored.
func (r *Receipt) Subject() [32]byte { return sha256.Sum256(append(r.Invite[:], r.Node[:]...)) }

// SignReceipt returns r signed by ca. The error wraps ErrObject if r is not as documented.
func SignReceipt(r Receipt, ca *CA) ([]byte, error) {
	r.Signer = ca.Node()
	if !r.valid() {
		return nil, fmt.Errorf("keys: signing %s: %w", kindReceipt, ErrObject)
	}
	return ca.sign(kindReceipt, r.wire())
}

func (r *Receipt) wire() wireReceipt {
	w := wireReceipt{Invite: r.Invite[:], Node: r.Node[:], Name: r.Name, At: seconds(r.At), Signer: r.Signer[:]}
	for _, a := range r.Addrs {
		w.Addrs = append(w.Addrs, a.AsSlice())
	}
	return w
}

// PeekReceipt returns what b claims to confirm, after all checks but the signature.
func PeekReceipt(b []byte) (*Receipt, error) {
	_, r, err := readReceipt(b)
	return r, err
}

// ParseReceipt reads a receipt that a signer at the head of a must have signed. The error wraps ErrUnknownSigner if the
// signer is none.
func ParseReceipt(b []byte, a *Authority) (*Receipt, error) {
	o, r, err := readReceipt(b)
	if err != nil {
		return nil, err
	}
	if err := a.verifySigned(o, r.Signer); err != nil {
		return nil, err
	}
	return r, nil
}

func readReceipt(b []byte) (*canon.Object, *Receipt, error) {
	var w wireReceipt
	o, err := open(b, kindReceipt, &w)
	if err != nil {
		return nil, nil, err
	}
	r := &Receipt{Name: w.Name, At: instant(w.At)}
	ok := array(&r.Invite, w.Invite) && array(&r.Node, w.Node) && array(&r.Signer, w.Signer) && w.At <= maxSeconds
	for _, b := range w.Addrs {
		a, good := netip.AddrFromSlice(b)
		ok = ok && good
		r.Addrs = append(r.Addrs, a)
	}
	if !ok || !r.valid() {
		return nil, nil, fmt.Errorf("keys: reading %s: %w", kindReceipt, ErrObject)
	}
	return o, r, nil
}

func (r *Receipt) valid() bool {
	return !r.Invite.IsZero() && !r.Node.IsZero() && !r.Signer.IsZero() && ValidName(r.Name) && validAddrs(r.Addrs)
}

// validAddrs reports whether a holds one IPv6 address and then at most one IPv4 address.
func validAddrs(a []netip.Addr) bool {
	return (len(a) == 1 || len(a) == 2 && a[1].Is4()) && a[0].Is6() && !a[0].Is4In6() && a[0].Zone() == ""
}
