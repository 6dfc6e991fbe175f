package name

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"strings"
	"time"
)

// Errors of ParseJoinCode.
var (
	// ErrNotCode is about a text that does not look like a join code at all.
	ErrNotCode = errors.New("not a join code")
	// ErrCodeVersion is about a code of another version of the program.
	ErrCodeVersion = errors.New("a join code of another version")
	// ErrCodeTruncated is about the beginning of a code.
	ErrCodeTruncated = errors.New("the join code is cut short")
	// ErrCodeChecksum is about a code of which a character or more is wrong.
	ErrCodeChecksum = errors.New("the join code is mistyped")
)

// Limits of a join code.
const (
	MaxCode      = 172 // characters
	MaxEndpoints = 3   // in all
	maxCodeIPv6  = 2   // of them IPv6
)

const (
	codePrefix    = "warren1:"
	codeVersion   = 1
	codeHeader    = 1 + 32 + 16 + 4
	checksumBytes = 4
)

// JoinCode is what lets a host become a member. It holds the secret seed of an invite.
type JoinCode struct {
	// Network is the network that the code leads to.
	Network NetworkID
	// Seed is the invite's secret; it never crosses the wire.
	Seed [16]byte
	// Expires is in whole minutes and only good for a kind message; the grant has the exact time.
	Expires time.Time
	// Endpoints are where to ask, in order: at most MaxEndpoints, at most two of them IPv6.
	Endpoints []netip.AddrPort
}

// Invite is what a seed makes: the public name of an invite and the key that proves its possession.
type Invite struct {
	ID  InviteID
	Key ed25519.PrivateKey
}

// Format writes the id only, whatever the verb.
func (i Invite) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(i.ID.String())) }

// MarshalText writes the id only.
func (i Invite) MarshalText() ([]byte, error) { return i.ID.MarshalText() }

// NewSeed makes a new invite's seed.
func NewSeed() (seed [16]byte, err error) {
	if _, err = rand.Read(seed[:]); err != nil {
		return seed, fmt.Errorf("name: making an invite: %w", err)
	}
	return seed, nil
}

// Invite derives the invite from the seed: HKDF-SHA-256 with the network id as salt and the info "warren invite id" for
// the id and "warren invite key" for the seed of the Ed25519 key.
func (c JoinCode) Invite() Invite {
	key := derive(c.Seed[:], c.Network[:], "warren invite key")
	return Invite{
		ID:  InviteID(derive(c.Seed[:], c.Network[:], "warren invite id")),
		Key: ed25519.NewKeyFromSeed(key[:]),
	}
}

// LogValue keeps the code out of logs: it is the invite's id.
func (c JoinCode) LogValue() slog.Value { return slog.StringValue(c.Invite().ID.String()) }

// String returns the code itself, which is a secret, in lower case. Expires is rounded up to minutes. Of Endpoints
// those are left out that no packet can be sent to or that are beyond the limits.
func (c JoinCode) String() string {
	b := append([]byte{codeVersion}, c.Network[:]...)
	b = append(b, c.Seed[:]...)
	minutes := (min(max(c.Expires.Unix(), 0), math.MaxUint32*60) + 59) / 60
	b = binary.BigEndian.AppendUint32(b, uint32(minutes))
	for _, e := range fitting(c.Endpoints) {
		family := byte(4)
		if e.Addr().Is6() {
			family = 6
		}
		b = append(append(b, family), e.Addr().AsSlice()...)
		b = binary.BigEndian.AppendUint16(b, e.Port())
	}
	sum := sha256.Sum256(b)
	return codePrefix + encoding.EncodeToString(append(b, sum[:checksumBytes]...))
}

// fitting returns the endpoints that a code has room for.
func fitting(all []netip.AddrPort) []netip.AddrPort {
	var out []netip.AddrPort
	six := 0
	for _, e := range all {
		if !ValidEndpoint(e) || len(out) == MaxEndpoints || e.Addr().Is6() && six == maxCodeIPv6 {
			continue
		}
		if e.Addr().Is6() {
			six++
		}
		out = append(out, e)
	}
	return out
}

