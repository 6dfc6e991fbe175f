package keys

import (
	"crypto"
	"crypto/ed25519"
	"net/netip"

	"warren/keys/name"
	"warren/keys/secret"
)

type (
	// NodeID names a member: the SHA-256 of its identity key's SubjectPublicKeyInfo.
	NodeID = name.NodeID
	// NetworkID names a network: the SHA-256 of the first entry of its log.
	NetworkID = name.NetworkID
	// InviteID names an invite.
	InviteID = name.InviteID
	// JoinCode is the text that makes a member.
	JoinCode = name.JoinCode
	// Invite is what the seed in a JoinCode makes.
	Invite = name.Invite
)

// Limits of a join code.
const (
	MaxCode      = name.MaxCode      // characters
	MaxEndpoints = name.MaxEndpoints // in all, at most two of them IPv6
)

// Errors of the functions below.
var (
	// ErrID is wrapped by the errors of ParseNodeID, ParseNetworkID and ParseInviteID.
	ErrID = name.ErrID
	// ErrNotCode is about a text that does not look like a join code at all.
	ErrNotCode = name.ErrNotCode
	// ErrCodeVersion is about a code of another version of the program.
	ErrCodeVersion = name.ErrCodeVersion
	// ErrCodeTruncated is about the beginning of a code.
	ErrCodeTruncated = name.ErrCodeTruncated
	// ErrCodeChecksum is about a code of which a character or more is wrong.
	ErrCodeChecksum = name.ErrCodeChecksum
)

// ParseNodeID reads an id as String writes it, in any case. The error wraps ErrID.
func ParseNodeID(s string) (NodeID, error) { return name.ParseNodeID(s) }

// ParseNetworkID reads an id as String writes it, in any case. The error wraps ErrID.
func ParseNetworkID(s string) (NetworkID, error) { return name.ParseNetworkID(s) }

// ParseInviteID reads an id as String writes it, in any case. The error wraps ErrID.
func ParseInviteID(s string) (InviteID, error) { return name.ParseInviteID(s) }

// ParseJoinCode reads a code, see [name.ParseJoinCode]. The error wraps one of ErrNotCode, ErrCodeVersion,
// ErrCodeTruncated and ErrCodeChecksum, and quotes nothing.
func ParseJoinCode(s string) (JoinCode, error) { return name.ParseJoinCode(s) }

// NewSeed makes a new invite's seed.
func NewSeed() ([16]byte, error) { return name.NewSeed() }

// IPv4Candidate returns the i-th IPv4 address that a signer should try for a member, see [name.IPv4Candidate].
func IPv4Candidate(network NetworkID, node NodeID, i uint32, in netip.Prefix) netip.Addr {
	return name.IPv4Candidate(network, node, i, in)
}

// DefaultIPRange is the network's IPv4 range unless its founder names another: 100.64.0.0/10 (RFC 6598).
func DefaultIPRange() netip.Prefix { return name.DefaultIPRange() }

// ValidIPRange reports whether p can be a network's IPv4 range, see [name.ValidIPRange].
func ValidIPRange(p netip.Prefix) bool { return name.ValidIPRange(p) }

// Label reads a name that a person typed, see [name.Label]; ok is false if it can name no host or network.
func Label(s string) (label string, ok bool) { return name.Label(s) }

// ValidName reports whether s may name a host or a network, see [name.ValidName].
func ValidName(s string) bool { return name.ValidName(s) }

// MakeLabel makes a system's host name into a ValidName, see [name.MakeLabel].
func MakeLabel(hostname string) string { return name.MakeLabel(hostname) }

// Identity is a host's own Ed25519 key: it makes the host a member, signs its records and speaks TLS for it.
type Identity struct{ secret.Ed25519 }

// Root is an Ed25519 key that signs entries of the authority log and nothing else. It is never in a certificate.
type Root struct{ secret.Ed25519 }

type (
	// WGPrivate is a WireGuard private key.
	WGPrivate = secret.WGPrivate
	// WGPublic is a WireGuard public key.
	WGPublic = secret.WGPublic
	// Pair is what two members share.
	Pair = secret.Pair
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
