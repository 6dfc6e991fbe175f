package keys

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"warren/keys/secret"
)

// Identity is a host's own Ed25519 key: it makes the host a member, signs its records and speaks TLS for it.
type Identity struct{ secret.Ed25519 }

// Root is an Ed25519 key that signs entries of the authority log and nothing else. It is never in a certificate.
type Root struct{ secret.Ed25519 }

// ErrRecovery is wrapped by errors of ParseRecovery: a text that is no recovery key, or mistyped.
var ErrRecovery = errors.New("not a recovery key, or mistyped")

// WGPrivate is a WireGuard private key, WGPublic a public one, and Pair what two members share.
type (
	WGPrivate = secret.WGPrivate
	WGPublic  = secret.WGPublic
	Pair      = secret.Pair
)

var (
	// ErrKey is wrapped by the errors of the functions that read keys: no key, or one of another kind or form.
	ErrKey = secret.ErrKey
	// ErrSecret is returned instead of a secret by methods that would write it as text.
	ErrSecret = secret.ErrSecret
)

// NewWGPrivate makes a new key.
func NewWGPrivate() (WGPrivate, error) { return secret.NewWGPrivate() }

// ParseWGPrivatePEM reads what MarshalPEM wrote. The error wraps ErrKey.
func ParseWGPrivatePEM(text []byte) (WGPrivate, error) { return secret.ParseWGPrivatePEM(text) }

// ParseWGPublic reads a key in base64, as `wg` prints it. The error wraps ErrKey.
func ParseWGPublic(s string) (WGPublic, error) { return secret.ParseWGPublic(s) }

// ProveWG proves to the owner of verifier that the caller holds priv, see [secret.ProveWG]. context must belong to this
// conversation alone, such as a hash with the TLS exporter.
func ProveWG(priv WGPrivate, verifier WGPublic, context []byte) ([32]byte, error) {
	return secret.ProveWG(priv, verifier, context)
}

// CheckWG reports whether proof shows the owner of verifier that the owner of pub holds its private key, made by ProveWG
// with the same context. It takes the same time for every wrong proof.
func CheckWG(verifier WGPrivate, pub WGPublic, context []byte, proof [32]byte) bool {
	return secret.CheckWG(verifier, pub, context, proof)
}

// JoinCheckKey returns the key of the checks between a joiner and any member: HKDF-SHA-256 of the network id with the
// info "warren join check". Whoever saw a join code knows it; it only keeps scanners out.
func JoinCheckKey(n NetworkID) [32]byte { return secret.Derive(n[:], nil, "warren join check") }

// CheckUserKey returns the key that hides who sends a check: HKDF-SHA-256 of the network id with the info
// "warren check user".
func CheckUserKey(n NetworkID) [32]byte { return secret.Derive(n[:], nil, "warren check user") }

// NewIdentity makes a new key.
func NewIdentity() (*Identity, error) {
	s, err := secret.NewEd25519()
	if err != nil {
		return nil, err
	}
	return &Identity{s}, nil
}

// ParseIdentityPEM reads what MarshalPEM wrote. The error wraps ErrKey.
func ParseIdentityPEM(text []byte) (*Identity, error) {
	s, err := secret.ParseEd25519(text, "an identity")
	if err != nil {
		return nil, err
	}
	return &Identity{s}, nil
}

// ID returns the node id of the identity.
func (i *Identity) ID() NodeID { return NodeID(keyHash(i.Public())) }

// Signer returns the private key, for TLS and for signatures by other packages.
func (i *Identity) Signer() crypto.Signer { return i.Key() }

// NewRoot makes a new root key.
func NewRoot() (*Root, error) {
	s, err := secret.NewEd25519()
	if err != nil {
		return nil, err
	}
	return &Root{s}, nil
}

// ParseRootPEM reads what MarshalPEM wrote. The error wraps ErrKey.
func ParseRootPEM(text []byte) (*Root, error) {
	s, err := secret.ParseEd25519(text, "a root key")
	if err != nil {
		return nil, err
	}
	return &Root{s}, nil
}

