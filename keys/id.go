package keys

import (
	"net/netip"

	"warren/keys/name"
)

// NodeID names a member (the SHA-256 of its identity key's SubjectPublicKeyInfo), NetworkID a network (the SHA-256 of
// the first entry of its log), InviteID an invite. JoinCode is the text that makes a member, Invite what its seed makes.
type (
	NodeID    = name.NodeID
	NetworkID = name.NetworkID
	InviteID  = name.InviteID
	JoinCode  = name.JoinCode
	Invite    = name.Invite
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
	// ErrNotCode: the text does not look like a join code at all.
	ErrNotCode = name.ErrNotCode
	// ErrCodeVersion: a code of another version of the program.
	ErrCodeVersion = name.ErrCodeVersion
	// ErrCodeTruncated: the beginning of a code.
	ErrCodeTruncated = name.ErrCodeTruncated
	// ErrCodeChecksum: a character or more is wrong.
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
