package der

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Limit is the largest certificate or request in bytes.
const Limit = 1024

// ErrProfile is wrapped by errors about bytes that this package would not have written.
var ErrProfile = errors.New("not of the strict profile")

// ParseLeaf reads a node certificate that is exactly what Leaf writes, but for the value of the private extension, which
// the caller must check. That extension is taken off the unhandled critical ones, so that x509's Verify accepts it. The
// error wraps ErrProfile. The result may share memory with b.
func ParseLeaf(b []byte) (*x509.Certificate, Leaf, error) {
	x, err := parse(b)
	if err != nil {
		return nil, Leaf{}, fmt.Errorf("der: reading a certificate: %w: %w", err, ErrProfile)
	}
	l := Leaf{
		Serial: x.SerialNumber, NotBefore: x.NotBefore, NotAfter: x.NotAfter, Public: public(x.PublicKey),
		Private: private(x.Extensions),
	}
	if len(x.DNSNames) == 1 && len(x.URIs) == 1 && len(x.AuthorityKeyId) == len(l.Issuer) {
		l.DNS, l.URI, l.Issuer = x.DNSNames[0], x.URIs[0].String(), [32]byte(x.AuthorityKeyId)
	}
	for _, ip := range x.IPAddresses {
		a, _ := netip.AddrFromSlice(ip)
		l.Addrs = append(l.Addrs, a)
	}
	if tbs, err := l.TBS(); err != nil || !bytes.Equal(tbs, x.RawTBSCertificate) {
		return nil, Leaf{}, fmt.Errorf("der: reading a certificate: a field or extension differs: %w", ErrProfile)
	}
	x.UnhandledCriticalExtensions = nil // the comparison left only ours
	return x, l, nil
}

// ParseSigner reads a signer's certificate that is exactly what Signer writes, and checks that it signed itself. The
// error wraps ErrProfile. The result may share memory with b.
func ParseSigner(b []byte) (*x509.Certificate, Signer, error) {
	x, err := parse(b)
	if err != nil {
		return nil, Signer{}, fmt.Errorf("der: reading a signer's certificate: %w: %w", err, ErrProfile)
	}
	s := Signer{NotBefore: x.NotBefore, Public: public(x.PublicKey)}
	if len(x.URIs) == 1 && len(x.PermittedDNSDomains) == 1 && len(x.PermittedURIDomains) == 1 {
		s.URI, s.Domain, s.Host = x.URIs[0].String(), x.PermittedDNSDomains[0], x.PermittedURIDomains[0]
	}
	for _, n := range x.PermittedIPRanges {
		a, _ := netip.AddrFromSlice(n.IP)
		ones, _ := n.Mask.Size()
		s.Prefixes = append(s.Prefixes, netip.PrefixFrom(a, ones))
	}
	if tbs, err := s.TBS(); err != nil || !bytes.Equal(tbs, x.RawTBSCertificate) {
		return nil, Signer{}, fmt.Errorf("der: reading a signer's certificate: a field or extension differs: %w", ErrProfile)
	}
	if !ed25519.Verify(s.Public, x.RawTBSCertificate, x.Signature) {
		return nil, Signer{}, fmt.Errorf("der: reading a signer's certificate: not signed by itself: %w", ErrProfile)
	}
	return x, s, nil
}

// parse reads a certificate with an Ed25519 key and signature, in the one encoding of what is around the TBSCertificate.
func parse(b []byte) (*x509.Certificate, error) {
	if len(b) > Limit {
		return nil, fmt.Errorf("%d bytes, at most %d", len(b), Limit)
	}
	x, err := x509.ParseCertificate(b)
	if err != nil {
		return nil, err
	}
	if public(x.PublicKey) == nil || x.SignatureAlgorithm != x509.PureEd25519 || len(x.Signature) != ed25519.SignatureSize {
		return nil, errors.New("not Ed25519")
	}
	again, err := Assemble(x.RawTBSCertificate, x.Signature)
	if err != nil || !bytes.Equal(again, b) {
		return nil, errors.New("another encoding")
	}
	return x, nil
}

func public(key any) ed25519.PublicKey {
	pub, _ := key.(ed25519.PublicKey)
	return pub
}

func private(list []pkix.Extension) []byte {
	i := slices.IndexFunc(list, func(e pkix.Extension) bool { return e.Id.Equal(Private()) })
	if i < 0 {
		return nil
	}
	return list[i].Value
}
