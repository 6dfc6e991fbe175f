// Package der writes the exact bytes of the two certificates that exist in a network, a signer's and a node's, and of the
// request for the latter. Every field that is not a parameter here is fixed, so a reader that parsed a certificate with
// crypto/x509 writes it again and compares: what differs in one byte is refused. It is no general X.509 library.
//
// Both are X.509 v3 (RFC 5280) with Ed25519 keys and signatures (RFC 8410). Their extensions, in this order:
//
//	node    keyUsage (critical): digitalSignature
//	        extKeyUsage: serverAuth, clientAuth
//	        authorityKeyIdentifier: the SHA-256 of the signer's SubjectPublicKeyInfo (RFC 7093 section 2, method 4)
//	        subjectAltName (critical): one DNS name, one IPv6 and at most one IPv4 address, one URI
//	        2.25.48574766 (critical): opaque here
//	signer  keyUsage (critical): keyCertSign
//	        basicConstraints (critical): CA, pathLenConstraint 0
//	        subjectKeyIdentifier: the SHA-256 of its own SubjectPublicKeyInfo
//	        subjectAltName: one URI
//	        nameConstraints (critical): permitted are one DNS suffix, IP prefixes and one URI host
//
// A node has an empty subject; every signer has the same, CN=warren signer, and is told from others by its key. A
// signer's certificate expires never (99991231235959Z, RFC 5280 section 4.1.2.5): the log says when it ends.
//
// A request for a node certificate is treated alike. It is a PKCS #10 (RFC 2986), version 0, with an empty subject and one
// attribute, extensionRequest (RFC 2985 section 5.4.2), that asks for these extensions in this order, none critical:
//
//	subjectAltName: one DNS name, or the extension is not there
//	2.25.48574766: opaque here
package der

import (
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net/netip"
	"time"
)

// Leaf is what varies in a node certificate.
type Leaf struct {
	Serial              *big.Int
	NotBefore, NotAfter time.Time
	Public              []byte // Ed25519
	Issuer              [32]byte
	DNS                 string
	Addrs               []netip.Addr
	URI                 string
	Private             []byte // value of the private extension
}

// Signer is what varies in a signer's certificate. Its serial number is made of its key.
type Signer struct {
	NotBefore time.Time
	Public    []byte // Ed25519
	URI       string
	Domain    string // permitted DNS names: this and all below
	Prefixes  []netip.Prefix
	Host      string // permitted host of URIs
}

// Private is the OID of the private extension, an arc of joint-iso-itu-t(2) uuid(25); the last arc is the first
// 31 bits of SHA-256("warren node certificate") (encoding/asn1 limits arcs to 31 bits).
func Private() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 25, 48574766} }

// Forever is the notAfter of what does not expire, RFC 5280 section 4.1.2.5.
func Forever() time.Time { return time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }

type tbs struct {
	Version    int `asn1:"explicit,tag:0"`
	Serial     *big.Int
	Algorithm  pkix.AlgorithmIdentifier
	Issuer     pkix.RDNSequence
	Validity   validity
	Subject    pkix.RDNSequence
	Key        spki
	Extensions []pkix.Extension `asn1:"explicit,tag:3"`
}

type validity struct{ NotBefore, NotAfter time.Time }

type spki struct {
	Algorithm pkix.AlgorithmIdentifier
	Key       asn1.BitString
}

type certificate struct {
	TBS       asn1.RawValue
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

// generalName is GeneralName, RFC 5280 section 4.2.1.6: the context tag says which.
type generalName = asn1.RawValue

const (
	tagDNS = 2
	tagURI = 6
	tagIP  = 7
)

type subtree struct{ Base generalName }

type constraints struct {
	Permitted []subtree `asn1:"tag:0"`
}

type basic struct {
	CA      bool
	PathLen int
}

type authorityKey struct {
	ID []byte `asn1:"tag:0"`
}

// ext makes id-ce extensions, 2.5.29.n.
func ext(n int, critical bool, value any) (pkix.Extension, error) {
	b, err := asn1.Marshal(value)
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, n}, Critical: critical, Value: b}, err
}

func ed25519ID() pkix.AlgorithmIdentifier {
	return pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 101, 112}}
}

