package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"time"

	"warren/keys/canon"
	"warren/keys/der"
	"warren/keys/name"
	"warren/keys/secret"
)

// Limits of a certificate.
const (
	MaxCertificate = der.Limit // bytes
	MaxGroups      = 16
	MaxRoutes      = 16
	MaxRoles       = 8
)

var (
	// ErrCertificate is wrapped by errors about bytes outside the strict profile.
	ErrCertificate = errors.New("not a certificate of the strict profile")
	// ErrExpired says that the time is after the certificate's last second, and everything else about it is right.
	ErrExpired = errors.New("the certificate has expired")
	// ErrNotYetValid says that the time is before the certificate's first second, and everything else about it is right.
	ErrNotYetValid = errors.New("the certificate is not valid yet")
	// ErrUnknownSigner says that no signer at the head of the log signed this.
	ErrUnknownSigner = errors.New("not by a signer of this network")
	// ErrNetwork is wrapped by errors about what is of another network.
	ErrNetwork = errors.New("of another network")
)

// Profile is what a node certificate says.
type Profile struct {
	// Node is the SHA-256 of the identity key's SPKI. CA.Issue sets it.
	Node NodeID
	// Network is the network. CA.Issue sets it.
	Network NetworkID
	// Name is the host's name, a ValidName.
	Name string
	// Domain is the network's DNS suffix, such as home.internal. CA.Issue sets it.
	Domain string
	// Addrs are the overlay addresses: Node.Addr(Network), then at most one IPv4 address.
	Addrs []netip.Addr
	// WG is the member's WireGuard key.
	WG WGPublic
	// Groups and Roles are valid names, ascending, at most MaxGroups and MaxRoles.
	Groups []string
	// Routes are masked prefixes that the member may carry, ascending as netip.Prefix.Compare says, at most MaxRoutes.
	Routes []netip.Prefix
	Roles  []string
	// Since is when the member joined, in seconds; it is copied at renewal and decides who is senior.
	Since time.Time
	// NotBefore and NotAfter are in seconds, both included.
	NotBefore, NotAfter time.Time
	// Serial is positive and at most 16 bytes. If nil, CA.Issue makes a random one.
	Serial *big.Int
	// Issuer is the SPKI hash of the signer's key. CA.Issue sets it.
	Issuer [32]byte
}

// wireProfile is the value of the private extension.
type wireProfile struct {
	WG     []byte       `cbor:"1,keyasint"`
	Groups []string     `cbor:"2,keyasint,omitempty"`
	Routes []wirePrefix `cbor:"3,keyasint,omitempty"`
	Roles  []string     `cbor:"4,keyasint,omitempty"`
	Since  uint64       `cbor:"5,keyasint"`
}

type wirePrefix struct {
	_    struct{} `cbor:",toarray"`
	Addr []byte
	Bits uint8
}

// Certificate is a parsed node certificate. Nobody changes it.
type Certificate struct {
	Profile
	// DER is the certificate itself.
	DER []byte
	// X509 is the same as the standard library sees it; our extension is not among the unhandled ones.
	X509 *x509.Certificate
}

// ParseCertificate reads a node certificate of the strict profile. It makes no trust decision: see Authority.Verify.
// The error wraps ErrCertificate. The result shares no memory with b.
func ParseCertificate(b []byte) (*Certificate, error) {
	c, err := parseCertificate(bytes.Clone(b))
	if err != nil {
		return nil, fmt.Errorf("keys: reading a certificate: %w: %w", err, ErrCertificate)
	}
	return c, nil
}

func parseCertificate(b []byte) (*Certificate, error) {
	x, l, err := der.ParseLeaf(b)
	if err != nil {
		return nil, err
	}
	c := &Certificate{DER: b, X509: x}
	c.Profile = Profile{
		Node: NodeIDOf(l.Public), Addrs: l.Addrs, NotBefore: l.NotBefore, NotAfter: l.NotAfter, Serial: l.Serial,
		Issuer: l.Issuer,
	}
	c.Name, c.Domain, _ = strings.Cut(l.DNS, ".")
	if c.Network, err = ParseNetworkID(x.URIs[0].Host); err != nil || !secret.Valid(l.Public) {
		return nil, errors.New("key or network")
	}
	if err := c.readPrivate(l.Private); err != nil {
		return nil, err
	}
	if l.URI != c.uri() {
		return nil, errors.New("the URI names another member")
	}
	return c, c.check()
}

// readPrivate reads the private extension.
func (p *Profile) readPrivate(b []byte) error {
	var w wireProfile
	if err := canon.Unmarshal(b, MaxCertificate, &w); err != nil {
		return err
	}
	ok := array(&p.WG, w.WG) && w.Since <= maxSeconds
	p.Groups, p.Roles, p.Since = w.Groups, w.Roles, instant(w.Since)
	for _, r := range w.Routes {
		a, good := netip.AddrFromSlice(r.Addr)
		ok = ok && good
		p.Routes = append(p.Routes, netip.PrefixFrom(a, int(r.Bits)))
	}
	if !ok {
		return errors.New("private extension")
	}
	return nil
}

