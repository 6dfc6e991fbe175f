package der

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
)

// Request is what varies in a request for a node certificate.
type Request struct {
	Public  ed25519.PublicKey
	DNS     string // or ""
	Private []byte // value of the private extension
}

type requestInfo struct {
	Version    int
	Subject    pkix.RDNSequence
	Key        spki
	Attributes []attribute `asn1:"tag:0,set"`
}

type attribute struct {
	ID     asn1.ObjectIdentifier
	Values [][]pkix.Extension `asn1:"set"`
}

// info returns the CertificationRequestInfo, the bytes that the wishing one signs.
func (r Request) info() ([]byte, error) {
	var exts []pkix.Extension
	if r.DNS != "" {
		names, err := extensions(extension{17, false, []generalName{name(tagDNS, []byte(r.DNS))}})
		if err != nil {
			return nil, err
		}
		exts = names
	}
	exts = append(exts, pkix.Extension{Id: Private(), Value: r.Private})
	wanted := attribute{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14}, [][]pkix.Extension{exts}}
	b, err := asn1.Marshal(requestInfo{Key: key(r.Public), Attributes: []attribute{wanted}})
	if err != nil {
		return nil, fmt.Errorf("der: writing a request: %w", err)
	}
	return b, nil
}

// Sign returns the request signed by key, whose public key it carries; r.Public is not read.
func (r Request) Sign(key ed25519.PrivateKey) ([]byte, error) {
	r.Public, _ = key.Public().(ed25519.PublicKey)
	info, err := r.info()
	if err != nil {
		return nil, err
	}
	return Assemble(info, ed25519.Sign(key, info))
}

// ParseRequest reads a request that is exactly what Request writes, but for the value of the private extension, which the
// caller must check, and checks its signature. The error wraps ErrProfile. The result may share memory with b.
func ParseRequest(b []byte) (Request, error) {
	r, err := parseRequest(b)
	if err != nil {
		return Request{}, fmt.Errorf("der: reading a request: %w: %w", err, ErrProfile)
	}
	return r, nil
}

func parseRequest(b []byte) (Request, error) {
	if len(b) > Limit {
		return Request{}, fmt.Errorf("%d bytes, at most %d", len(b), Limit)
	}
	x, err := x509.ParseCertificateRequest(b)
	if err != nil {
		return Request{}, err
	}
	r := Request{Public: public(x.PublicKey), Private: private(x.Extensions)}
	if r.Public == nil || x.SignatureAlgorithm != x509.PureEd25519 {
		return Request{}, errors.New("not Ed25519")
	}
	if len(x.DNSNames) == 1 {
		r.DNS = x.DNSNames[0]
	}
	info, err := r.info()
	if err != nil {
		return Request{}, err
	}
	if again, err := Assemble(info, x.Signature); err != nil || !bytes.Equal(again, b) {
		return Request{}, errors.New("a field, attribute or extension differs, or the encoding")
	}
	if !ed25519.Verify(r.Public, info, x.Signature) {
		return Request{}, errors.New("not signed by its key")
	}
	return r, nil
}
