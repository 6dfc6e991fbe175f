package keys

import (
	"bytes"
	"crypto/ed25519"
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

	"warren/keys/canon"
	"warren/keys/secret"
)

// Errors of ParseJoinCode.
var (
	// ErrNotCode: the text does not look like a join code at all.
	ErrNotCode = errors.New("not a join code")
	// ErrCodeVersion: a code of another version of the program.
	ErrCodeVersion = errors.New("a join code of another version")
	// ErrCodeTruncated: the beginning of a code.
	ErrCodeTruncated = errors.New("the join code is cut short")
	// ErrCodeChecksum: a character or more is wrong.
	ErrCodeChecksum = errors.New("the join code is mistyped")
)

// Limits of a join code.
const (
	MaxCode      = 172 // characters
	MaxEndpoints = 3   // in all
	maxCodeIPv6  = 2   // of them IPv6
)

const (
	codePrefix  = "warren1:"
	codeVersion = 1
	codeHeader  = 1 + 32 + 16 + 4
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

// NewSeed makes a new invite's seed.
func NewSeed() (seed [16]byte, err error) {
	if _, err = rand.Read(seed[:]); err != nil {
		return seed, fmt.Errorf("keys: making an invite: %w", err)
	}
	return seed, nil
}

// Invite derives the invite from the seed: HKDF-SHA-256 with the network id as salt and the info "warren invite id" for
// the id and "warren invite key" for the seed of the Ed25519 key.
func (c JoinCode) Invite() Invite {
	key := secret.Derive(c.Seed[:], c.Network[:], "warren invite key")
	return Invite{
		ID:  InviteID(secret.Derive(c.Seed[:], c.Network[:], "warren invite id")),
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
	minutes := (max(c.Expires.Unix(), 0) + 59) / 60
	b = binary.BigEndian.AppendUint32(b, uint32(min(minutes, math.MaxUint32)))
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
		if !validEndpoint(e) || len(out) == MaxEndpoints || e.Addr().Is6() && six == maxCodeIPv6 {
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
		return JoinCode{}, fmt.Errorf("keys: reading a join code: %w", err)
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

// Grant is a signer's word that whoever proves the invite key may become a member.
type Grant struct {
	// Invite and Key are derived from the invite's seed.
	Invite InviteID
	Key    ed25519.PublicKey
	// Uses is how many hosts may join, at least 1.
	Uses uint32
	// Expires is exact to the second.
	Expires time.Time
	// Groups are given to the new member: valid names, ascending, at most MaxGroups.
	Groups []string
	// Name is the host name that the new member gets, or "" for the one it asks for.
	Name string
	// Approve says that a person must approve each joiner.
	Approve bool
	// Issuer is the signer; SignGrant sets it.
	Issuer NodeID
	// Issued is the signer's time, in seconds.
	Issued time.Time
}

// wireGrant is the payload of "warren/grant".
type wireGrant struct {
	Invite  []byte   `cbor:"1,keyasint"`
	Key     []byte   `cbor:"2,keyasint"`
	Uses    uint32   `cbor:"3,keyasint"`
	Expires uint64   `cbor:"4,keyasint"`
	Groups  []string `cbor:"5,keyasint,omitempty"`
	Name    string   `cbor:"6,keyasint,omitempty"`
	Approve bool     `cbor:"7,keyasint,omitempty"`
	Issuer  []byte   `cbor:"8,keyasint"`
	Issued  uint64   `cbor:"9,keyasint"`
}

const (
	kindGrant   = "warren/grant"
	kindReceipt = "warren/receipt"
)

// SignGrant returns g signed by ca. The error wraps ErrObject if g is not as documented.
func SignGrant(g Grant, ca *CA) ([]byte, error) {
	g.Issuer = ca.Node()
	if !g.valid() {
		return nil, fmt.Errorf("keys: signing %s: %w", kindGrant, ErrObject)
	}
	return ca.sign(kindGrant, wireGrant{
		Invite: g.Invite[:], Key: g.Key, Uses: g.Uses, Expires: seconds(g.Expires), Groups: g.Groups, Name: g.Name,
		Approve: g.Approve, Issuer: g.Issuer[:], Issued: seconds(g.Issued),
	})
}

// PeekGrant returns what b claims to grant, after all checks but the signature.
func PeekGrant(b []byte) (*Grant, error) {
	_, g, err := readGrant(b)
	return g, err
}

// ParseGrant reads a grant that a signer at the head of a must have signed. Whether it is expired or used up is the
// caller's to judge. The error wraps ErrUnknownSigner if the signer is none.
func ParseGrant(b []byte, a *Authority) (*Grant, error) {
	o, g, err := readGrant(b)
	if err != nil {
		return nil, err
	}
	if err := a.verifySigned(o, g.Issuer); err != nil {
		return nil, err
	}
	return g, nil
}

func readGrant(b []byte) (*canon.Object, *Grant, error) {
	var w wireGrant
	o, err := open(b, kindGrant, MaxSigned, &w)
	if err != nil {
		return nil, nil, err
	}
	g := &Grant{
		Key: w.Key, Uses: w.Uses, Expires: instant(w.Expires), Groups: w.Groups, Name: w.Name, Approve: w.Approve,
		Issued: instant(w.Issued),
	}
	ok := array(&g.Invite, w.Invite) && array(&g.Issuer, w.Issuer) && w.Expires <= maxSeconds && w.Issued <= maxSeconds
	if !ok || !g.valid() {
		return nil, nil, fmt.Errorf("keys: reading %s: %w", kindGrant, ErrObject)
	}
	return o, g, nil
}

func (g *Grant) valid() bool {
	return !g.Invite.IsZero() && !g.Issuer.IsZero() && validKey(g.Key) && g.Uses > 0 && validLabels(g.Groups, MaxGroups) &&
		(g.Name == "" || ValidName(g.Name))
}

// Receipt is a signer's word that an invite made a host a member; it is written before the certificate.
type Receipt struct {
	// Invite and Node are together the key of a receipt: one host uses an invite once.
	Invite InviteID
	Node   NodeID
	// Name and Addrs (IPv6, then at most one IPv4) are what the member got.
	Name  string
	Addrs []netip.Addr
	// At is the signer's time, in seconds.
	At time.Time
	// Signer is who wrote it; SignReceipt sets it.
	Signer NodeID
}

// wireReceipt is the payload of "warren/receipt".
type wireReceipt struct {
	Invite []byte   `cbor:"1,keyasint"`
	Node   []byte   `cbor:"2,keyasint"`
	Name   string   `cbor:"3,keyasint"`
	Addrs  [][]byte `cbor:"4,keyasint"`
	At     uint64   `cbor:"5,keyasint"`
	Signer []byte   `cbor:"6,keyasint"`
}

// Subject returns the SHA-256 of invite and node id, the name under which a receipt is stored.
func (r *Receipt) Subject() [32]byte { return sha256.Sum256(append(r.Invite[:], r.Node[:]...)) }

// SignReceipt returns r signed by ca. The error wraps ErrObject if r is not as documented.
func SignReceipt(r Receipt, ca *CA) ([]byte, error) {
	r.Signer = ca.Node()
	if !r.valid() {
		return nil, fmt.Errorf("keys: signing %s: %w", kindReceipt, ErrObject)
	}
	w := wireReceipt{Invite: r.Invite[:], Node: r.Node[:], Name: r.Name, At: seconds(r.At), Signer: r.Signer[:]}
	for _, a := range r.Addrs {
		w.Addrs = append(w.Addrs, a.AsSlice())
	}
	return ca.sign(kindReceipt, w)
}

// PeekReceipt returns what b claims to confirm, after all checks but the signature.
func PeekReceipt(b []byte) (*Receipt, error) {
	_, r, err := readReceipt(b)
	return r, err
}

// ParseReceipt reads a receipt that a signer at the head of a must have signed. The error wraps ErrUnknownSigner if the
// signer is none.
func ParseReceipt(b []byte, a *Authority) (*Receipt, error) {
	o, r, err := readReceipt(b)
	if err != nil {
		return nil, err
	}
	if err := a.verifySigned(o, r.Signer); err != nil {
		return nil, err
	}
	return r, nil
}

func readReceipt(b []byte) (*canon.Object, *Receipt, error) {
	var w wireReceipt
	o, err := open(b, kindReceipt, MaxSigned, &w)
	if err != nil {
		return nil, nil, err
	}
	r := &Receipt{Name: w.Name, At: instant(w.At)}
	ok := array(&r.Invite, w.Invite) && array(&r.Node, w.Node) && array(&r.Signer, w.Signer) && w.At <= maxSeconds
	for _, b := range w.Addrs {
		a, good := netip.AddrFromSlice(b)
		ok = ok && good
		r.Addrs = append(r.Addrs, a)
	}
	if !ok || !r.valid() {
		return nil, nil, fmt.Errorf("keys: reading %s: %w", kindReceipt, ErrObject)
	}
	return o, r, nil
}

func (r *Receipt) valid() bool {
	return !r.Invite.IsZero() && !r.Node.IsZero() && !r.Signer.IsZero() && ValidName(r.Name) && validAddrs(r.Addrs)
}

// validAddrs reports whether a holds one IPv6 address and then at most one IPv4 address.
func validAddrs(a []netip.Addr) bool {
	return (len(a) == 1 || len(a) == 2 && a[1].Is4()) && a[0].Is6() && !a[0].Is4In6() && a[0].Zone() == ""
}