func signerName() pkix.RDNSequence { return pkix.Name{CommonName: "warren signer"}.ToRDNSequence() }

func name(tag int, b []byte) generalName {
	return generalName{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: b}
}

// TBS returns the TBSCertificate of a node, the bytes that the signer signs.
func (l Leaf) TBS() ([]byte, error) {
	names := []generalName{name(tagDNS, []byte(l.DNS))}
	for _, a := range l.Addrs {
		names = append(names, name(tagIP, a.AsSlice()))
	}
	names = append(names, name(tagURI, []byte(l.URI)))
	usage := []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 1}, {1, 3, 6, 1, 5, 5, 7, 3, 2}}
	exts, err := extensions(
		extension{15, true, asn1.BitString{Bytes: []byte{0x80}, BitLength: 1}},
		extension{37, false, usage},
		extension{35, false, authorityKey{l.Issuer[:]}},
		extension{17, true, names},
	)
	if err != nil {
		return nil, err
	}
	return tbs{
		Serial: l.Serial, Issuer: signerName(), Validity: validity{l.NotBefore.UTC(), l.NotAfter.UTC()}, Key: key(l.Public),
		Extensions: append(exts, pkix.Extension{Id: Private(), Critical: true, Value: l.Private}),
	}.marshal()
}

// TBS returns the TBSCertificate of a signer, the bytes that it signs itself.
func (s Signer) TBS() ([]byte, error) {
	public, err := asn1.Marshal(key(s.Public))
	if err != nil {
		return nil, fmt.Errorf("der: writing a key: %w", err)
	}
	id := sha256.Sum256(public)
	permitted := []subtree{{name(tagDNS, []byte(s.Domain))}}
	for _, p := range s.Prefixes {
		permitted = append(permitted, subtree{name(tagIP, append(p.Addr().AsSlice(), mask(p)...))})
	}
	permitted = append(permitted, subtree{name(tagURI, []byte(s.Host))})
	exts, err := extensions(
		extension{15, true, asn1.BitString{Bytes: []byte{0x04}, BitLength: 6}},
		extension{19, true, basic{CA: true}},
		extension{14, false, id[:]},
		extension{17, false, []generalName{name(tagURI, []byte(s.URI))}},
		extension{30, true, constraints{permitted}},
	)
	if err != nil {
		return nil, err
	}
	serial := append([]byte{}, id[:16]...)
	serial[0] = serial[0]&0x7f | 0x40 // positive, always 16 bytes
	return tbs{
		Serial: new(big.Int).SetBytes(serial), Issuer: signerName(), Subject: signerName(),
		Validity: validity{s.NotBefore.UTC(), Forever()}, Key: key(s.Public), Extensions: exts,
	}.marshal()
}

// mask returns the bits of p as an address, such as 255.0.0.0 for a /8.
func mask(p netip.Prefix) []byte {
	m := make([]byte, p.Addr().BitLen()/8)
	for i := range max(p.Bits(), 0) {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return m
}

type extension struct {
	n        int
	critical bool
	value    any
}

func extensions(list ...extension) ([]pkix.Extension, error) {
	out := make([]pkix.Extension, 0, len(list)+1)
	for _, e := range list {
		x, err := ext(e.n, e.critical, e.value)
		if err != nil {
			return nil, fmt.Errorf("der: writing extension 2.5.29.%d: %w", e.n, err)
		}
		out = append(out, x)
	}
	return out, nil
}

func key(public []byte) spki {
	return spki{ed25519ID(), asn1.BitString{Bytes: public, BitLength: 8 * len(public)}}
}

func (t tbs) marshal() ([]byte, error) {
	t.Version = 2 // v3
	t.Algorithm = ed25519ID()
	b, err := asn1.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("der: writing a certificate: %w", err)
	}
	return b, nil
}

// Assemble returns the certificate made of a TBSCertificate and the signature over it.
func Assemble(tbs, signature []byte) ([]byte, error) {
	b, err := asn1.Marshal(certificate{
		TBS: asn1.RawValue{FullBytes: tbs}, Algorithm: ed25519ID(),
		Signature: asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
	if err != nil {
		return nil, fmt.Errorf("der: writing a certificate: %w", err)
	}
	return b, nil
}