// ParseJoinCode reads what String wrote, in any case and with blanks around. The error wraps one of ErrNotCode,
// ErrCodeVersion, ErrCodeTruncated and ErrCodeChecksum, and quotes nothing.
func ParseJoinCode(s string) (JoinCode, error) {
	c, err := parseCode(strings.ToLower(strings.TrimSpace(s)))
	if err != nil {
		return JoinCode{}, fmt.Errorf("name: reading a join code: %w", err)
	}
	return c, nil
}

func parseCode(s string) (JoinCode, error) {
	text, ok := strings.CutPrefix(s, codePrefix)
	if !ok {
		return JoinCode{}, notACode(s)
	}
	if len(s) > MaxCode {
		return JoinCode{}, ErrCodeChecksum
	}
	if strings.Trim(text, base32Alphabet) != "" {
		return JoinCode{}, ErrCodeChecksum
	}
	b, err := encoding.DecodeString(text)
	if err != nil || len(b) < checksumBytes { // the last character fills no byte: there is more
		return JoinCode{}, ErrCodeTruncated
	}
	body := b[:len(b)-checksumBytes]
	sum := sha256.Sum256(body)
	if !bytes.Equal(sum[:checksumBytes], b[len(body):]) || encoding.EncodeToString(b) != text {
		if _, err := decodeCode(body); errors.Is(err, ErrCodeTruncated) {
			return JoinCode{}, ErrCodeTruncated
		}
		return JoinCode{}, ErrCodeChecksum
	}
	return decodeCode(body)
}

// notACode tells a code of a later version from any other text.
func notACode(s string) error {
	rest, ok := strings.CutPrefix(s, "warren")
	version, _, colon := strings.Cut(rest, ":")
	if ok && colon && version != "" && strings.Trim(version, "0123456789") == "" {
		return ErrCodeVersion
	}
	return ErrNotCode
}

// decodeCode reads everything before the checksum.
func decodeCode(b []byte) (JoinCode, error) {
	var c JoinCode
	if len(b) > 0 && b[0] != codeVersion {
		return c, ErrCodeVersion
	}
	if len(b) < codeHeader {
		return c, ErrCodeTruncated
	}
	c.Network = NetworkID(b[1:33])
	c.Seed = [16]byte(b[33:49])
	c.Expires = time.Unix(int64(binary.BigEndian.Uint32(b[49:53]))*60, 0).UTC()
	for b = b[codeHeader:]; len(b) > 0; {
		size := 0
		switch b[0] {
		case 4:
			size = 4
		case 6:
			size = 16
		default:
			return c, ErrNotCode
		}
		if len(b) < 1+size+2 {
			return c, ErrCodeTruncated
		}
		addr, _ := netip.AddrFromSlice(b[1 : 1+size])
		c.Endpoints = append(c.Endpoints, netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[1+size:])))
		b = b[1+size+2:]
	}
	if len(fitting(c.Endpoints)) != len(c.Endpoints) {
		return c, ErrNotCode
	}
	return c, nil
}

// ValidEndpoint reports whether a packet could be sent to a at all: unicast, with a port, without a zone, IPv4 as
// IPv4. Whether it should be is for the sender to judge.
func ValidEndpoint(a netip.AddrPort) bool {
	ip := a.Addr()
	return a.Port() != 0 && ip.IsValid() && ip.Zone() == "" && !ip.Is4In6() && !ip.IsUnspecified() &&
		!ip.IsMulticast() && ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// derive is HKDF-SHA-256 (RFC 5869) with 32 bytes of output.
func derive(secret, salt []byte, info string) [32]byte {
	b, err := hkdf.Key(sha256.New, secret, salt, info, 32)
	if err != nil {
		panic("name: HKDF refused 32 bytes of output: " + err.Error())
	}
	return [32]byte(b)
}
