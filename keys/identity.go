package keys

import (
	"crypto"
	"crypto/ed25519"

	"warren/keys/secret"
)

// Identity is a host's own Ed25519 key: it makes the host a member, signs its records and speaks TLS for it.
type Identity struct{ secret.Ed25519 }

// Root is an Ed25519 key that signs entries of the authority log and nothing else. It is never in a certificate.
type Root struct{ secret.Ed25519 }

// WGPrivate is a WireGuard private key, WGPublic a public one, and Pair what two members share.
type (
	WGPrivate = secret.WGPrivate
	WGPublic  = secret.WGPublic
	Pair      = secret.Pair
)

var (
	// ErrKey is wrapped by the errors of the functions that read keys: no key, or one of another kind or form.
	ErrKey = secret.ErrKey
	// ErrRecovery is wrapped by errors of ParseRecovery: a text that is no recovery key, or mistyped.
	ErrRecovery = secret.ErrRecovery
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
func (i *Identity) ID() NodeID { return NodeID(secret.Hash(i.Public())) }

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

// ParseRecovery reads what Root.Recovery wrote, see [secret.ParseRecovery]. The error wraps ErrRecovery, quoting nothing.
func ParseRecovery(text string) (*Root, error) {
	s, err := secret.ParseRecovery(text)
	if err != nil {
		return nil, err
	}
	return &Root{s}, nil
}

// NodeIDOf returns the node id of the identity whose public key is pub.
func NodeIDOf(pub ed25519.PublicKey) NodeID { return NodeID(secret.Hash(pub)) }
