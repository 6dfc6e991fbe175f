package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"flag"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"warren/keys/canon"
	"warren/keys/secret"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file below testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: the format changed; members of today cannot read it\ngot\n%s\nwant\n%s", file, got, want)
	}
}

// vector is one line of a golden file.
func vector(name string, b []byte) string { return fmt.Sprintf("%s %d\n%x\n\n", name, len(b), b) }

// must is used as must(f())(t).
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func fixed(n byte) secret.Ed25519 {
	return secret.FromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}
func identity(n byte) *Identity { return &Identity{fixed(n)} }
func rootKey(n byte) *Root      { return &Root{fixed(n)} }

func wireguard(n byte) WGPrivate { return WGPrivate(bytes.Repeat([]byte{n}, 32)) }

// day is when everything here happens.
func day(n int) time.Time { return time.Date(2026, 8, 1+n, 12, 0, 0, 0, time.UTC) }

// world is a network with fixed keys: two roots, a founder who signs, and two members.
type world struct {
	testing.TB
	root, recovery  *Root
	founder         *Identity
	alice, bob      *Identity
	ca              *CA
	genesis, signer []byte // the log
	a               *Authority
}

// newWorld makes the n-th network; networks differ in all their keys.
func newWorld(t testing.TB, n byte) *world {
	t.Helper()
	w := &world{
		TB: t, root: rootKey(n + 1), recovery: rootKey(n + 2), founder: identity(n + 3), alice: identity(n + 4), bob: identity(n + 5),
	}
	spec := Founding{Name: "home", IPRange: DefaultIPRange(), Created: day(0)}
	w.genesis = must(spec.genesis(w.root, w.recovery.Public(), [nonceBytes]byte{n, 1, 2, 3}))(t)
	w.a = must(Replay([][]byte{w.genesis}))(t)
	w.ca = w.newCA(n+6, w.founder)
	w.signer = must(w.a.AddSigner(w.ca.Certificate(), w.root))(t)
	w.a = w.append(w.signer)
	return w
}

func (w *world) newCA(key byte, of *Identity) *CA {
	w.Helper()
	return must(newCA(fixed(key), w.a.Network, w.a.Name, w.a.Prefixes(), of.ID(), day(0)))(w.TB)
}

func (w *world) append(entry []byte) *Authority {
	w.Helper()
	return must(w.a.Append(entry))(w.TB)
}

// profile is what the founder's signer certifies of a member.
func (w *world) profile(name string) Profile {
	return Profile{
		Name: name, WG: wireguard(9).Public(), Since: day(0), NotBefore: day(0), NotAfter: day(0).Add(DefaultLifetime),
		Serial: new(big.Int).SetBytes(append([]byte{0x40}, make([]byte, 15)...)),
	}
}

func (w *world) issue(p Profile, id *Identity) *Certificate {
	w.Helper()
	return must(ParseCertificate(must(w.ca.Issue(p, id.Public()))(w.TB)))(w.TB)
}

func (w *world) record() Record {
	return Record{
		Node: w.alice.ID(), Seq: 7,
		Candidates: []Candidate{
			{Host, netip.MustParseAddrPort("192.168.1.5:41641")},
			{ServerReflexive, netip.MustParseAddrPort("198.51.100.11:41641")},
			{Mapped, netip.MustParseAddrPort("[2001:db8::1]:1")},
		},
		Relays: []RelaySlot{{w.founder.ID(), 0xfffffffe}, {w.bob.ID(), 0}}, Contacts: []NodeID{w.bob.ID()},
		NAT: NAT{EndpointIndependent, AddressAndPortDependent}, ReachableUDP: true, ReachableTCP: true, Version: "1.2.3", Extra: []byte{1, 2},
	}
}

func (w *world) grant() Grant {
	i := JoinCode{Network: w.a.Network, Seed: [16]byte{5}}.Invite()
	return Grant{
		Invite: i.ID, Key: i.Key.Public().(ed25519.PublicKey), Uses: 3, Expires: day(1).Add(time.Second), Groups: []string{"admin", "web"},
		Name: "nas", Approve: true, Issued: day(0),
	}
}

func (w *world) receipt() Receipt {
	return Receipt{
		Invite: w.grant().Invite, Node: w.alice.ID(), Name: "nas", At: day(0),
		Addrs: []netip.Addr{w.alice.ID().Addr(w.a.Network), netip.MustParseAddr("100.64.0.9")},
	}
}

func (w *world) revocation() Revocation {
	return Revocation{Node: w.alice.ID(), At: day(2), Reason: "stolen"}
}

