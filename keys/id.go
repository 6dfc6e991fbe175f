package keys

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
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
		return id, fmt.Errorf("keys: parsing id %.60q: %w", s, ErrID)
	}
	copy(id[:], b)
	if encoding.EncodeToString(b) != strings.ToLower(s) {
		return [32]byte{}, fmt.Errorf("keys: parsing id %.60q: %w", s, ErrID)
	}
	return id, nil
}

// ULA returns the network's IPv6 prefix, a unique local /48 (RFC 4193): fd and the first 40 bits of the network id.
func (n NetworkID) ULA() netip.Prefix {
	a := [16]byte{0: 0xfd}
	copy(a[1:6], n[:5])
	return netip.PrefixFrom(netip.AddrFrom16(a), 48)
}

// Addr returns the member's IPv6 address in network: the network's /48 and the first 80 bits of the node id.
func (n NodeID) Addr(network NetworkID) netip.Addr {
	a := network.ULA().Addr().As16()
	copy(a[6:], n[:10])
	return netip.AddrFrom16(a)
}

// IPv4Candidate returns the i-th address that a signer should try for a member, equal on every signer: the first
// 8 bytes of HMAC-SHA-256 (key: network id) over node id, i and a round, both as 4 bytes big-endian, modulo the number
// of host addresses of the range in; the first round from 0 whose address is free to use counts. The network and
// broadcast addresses, 100.100.100.100 and 100.115.92.0/23 (used by others inside 100.64.0.0/10) are never returned.
// A range without usable addresses gives the zero Addr.
func IPv4Candidate(network NetworkID, node NodeID, i uint32, in netip.Prefix) netip.Addr {
	if !in.IsValid() || !in.Addr().Is4() || in.Bits() > 30 {
		return netip.Addr{}
	}
	in = in.Masked()
	base := binary.BigEndian.Uint32(in.Addr().AsSlice())
	hosts := uint64(1)<<(32-in.Bits()) - 2
	mac := hmac.New(sha256.New, network[:])
	for round := range uint32(64) {
		mac.Reset()
		mac.Write(node[:])
		mac.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, i), round))
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], base+1+uint32(binary.BigEndian.Uint64(mac.Sum(nil))%hosts))
		if addr := netip.AddrFrom4(a); !takenByOthers(addr) {
			return addr
		}
	}
	return netip.Addr{}
}

// takenByOthers reports whether a has a fixed meaning on hosts that also run Tailscale (its resolver) or ChromeOS.
func takenByOthers(a netip.Addr) bool {
	chrome := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 115, 92, 0}), 23)
	return a == netip.AddrFrom4([4]byte{100, 100, 100, 100}) || chrome.Contains(a)
}

// DefaultIPRange is the network's IPv4 range unless its founder names another: 100.64.0.0/10 (RFC 6598).
func DefaultIPRange() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10) }

// ValidIPRange reports whether p can be a network's IPv4 range: a masked IPv4 prefix of 8 to 30 bits that is neither
// loopback, link-local, multicast nor in 0.0.0.0/8 or 240.0.0.0/4.
func ValidIPRange(p netip.Prefix) bool {
	if !p.IsValid() || !p.Addr().Is4() || p != p.Masked() || p.Bits() < 8 || p.Bits() > 30 {
		return false
	}
	a := p.Addr()
	first := a.As4()[0]
	linkLocal := netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254}), 16)
	return first != 0 && first != 127 && first < 224 && !linkLocal.Overlaps(p)
}

// maxLabel is the longest DNS label, RFC 1035 section 2.3.4.
const maxLabel = 63

// Label reads a name that a person typed as one DNS label for a host or a network: blanks around it are cut and it
// is lower-cased; the result is a [ValidName], or ok is false.
func Label(s string) (label string, ok bool) {
	label = strings.ToLower(strings.TrimSpace(s))
	return label, ValidName(label)
}

// ValidName reports whether s may name a host or a network: one LDH label (RFC 5890 section 2.3.1) of 1 to 63
// lower-case letters, digits and inner hyphens, no A-label or other label with hyphens in places 3 and 4, and none of
// the reserved localhost, wpad, isatap, gateway.
func ValidName(s string) bool {
	switch s {
	case "localhost", "wpad", "isatap", "gateway":
		return false
	}
	return validLabel(s) && !(len(s) >= 4 && s[2:4] == "--")
}

func validLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return !isLDH(r) }) < 0
}

func isLDH(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' }

// MakeLabel makes a system's host name into a [ValidName]: the part before the first dot, lower-cased, every run of
// other characters made one hyphen, cut at 63. What cannot be mended ("", "localhost") becomes "host", or gets the
// suffix "-host" if reserved otherwise.
func MakeLabel(hostname string) string {
	first, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(hostname)), ".")
	var b strings.Builder
	hyphen := false
	for _, r := range first {
		if r == '-' || !isLDH(r) {
			hyphen = b.Len() > 0
			continue
		}
		if hyphen {
			b.WriteByte('-')
			hyphen = false
		}
		b.WriteRune(r)
		if b.Len() >= maxLabel {
			break
		}
	}
	label := strings.TrimRight(b.String()[:min(b.Len(), maxLabel)], "-")
	switch {
	case ValidName(label):
		return label
	case label == "" || label == "localhost":
		return "host"
	}
	return label + "-host"
}
