package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"time"

	"warren/keys/canon"
	"warren/keys/der"
	"warren/keys/secret"
)

// CA is a signer's key with its certificate: what a member needs to issue certificates and invites once the log lists
// the certificate.
type CA struct {
	secret secret.Ed25519
	signer Signer
}

// Signer is a signer as its certificate describes it. Nobody changes it.
type Signer struct {
	// Key is the SHA-256 of the SPKI of the signer's key; certificates name their issuer by it.
	Key [32]byte
	// Node is the member who signs.
	Node NodeID
	// Network and Domain are what it signs for, Prefixes the addresses it may give.
	Network  NetworkID
	Domain   string
	Prefixes []netip.Prefix
	// Certificate is the signer's own.
	Certificate *x509.Certificate
}

// Public returns the signer's public key.
func (s *Signer) Public() ed25519.PublicKey { return s.Certificate.PublicKey.(ed25519.PublicKey) }

// leeway is how long before its making a signer's certificate begins, for clocks that go wrong.
const leeway = 24 * time.Hour

// NewCA makes a signer's key and certificate for member node of the network net, which is called name and uses these
// prefixes (see Authority.Prefixes). It counts once an entry of the log adds it.
func NewCA(net NetworkID, name string, prefixes []netip.Prefix, node NodeID, now time.Time) (*CA, error) {
	key, err := secret.NewEd25519()
	if err != nil {
		return nil, err
	}
	return newCA(key, net, name, prefixes, node, now)
}

func newCA(key secret.Ed25519, net NetworkID, name string, prefixes []netip.Prefix, node NodeID, now time.Time) (*CA, error) {
	s := der.Signer{
		NotBefore: now.Add(-leeway).Truncate(time.Second), Public: key.Public(), Domain: name + topDomain,
		Prefixes: prefixes, Host: net.String(), URI: signerURI(net, node),
	}
	tbs, err := s.TBS()
	if err != nil {
		return nil, fmt.Errorf("keys: making a signer: %w", err)
	}
	b, err := der.Assemble(tbs, ed25519.Sign(key.Key(), tbs))
	if err != nil {
		return nil, fmt.Errorf("keys: making a signer: %w", err)
	}
	signer, err := parseSigner(b)
	if err != nil {
		return nil, fmt.Errorf("keys: making a signer: %w", err)
	}
	return &CA{secret: key, signer: *signer}, nil
}

func signerURI(net NetworkID, node NodeID) string {
	return "spiffe://" + net.String() + "/signer/" + node.String()
}

// parseSigner reads a signer's certificate. The error wraps ErrCertificate. The result shares no memory with b.
func parseSigner(b []byte) (*Signer, error) {
	x, d, err := der.ParseSigner(bytes.Clone(b))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrCertificate)
	}
	s := &Signer{Key: secret.Hash(d.Public), Domain: d.Domain, Prefixes: d.Prefixes, Certificate: x}
	name, internal := strings.CutSuffix(d.Domain, topDomain)
	s.Network, err = ParseNetworkID(d.Host)
	if err != nil || !internal || !ValidName(name) || !secret.Valid(d.Public) || d.Host != s.Network.String() {
		return nil, fmt.Errorf("network, domain or key: %w", ErrCertificate)
	}
	if s.Node, err = ParseNodeID(d.URI[max(0, len(d.URI)-len(s.Node.String())):]); err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrCertificate)
	}
	ip := slices.IndexFunc(d.Prefixes, func(p netip.Prefix) bool { return p.Addr().Is4() })
	if d.URI != signerURI(s.Network, s.Node) || len(d.Prefixes) != 2 || d.Prefixes[0] != s.Network.ULA() || ip != 1 ||
		!ValidIPRange(d.Prefixes[1]) {
		return nil, fmt.Errorf("URI or prefixes: %w", ErrCertificate)
	}
	return s, nil
}

// pemCertificate is the PEM type of a certificate, RFC 7468 section 5.
const pemCertificate = "CERTIFICATE"

// MarshalPEM returns the private key (PKCS#8) and the certificate, both in PEM.
func (ca *CA) MarshalPEM() ([]byte, error) {
	key, err := ca.secret.MarshalPEM()
	if err != nil {
		return nil, err
	}
	return append(key, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: ca.Certificate()})...), nil
}

// ParseCAPEM reads what MarshalPEM wrote. The error wraps ErrKey or ErrCertificate.
func ParseCAPEM(text []byte) (*CA, error) {
	key, err := secret.ParseEd25519(text, "a signer's key")
	if err != nil {
		return nil, err
	}
	_, rest := pem.Decode(text)
	block, _ := pem.Decode(rest)
	if block == nil || block.Type != pemCertificate {
		return nil, fmt.Errorf("keys: reading a signer: no certificate follows the key: %w", ErrCertificate)
	}
	s, err := parseSigner(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("keys: reading a signer: %w", err)
	}
	if !s.Public().Equal(key.Public()) {
		return nil, fmt.Errorf("keys: reading a signer: the certificate is of another key: %w", ErrKey)
	}
	return &CA{secret: key, signer: *s}, nil
}