// signedKind is one kind of signed object, so that attacks that work for one are tried on all.
type signedKind struct {
	kind string
	good []byte
	// by signs it, and kid is its name if the payload does not name it.
	by  ed25519.PrivateKey
	kid []byte
	// peek and parse read it; parse returns what it read signed anew by the same key.
	peek  func(b []byte) error
	parse func(b []byte) ([]byte, error)
}

// kinds are all objects of the world.
func (w *world) kinds() []signedKind {
	w.Helper()
	n, key := w.a.Network, w.ca.Key()
	sign := func(b []byte, err error) []byte { w.Helper(); return must(b, err)(w.TB) }
	again := func(v any, err error) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		switch v := v.(type) {
		case *Record:
			return SignRecord(*v, w.alice, n)
		case *Left:
			return SignLeft(w.alice, n)
		case *Grant:
			return SignGrant(*v, w.ca)
		case *Receipt:
			return SignReceipt(*v, w.ca)
		case *Revocation:
			return SignRevocation(*v, w.ca)
		}
		panic("a kind without a test")
	}
	return []signedKind{
		{
			kindRecord, sign(SignRecord(w.record(), w.alice, n)), w.alice.Key(), nil,
			func(b []byte) error { _, _, err := PeekRecord(b); return err },
			func(b []byte) ([]byte, error) { v, err := ParseRecord(b, w.alice.Public(), n); return again(v, err) },
		},
		{
			kindLeft, sign(SignLeft(w.alice, n)), w.alice.Key(), nil,
			func(b []byte) error { _, err := PeekLeft(b); return err },
			func(b []byte) ([]byte, error) { v, err := ParseLeft(b, w.alice.Public(), n); return again(v, err) },
		},
		{
			kindGrant, sign(SignGrant(w.grant(), w.ca)), w.ca.secret.Key(), key[:],
			func(b []byte) error { _, err := PeekGrant(b); return err },
			func(b []byte) ([]byte, error) { v, err := ParseGrant(b, w.a); return again(v, err) },
		},
		{
			kindReceipt, sign(SignReceipt(w.receipt(), w.ca)), w.ca.secret.Key(), key[:],
			func(b []byte) error { _, err := PeekReceipt(b); return err },
			func(b []byte) ([]byte, error) { v, err := ParseReceipt(b, w.a); return again(v, err) },
		},
		{
			kindRevocation, sign(SignRevocation(w.revocation(), w.ca)), w.ca.secret.Key(), key[:],
			func(b []byte) error { _, err := PeekRevocation(b); return err },
			func(b []byte) ([]byte, error) { v, err := ParseRevocation(b, w.a); return again(v, err) },
		},
	}
}

// payload returns what is signed in an object.
func (k signedKind) payload(t testing.TB) []byte {
	t.Helper()
	return must(canon.ParseObject(k.good, k.kind, MaxSigned))(t).Payload
}

// wrap signs any payload as the kind's rightful key would.
func (k signedKind) wrap(t testing.TB, payload []byte, network NetworkID) []byte {
	t.Helper()
	return must(canon.Object{Kind: k.kind, Key: k.kid, Payload: payload}.Sign(k.by, network[:]))(t)
}

// with returns the kind's payload with one key changed, or taken away if value is the empty struct.
func (k signedKind) with(t testing.TB, label int, value any) []byte {
	t.Helper()
	m := map[int]cbor.RawMessage{}
	if err := cbor.Unmarshal(k.payload(t), &m); err != nil {
		t.Fatal(err)
	}
	if value == (struct{}{}) {
		delete(m, label)
	} else {
		m[label] = must(cbor.Marshal(value))(t)
	}
	mode := must(cbor.EncOptions{Sort: cbor.SortCoreDeterministic}.EncMode())(t)
	return must(mode.Marshal(m))(t)
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	return must(hex.DecodeString(strings.ReplaceAll(s, " ", "")))(t)
}

// universal returns a public key of small order, the neutral element, and a signature that is good for it over every
// message: whoever takes such a key takes everybody's word for its owner's. RFC 8032 section 5.1.7 has S*B = R + k*A; with A
// neutral any S and R = S*B will do, and every key pair is such a pair of a scalar and a point.
func universal(t testing.TB) (ed25519.PublicKey, []byte) {
	t.Helper()
	neutral := append([]byte{1}, make([]byte, 31)...)
	k := fixed(123)
	h := sha512.Sum512(k.Key().Seed())
	s := h[:32]
	s[0] &= 248
	s[31] = s[31]&127 | 64
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	slices.Reverse(s)
	be := new(big.Int).Mod(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(be)
	signature := append(bytes.Clone(k.Public()), be...)
	if !ed25519.Verify(neutral, []byte("any message"), signature) || !ed25519.Verify(neutral, []byte("another"), signature) {
		t.Fatal("the attack does not work: what is it tested for?")
	}
	return neutral, signature
}
