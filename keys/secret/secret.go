// Package secret holds the private keys of a host, Ed25519 and WireGuard's X25519, in types that do not show
// themselves: printed with any verb they read "(secret)", as text they are an error, and no error quotes them. The only
// ways out are MarshalPEM, for a file, and the operations themselves.
//
// Package keys gives these types their roles and names; use it from there.
package secret

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ErrSecret is returned instead of a secret by methods that would write it as text.
var ErrSecret = errors.New("secret: a secret is not written as text")

// ErrKey is wrapped by the errors of the functions that read keys: no key, or one of another kind or form.
var ErrKey = errors.New("not a key of this kind")

// Ed25519 is an Ed25519 private key. The zero value is no key.
type Ed25519 struct{ key ed25519.PrivateKey }

// NewEd25519 makes a new key.
func NewEd25519() (Ed25519, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Ed25519{}, fmt.Errorf("secret: making an Ed25519 key: %w", err)
	}
	return Ed25519{key}, nil
}

// ParseEd25519 reads what MarshalPEM wrote; what names the key in errors, which wrap ErrKey.
func ParseEd25519(text []byte, what string) (Ed25519, error) {
	key, err := parsePEM(text)
	if err != nil {
		return Ed25519{}, fmt.Errorf("secret: reading %s: %w", what, err)
	}
	priv, ok := key.(ed25519.PrivateKey)
	if !ok {
		return Ed25519{}, fmt.Errorf("secret: reading %s: a %T: %w", what, key, ErrKey)
	}
	return Ed25519{priv}, nil
}

// Public returns the public key. The caller must not change it.
func (s Ed25519) Public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// MarshalPEM returns the private key as PKCS#8 (RFC 8410) in PEM.
func (s Ed25519) MarshalPEM() ([]byte, error) { return marshalPEM(s.key) }

// Format writes "(secret)" whatever the verb.
func (s Ed25519) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// String returns "(secret)".
func (s Ed25519) String() string { return "(secret)" }

// MarshalText returns ErrSecret.
func (s Ed25519) MarshalText() ([]byte, error) { return nil, ErrSecret }

// Derive is HKDF-SHA-256 with 32 bytes of output.
func Derive(secret, salt []byte, info string) [32]byte {
	b, err := hkdf.Key(sha256.New, secret, salt, info, 32)
	if err != nil {
		panic("secret: HKDF refused 32 bytes of output: " + err.Error())
	}
	return [32]byte(b)
}

// pemPrivate is the PEM type of PKCS#8, RFC 7468 section 10.
const pemPrivate = "PRIVATE KEY"

func marshalPEM(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("secret: writing a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPrivate, Bytes: der}), nil
}

// parsePEM reads the first PEM block. Its errors quote nothing of the text, which is secret.
func parsePEM(text []byte) (any, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemPrivate {
		return nil, fmt.Errorf("no PEM block %q: %w", pemPrivate, ErrKey)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("not PKCS#8: %w", ErrKey)
	}
	return key, nil
}

// FromSeed returns the key made of 32 bytes, as RFC 8032 section 5.1.5 does.
func FromSeed(seed []byte) Ed25519 { return Ed25519{ed25519.NewKeyFromSeed(seed)} }

// Key returns the private key itself, for signing. The caller must not change or print it.
func (s Ed25519) Key() ed25519.PrivateKey { return s.key }
