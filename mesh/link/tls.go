package link

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"

	"warren/keys"
)

// The two application protocols.
const (
	ProtocolMember = "warren/1"
	ProtocolJoin   = "warren-join/1"
)

// Throwaway returns a self-signed, nameless certificate over the key, for warren-join/1, where certificates prove
// nothing but the possession of a key. A nil signer stands for a fresh Ed25519 key.
func Throwaway(signer crypto.Signer) (*tls.Certificate, error) {
	if signer == nil {
		_, fresh, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("link: making a throw-away key: %w", err)
		}
		signer = fresh
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280: no well-defined expiry
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("link: making a throw-away certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: signer}, nil
}

// memberTLS is the configuration of a warren/1 link to or from the given member.
func (t *Transport) memberTLS(peer keys.NodeID) (*tls.Config, error) {
	cert, err := t.cfg.Certificate()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{ProtocolMember},
		Certificates:           []tls.Certificate{*cert},
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true, // VerifyConnection is the check, on both sides
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) != 1 {
				return errors.New("link: want exactly one certificate")
			}
			node, err := t.cfg.Verify(state.PeerCertificates[0].Raw)
			if err != nil {
				return err
			}
			if node != peer {
				return fmt.Errorf("link: certificate of %s on the path to %s", node, peer)
			}
			return nil
		},
	}, nil
}

// joinTLS is the configuration of a warren-join/1 connection; identity is the joiner's, or nil for the member.
func joinTLS(identity crypto.Signer) (*tls.Config, error) {
	cert, err := Throwaway(identity)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{ProtocolJoin},
		Certificates:           []tls.Certificate{*cert},
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true, // identities are proved inside, bound to this connection by its exporter
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) != 1 {
				return errors.New("link: want exactly one certificate")
			}
			if _, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey); !ok {
				return errors.New("link: want an Ed25519 key")
			}
			return nil
		},
	}, nil
}

// serverTLS chooses what a client may speak by where its packets come from: a source that proved membership gets the
// member's certificate, any other only the nameless one.
func (t *Transport) serverTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{ProtocolMember, ProtocolJoin},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if peer, ok := t.cfg.NodeOf(hello.Conn.RemoteAddr()); ok {
				return t.memberTLS(peer)
			}
			return joinTLS(nil)
		},
	}
}

// exporterLabel names our use of the TLS exporter, RFC 8446 section 7.5.
const exporterLabel = "EXPORTER-warren join"

// Exporter returns 32 bytes that only the two ends of this very connection know.
func Exporter(state tls.ConnectionState) ([]byte, error) {
	b, err := state.ExportKeyingMaterial(exporterLabel, nil, 32)
	if err != nil {
		return nil, fmt.Errorf("link: exporting from TLS: %w", err)
	}
	return b, nil
}