// Recovery text: version 1 (= 1) | Ed25519 seed 32 | the first 4 bytes of SHA-256("warren recovery" and all before), in
// base32 as ids are, ten groups of six characters.
const (
	recoveryVersion = 1
	recoveryBytes   = 1 + ed25519.SeedSize + checksumBytes
	recoveryGroup   = 6
	checksumBytes   = 4
)

// Recovery returns the secret of the root as a text to be written down: 60 characters of base32 in groups of six,
// with a checksum. This is the secret itself: print it once, store it nowhere.
func (r *Root) Recovery() string {
	b := append([]byte{recoveryVersion}, r.Key().Seed()...)
	text := encoding.EncodeToString(append(b, recoveryChecksum(b)...))
	groups := make([]string, 0, len(text)/recoveryGroup)
	for i := 0; i < len(text); i += recoveryGroup {
		groups = append(groups, text[i:i+recoveryGroup])
	}
	return strings.Join(groups, "-")
}

// ParseRecovery reads what Recovery wrote, in any case, with or without its hyphens and with blanks anywhere. The
// error wraps ErrRecovery and quotes nothing.
func ParseRecovery(text string) (*Root, error) {
	const longest = 1000 // with room for any layout of the 60 characters
	if len(text) > longest {
		return nil, fmt.Errorf("keys: reading a recovery key: %w", ErrRecovery)
	}
	text = strings.ReplaceAll(strings.Join(strings.Fields(strings.ToLower(text)), ""), "-", "")
	b, err := encoding.DecodeString(text)
	if err != nil || len(b) != recoveryBytes || b[0] != recoveryVersion || encoding.EncodeToString(b) != text {
		return nil, fmt.Errorf("keys: reading a recovery key: %w", ErrRecovery)
	}
	body := b[:recoveryBytes-checksumBytes]
	if string(recoveryChecksum(body)) != string(b[len(body):]) {
		return nil, fmt.Errorf("keys: reading a recovery key: wrong checksum: %w", ErrRecovery)
	}
	return &Root{secret.FromSeed(body[1:])}, nil
}

func recoveryChecksum(b []byte) []byte {
	sum := sha256.Sum256(append([]byte("warren recovery"), b...))
	return sum[:checksumBytes]
}

// spkiPrefix is the SubjectPublicKeyInfo of an Ed25519 key (RFC 8410 section 4) but for the 32 bytes of the key.
const spkiPrefix = "302a300506032b6570032100"

// keyHash is the SHA-256 of the SubjectPublicKeyInfo of pub, the name of every Ed25519 key here.
func keyHash(pub ed25519.PublicKey) [32]byte {
	prefix, err := hex.DecodeString(spkiPrefix)
	if err != nil {
		panic("keys: the constant prefix of a public key is not hexadecimal")
	}
	return sha256.Sum256(append(prefix, pub...))
}

// NodeIDOf returns the node id of the identity whose public key is pub.
func NodeIDOf(pub ed25519.PublicKey) NodeID { return NodeID(keyHash(pub)) }

// validKey reports whether pub may stand for somebody: 32 bytes, a point in its one encoding (RFC 8032 section
// 5.1.3 would take y >= p), and none of the eight points of small order, for which signatures can be made that verify
// over many messages.
func validKey(pub ed25519.PublicKey) bool {
	if len(pub) != ed25519.PublicKeySize {
		return false
	}
	// y is little-endian in 255 bits; p = 2^255 - 19, so y >= p only if the high 31 bytes are all ones.
	high := pub[31]&0x7f == 0x7f
	for _, b := range pub[1:31] {
		high = high && b == 0xff
	}
	if high && pub[0] >= 0xed-1 { // p-1 has order two, p and above are other encodings of small numbers
		return false
	}
	y := hex.EncodeToString(append(append([]byte{}, pub[:31]...), pub[31]&0x7f))
	switch y {
	case "0000000000000000000000000000000000000000000000000000000000000000", // order 4
		"0100000000000000000000000000000000000000000000000000000000000000", // order 1
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", // order 8
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05": // order 8
		return false
	}
	return true
}
