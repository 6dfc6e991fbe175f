package name

import (
	"bytes"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
)

// NodeID names a member: the SHA-256 of the SubjectPublicKeyInfo of its identity key.
// The zero NodeID names nobody.
type NodeID [32]byte

// NetworkID names a network: the SHA-256 of its genesis, the first entry of its authority log.
// The zero NetworkID names no network.
type NetworkID [32]byte

// InviteID names an invite; it is derived from the seed that only the invite's holder knows.
// The zero InviteID names no invite.
type InviteID [32]byte

// ErrID is wrapped by the errors of ParseNodeID, ParseNetworkID and ParseInviteID.
var ErrID = errors.New("not an id of 52 characters of base32")

// encoding is RFC 4648 base32 without padding; texts are written in lower case and read in any.
var encoding = base32.NewEncoding(base32Alphabet).WithPadding(base32.NoPadding)

const base32Alphabet = "abcdefghijklmnopqrstuvwxyz234567"

// String returns the id as 52 characters of lower-case base32 (RFC 4648, no padding).
func (n NodeID) String() string { return encoding.EncodeToString(n[:]) }

// IsZero reports whether n names nobody.
func (n NodeID) IsZero() bool { return n == NodeID{} }

// Compare orders ids as byte strings: -1, 0 or 1.
func (n NodeID) Compare(m NodeID) int { return bytes.Compare(n[:], m[:]) }

// MarshalText writes the id as String does.
func (n NodeID) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads what MarshalText wrote. The error wraps ErrID.
func (n *NodeID) UnmarshalText(text []byte) (err error) {
	*n, err = ParseNodeID(string(text))
	return err
}

// String returns the id as 52 characters of lower-case base32 (RFC 4648, no padding).
func (n NetworkID) String() string { return encoding.EncodeToString(n[:]) }

// IsZero reports whether n names no network.
func (n NetworkID) IsZero() bool { return n == NetworkID{} }

// Compare orders ids as byte strings: -1, 0 or 1.
func (n NetworkID) Compare(m NetworkID) int { return bytes.Compare(n[:], m[:]) }

// MarshalText writes the id as String does.
func (n NetworkID) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads what MarshalText wrote. The error wraps ErrID.
func (n *NetworkID) UnmarshalText(text []byte) (err error) {
	*n, err = ParseNetworkID(string(text))
	return err
}

// String returns the id as 52 characters of lower-case base32 (RFC 4648, no padding).
func (i InviteID) String() string { return encoding.EncodeToString(i[:]) }

// IsZero reports whether i names no invite.
func (i InviteID) IsZero() bool { return i == InviteID{} }

// MarshalText writes the id as String does.
func (i InviteID) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads what MarshalText wrote. The error wraps ErrID.
func (i *InviteID) UnmarshalText(text []byte) (err error) {
	*i, err = ParseInviteID(string(text))
	return err
}

// ParseInviteID reads an id as String writes it, in any case. The error wraps ErrID.
func ParseInviteID(s string) (InviteID, error) {
	b, err := parseID(s)
	return InviteID(b), err
}

// ParseNodeID reads an id as String writes it, in any case. The error wraps ErrID.
func ParseNodeID(s string) (NodeID, error) {
	b, err := parseID(s)
	return NodeID(b), err
}

// ParseNetworkID reads an id as String writes it, in any case. The error wraps ErrID.
func ParseNetworkID(s string) (NetworkID, error) {
	b, err := parseID(s)
	return NetworkID(b), err
}

func parseID(s string) (id [32]byte, err error) {
	b, err := encoding.DecodeString(strings.ToLower(s))
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("name: parsing id %.60q: %w", s, ErrID)
	}
	copy(id[:], b)
	if encoding.EncodeToString(b) != strings.ToLower(s) {
		return [32]byte{}, fmt.Errorf("name: parsing id %.60q: %w", s, ErrID)
	}
	return id, nil
}