// check says what about p is outside the profile.
func (p *Profile) check() error {
	network, internal := strings.CutSuffix(p.Domain, topDomain)
	switch {
	case !ValidName(p.Name):
		return fmt.Errorf("host name %.70q", p.Name)
	case !internal || !ValidName(network):
		return fmt.Errorf("domain %.80q", p.Domain)
	case !validAddrs(p.Addrs) || p.Addrs[0] != p.Node.Addr(p.Network):
		return errors.New("addresses")
	case p.WG.IsZero():
		return errors.New("no WireGuard key")
	case !validLabels(p.Groups, MaxGroups) || !validLabels(p.Roles, MaxRoles):
		return errors.New("groups or roles")
	case p.Serial == nil || !validSerial(p.Serial):
		return errors.New("serial number")
	case p.NotAfter.Before(p.NotBefore) || p.NotBefore.Unix() < 0 || p.NotAfter.After(der.Forever()):
		return errors.New("times")
	case len(p.Routes) > MaxRoutes:
		return errors.New("too many routes")
	}
	for i, r := range p.Routes {
		if !r.IsValid() || r != r.Masked() || r.Addr().Is4In6() || i > 0 && p.Routes[i-1].Compare(r) >= 0 {
			return fmt.Errorf("route %s", r)
		}
	}
	return nil
}

// validLabels reports whether s holds at most this many names, ascending.
func validLabels(s []string, most int) bool {
	for i, l := range s {
		if !name.ValidLabel(l) || i > 0 && s[i-1] >= l {
			return false
		}
	}
	return len(s) <= most
}

func validSerial(n *big.Int) bool {
	const longest = 128 // bits
	return n.Sign() > 0 && n.BitLen() <= longest
}

// topDomain is the suffix of every network's domain.
const topDomain = ".internal"

// tbs returns the bytes to be signed for the owner of pub.
func (p *Profile) tbs(pub ed25519.PublicKey) ([]byte, error) {
	w := wireProfile{WG: p.WG[:], Groups: p.Groups, Roles: p.Roles, Since: seconds(p.Since)}
	for _, r := range p.Routes {
		w.Routes = append(w.Routes, wirePrefix{Addr: r.Addr().AsSlice(), Bits: uint8(r.Bits())})
	}
	private, err := canon.Marshal(w)
	if err != nil {
		return nil, err
	}
	return der.Leaf{
		Serial: p.Serial, NotBefore: p.NotBefore, NotAfter: p.NotAfter, Public: pub, Issuer: p.Issuer, DNS: p.FQDN(),
		Addrs: p.Addrs, URI: p.uri(), Private: private,
	}.TBS()
}

// uri is the SPIFFE id.
func (p *Profile) uri() string { return "spiffe://" + p.Network.String() + "/node/" + p.Node.String() }

// FQDN returns the host's full name, such as nas.home.internal.
func (p *Profile) FQDN() string { return p.Name + "." + p.Domain }

// ULA returns the IPv6 overlay address.
func (p *Profile) ULA() netip.Addr { return p.Node.Addr(p.Network) }

// IPv4 returns the IPv4 overlay address, or the zero Addr.
func (p *Profile) IPv4() netip.Addr {
	if len(p.Addrs) == 2 {
		return p.Addrs[1]
	}
	return netip.Addr{}
}

// Public returns the member's identity key.
func (c *Certificate) Public() ed25519.PublicKey { return c.X509.PublicKey.(ed25519.PublicKey) }

// SeniorTo reports whether c's member joined before o's, so that c keeps a name or an address that both have. Members
// that joined in the same second are told apart by their ids.
func (c *Certificate) SeniorTo(o *Certificate) bool {
	if !c.Since.Equal(o.Since) {
		return c.Since.Before(o.Since)
	}
	return c.Node.Compare(o.Node) < 0
}

// Verify checks that c is a member's certificate at time now: of this network, signed by a signer at the head of the
// log (or kept by the entry that removed its signer), within the signer's name constraints, and valid at now. The error
// wraps ErrNetwork, ErrUnknownSigner, ErrCertificate, or, if nothing but the time is wrong, ErrExpired or
// ErrNotYetValid. Revocations are the caller's to check.
func (a *Authority) Verify(c *Certificate, now time.Time) error {
	if c.Network != a.Network {
		return fmt.Errorf("keys: verifying %s: %w", c.Node, ErrNetwork)
	}
	s, ok := a.Signer(c.Issuer)
	if !ok {
		s, ok = a.keptBy(c.Issuer, c.DER)
	}
	if !ok {
		return fmt.Errorf("keys: verifying %s: %w", c.Node, ErrUnknownSigner)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate)
	_, err := c.X509.Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: x509.NewCertPool(),
		CurrentTime:   c.NotBefore,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("keys: verifying %s: %w: %w", c.Node, err, ErrUnknownSigner)
	case err != nil:
		return fmt.Errorf("keys: verifying %s: %w: %w", c.Node, err, ErrCertificate)
	case now.Before(c.NotBefore):
		return fmt.Errorf("keys: verifying %s: from %s: %w", c.Node, c.NotBefore.Format(time.RFC3339), ErrNotYetValid)
	case now.Truncate(time.Second).After(c.NotAfter):
		return fmt.Errorf("keys: verifying %s: until %s: %w", c.Node, c.NotAfter.Format(time.RFC3339), ErrExpired)
	}
	return nil
}
