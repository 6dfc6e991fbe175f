package secret

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

// WGPrivate is a WireGuard private key: an X25519 scalar, clamped as `wg genkey` does. The zero value is no key.
type WGPrivate [32]byte

// WGPublic is a WireGuard public key. The zero value is no key.
type WGPublic [32]byte

// NewWGPrivate makes a new key.
func NewWGPrivate() (WGPrivate, error) {
	var k WGPrivate
	if _, err := rand.Read(k[:]); err != nil {
		return k, fmt.Errorf("secret: making a WireGuard key: %w", err)
	}
	k[0] &= 248
	k[31] = k[31]&127 | 64
	return k, nil
}

// Public returns the public key of k.
func (k WGPrivate) Public() WGPublic {
	priv, err := ecdh.X25519().NewPrivateKey(k[:])
	if err != nil {
		panic("secret: X25519 refused 32 bytes")
	}
	return WGPublic(priv.PublicKey().Bytes())
}

// IsZero reports whether k is no key.
func (k WGPrivate) IsZero() bool { return k == WGPrivate{} }

// Format writes "(secret)" whatever the verb.
func (k WGPrivate) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

// String returns "(secret)".
func (k WGPrivate) String() string { return "(secret)" }

// MarshalText returns ErrSecret.
func (k WGPrivate) MarshalText() ([]byte, error) { return nil, ErrSecret }

// MarshalPEM returns k as PKCS#8 (RFC 8410) in PEM.
func (k WGPrivate) MarshalPEM() ([]byte, error) {
	priv, err := ecdh.X25519().NewPrivateKey(k[:])
	if err != nil {
		return nil, fmt.Errorf("secret: writing a WireGuard key: %w", err)
	}
	return marshalPEM(priv)
}

// ParseWGPrivatePEM reads what MarshalPEM wrote. The error wraps ErrKey.
func ParseWGPrivatePEM(text []byte) (WGPrivate, error) {
	key, err := parsePEM(text)
	if err != nil {
		return WGPrivate{}, fmt.Errorf("secret: reading a WireGuard key: %w", err)
	}
	priv, ok := key.(*ecdh.PrivateKey)
	if !ok || priv.Curve() != ecdh.X25519() {
		return WGPrivate{}, fmt.Errorf("secret: reading a WireGuard key: a %T: %w", key, ErrKey)
	}
	return WGPrivate(priv.Bytes()), nil
}

// String returns k in base64, as `wg` prints it.
func (k WGPublic) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// IsZero reports whether k is no key.
func (k WGPublic) IsZero() bool { return k == WGPublic{} }

// MarshalText writes k as String does.
func (k WGPublic) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote. The error wraps ErrKey.
func (k *WGPublic) UnmarshalText(text []byte) (err error) {
	*k, err = ParseWGPublic(string(text))
	return err
}

// ParseWGPublic reads a key in base64, as `wg` prints it. The error wraps ErrKey.
func ParseWGPublic(s string) (WGPublic, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(WGPublic{}) || base64.StdEncoding.EncodeToString(b) != s { // the decoder skips line ends
		return WGPublic{}, fmt.Errorf("secret: reading a WireGuard public key %.50q: %w", s, ErrKey)
	}
	return WGPublic(b), nil
}

// Pair is what two members of a network share without a word between them.
type Pair struct {
	// Check keys the connectivity checks between them.
	Check [32]byte
	// Seal seals the signalling between them.
	Seal [32]byte
}

// Format writes "(secret)" whatever the verb.
func (p Pair) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("(secret)")) }

// MarshalText returns ErrSecret.
func (p Pair) MarshalText() ([]byte, error) { return nil, ErrSecret }

// Pair returns the keys that the owner of k and the owner of peer share in network n; both get the same. They are
// HKDF-SHA-256 (RFC 5869) of the X25519 of the static keys, with the network id as salt and as info "warren check" and
// "warren seal", each followed by the two public keys, the lower first. The error wraps ErrKey if peer is a point of
// low order, which no honest member has.
func (k WGPrivate) Pair(peer WGPublic, n [32]byte) (Pair, error) {
	secret, err := k.shared(peer)
	if err != nil {
		return Pair{}, err
	}
	own := k.Public()
	low, high := own, peer
	if bytes.Compare(own[:], peer[:]) > 0 {
		low, high = peer, own
	}
	both := string(low[:]) + string(high[:])
	return Pair{
		Check: Derive(secret, n[:], "warren check"+both),
		Seal:  Derive(secret, n[:], "warren seal"+both),
	}, nil
}

func (k WGPrivate) shared(peer WGPublic) ([]byte, error) {
	priv, err := ecdh.X25519().NewPrivateKey(k[:])
	if err != nil {
		return nil, fmt.Errorf("secret: agreeing on a secret: %w", ErrKey)
	}
	pub, err := ecdh.X25519().NewPublicKey(peer[:])
	if err != nil {
		return nil, fmt.Errorf("secret: agreeing on a secret: %w", ErrKey)
	}
	secret, err := priv.ECDH(pub)
	if err != nil {
		return nil, fmt.Errorf("secret: agreeing on a secret with %s: %w: %w", peer, err, ErrKey)
	}
	return secret, nil
}

// ProveWG proves to the owner of verifier that the caller holds priv: HMAC-SHA-256 over prover's public key,
// verifier's public key and context (something of this conversation alone, such as a hash with the TLS exporter), keyed
// by HKDF-SHA-256 of their X25519 with the info "warren wireguard proof". The verifier could have made the proof too,
// so it convinces nobody else. The error wraps ErrKey.
func ProveWG(priv WGPrivate, verifier WGPublic, context []byte) ([32]byte, error) {
	secret, err := priv.shared(verifier)
	if err != nil {
		return [32]byte{}, err
	}
	return proof(secret, priv.Public(), verifier, context), nil
}

// CheckWG reports whether proof shows the owner of verifier that the owner of pub holds its private key, made by
// ProveWG with the same context. It takes the same time for every wrong proof.
func CheckWG(verifier WGPrivate, pub WGPublic, context []byte, proved [32]byte) bool {
	secret, err := verifier.shared(pub)
	if err != nil {
		return false
	}
	want := proof(secret, pub, verifier.Public(), context)
	return hmac.Equal(want[:], proved[:])
}

func proof(secret []byte, prover, verifier WGPublic, context []byte) [32]byte {
	key := Derive(secret, nil, "warren wireguard proof")
	mac := hmac.New(sha256.New, key[:])
	mac.Write(prover[:])
	mac.Write(verifier[:])
	mac.Write(context)
	return [32]byte(mac.Sum(nil))
}