// Format writes "(secret)" whatever the verb, also for a copy.
func (ca CA) Format(f fmt.State, r rune) { ca.secret.Format(f, r) }

// Certificate returns the signer's certificate in DER. The caller must not change it.
func (ca *CA) Certificate() []byte { return ca.signer.Certificate.Raw }

// Signer returns what the certificate says.
func (ca *CA) Signer() Signer { return ca.signer }

// Key returns the SPKI hash of the signer's key.
func (ca *CA) Key() [32]byte { return ca.signer.Key }

// Node returns the member who signs.
func (ca *CA) Node() NodeID { return ca.signer.Node }

// Issue returns a certificate in DER that says p of the owner of pub. It sets what the profile says it sets; if Node or
// Network are set already they must be right, and if Addrs is empty it is the IPv6 address alone. Times are cut to
// seconds. The error wraps ErrCertificate if p is outside the strict profile or the signer's constraints.
func (ca *CA) Issue(p Profile, pub ed25519.PublicKey) ([]byte, error) {
	b, err := ca.issue(p, pub)
	if err != nil {
		return nil, fmt.Errorf("keys: issuing a certificate for %.70q: %w: %w", p.Name, err, ErrCertificate)
	}
	return b, nil
}

func (ca *CA) issue(p Profile, pub ed25519.PublicKey) ([]byte, error) {
	if !secret.Valid(pub) {
		return nil, ErrKey
	}
	s := &ca.signer
	node := NodeIDOf(pub)
	if !p.Node.IsZero() && p.Node != node || !p.Network.IsZero() && p.Network != s.Network {
		return nil, errors.New("of another member or network")
	}
	p.Node, p.Network, p.Domain, p.Issuer = node, s.Network, s.Domain, s.Key
	p.NotBefore, p.NotAfter = p.NotBefore.UTC().Truncate(time.Second), p.NotAfter.UTC().Truncate(time.Second)
	if len(p.Addrs) == 0 {
		p.Addrs = []netip.Addr{p.ULA()}
	}
	if p.Serial == nil {
		var b [16]byte
		if _, err := rand.Read(b[:]); err != nil {
			return nil, err
		}
		b[0] = b[0]&0x7f | 0x40 // positive, always 16 bytes
		p.Serial = new(big.Int).SetBytes(b[:])
	}
	if v4 := p.IPv4(); v4.IsValid() && !s.Prefixes[1].Contains(v4) {
		return nil, fmt.Errorf("%s is outside %s", v4, s.Prefixes[1])
	}
	if p.NotBefore.Before(s.Certificate.NotBefore) {
		return nil, fmt.Errorf("it begins before the signer, %s", s.Certificate.NotBefore.Format(time.RFC3339))
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	tbs, err := p.tbs(pub)
	if err != nil {
		return nil, err
	}
	b, err := der.Assemble(tbs, ed25519.Sign(ca.secret.Key(), tbs))
	if err != nil {
		return nil, err
	}
	_, err = parseCertificate(b) // size, and that nobody will refuse it
	return b, err
}

// Request is a joiner's or a renewing member's wish for a certificate (PKCS #10, RFC 2986).
type Request struct {
	// Name is the wanted host name, a ValidName, or "".
	Name string
	// WG is the WireGuard key; its possession is proved apart, see ProveWG.
	WG WGPublic
	// Public is the identity key, which signed the request, and Node its id.
	Public ed25519.PublicKey
	Node   NodeID
}

// wireRequest is the value of the private extension of a request.
type wireRequest struct {
	WG []byte `cbor:"1,keyasint"`
}

// NewRequest returns a request for a certificate, signed by id, in DER. name may be "". The error wraps ErrObject.
func NewRequest(id *Identity, wg WGPublic, name string) ([]byte, error) {
	if wg.IsZero() || name != "" && !ValidName(name) {
		return nil, fmt.Errorf("keys: making a request for %.70q: %w", name, ErrObject)
	}
	value, err := canon.Marshal(wireRequest{wg[:]})
	if err != nil {
		return nil, fmt.Errorf("keys: making a request: %w", err)
	}
	return der.Request{DNS: name, Private: value}.Sign(id.Key())
}

// ParseRequest reads a request and checks its signature. The error wraps ErrObject.
func ParseRequest(b []byte) (*Request, error) {
	d, err := der.ParseRequest(b)
	if err != nil {
		return nil, fmt.Errorf("keys: reading a request: %w: %w", err, ErrObject)
	}
	var w wireRequest
	if err := canon.Unmarshal(d.Private, der.Limit, &w); err != nil {
		return nil, fmt.Errorf("keys: reading a request: %w: %w", err, ErrObject)
	}
	r := &Request{Name: d.DNS, Public: d.Public, Node: NodeIDOf(d.Public)}
	if !array(&r.WG, w.WG) || r.WG.IsZero() || r.Name != "" && !ValidName(r.Name) || !secret.Valid(r.Public) {
		return nil, fmt.Errorf("keys: reading a request: name or key: %w", ErrObject)
	}
	return r, nil
}
