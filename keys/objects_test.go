package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"warren/keys/canon"
)

func hashOf(b []byte) [32]byte { return sha256.Sum256(b) }

func TestObjectsGolden(t *testing.T) {
	w := newWorld(t, 0)
	var out strings.Builder
	for _, k := range w.kinds() {
		out.WriteString(vector(k.kind, k.good))
	}
	smallest := must(SignRecord(Record{Node: w.alice.ID()}, w.alice, w.a.Network))(t)
	out.WriteString(vector("the smallest record", smallest))
	out.WriteString(vector("a grant without options", must(SignGrant(Grant{Invite: w.grant().Invite, Key: w.grant().Key, Uses: 1, Expires: day(1), Issued: day(0)}, w.ca))(t)))
	out.WriteString(vector("a revocation of a certificate", must(SignRevocation(Revocation{Serial: big.NewInt(0x1234), Issuer: w.ca.Key(), At: day(2)}, w.ca))(t)))
	out.WriteString(vector("a revocation of an invite", must(SignRevocation(Revocation{Invite: w.grant().Invite, At: day(2)}, w.ca))(t)))
	golden(t, "objects.txt", out.String())
}

// TestObjectsRoundTrip holds that what is read is all that was written.
func TestObjectsRoundTrip(t *testing.T) {
	w := newWorld(t, 0)
	n := w.a.Network
	record := must(ParseRecord(must(SignRecord(w.record(), w.alice, n))(t), w.alice.Public(), n))(t)
	if want := w.record(); !reflect.DeepEqual(*record, want) {
		t.Errorf("got %+v, want %+v", *record, want)
	}
	grant := must(ParseGrant(must(SignGrant(w.grant(), w.ca))(t), w.a))(t)
	wantGrant := w.grant()
	wantGrant.Issuer = w.founder.ID()
	if !reflect.DeepEqual(*grant, wantGrant) {
		t.Errorf("got %+v, want %+v", *grant, wantGrant)
	}
	receipt := must(ParseReceipt(must(SignReceipt(w.receipt(), w.ca))(t), w.a))(t)
	wantReceipt := w.receipt()
	wantReceipt.Signer = w.founder.ID()
	if !reflect.DeepEqual(*receipt, wantReceipt) {
		t.Errorf("got %+v, want %+v", *receipt, wantReceipt)
	}
	other := wantReceipt
	other.Invite, other.Node = InviteID(wantReceipt.Node), NodeID(wantReceipt.Invite)
	if receipt.Subject() != wantReceipt.Subject() || receipt.Subject() == other.Subject() {
		t.Error("receipts are stored under the wrong name")
	}
	if l := must(ParseLeft(must(SignLeft(w.alice, n))(t), w.alice.Public(), n))(t); l.Node != w.alice.ID() {
		t.Errorf("got %+v", l)
	}
	for _, want := range []Revocation{
		w.revocation(),
		{Serial: big.NewInt(0x1234), Issuer: w.ca.Key(), At: day(2)},
		{Invite: w.grant().Invite, At: day(2), Reason: strings.Repeat("x", 200)},
	} {
		got := must(ParseRevocation(must(SignRevocation(want, w.ca))(t), w.a))(t)
		want.Signer = w.founder.ID()
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("got %+v, want %+v", *got, want)
		}
	}
	for _, k := range w.kinds() {
		if again := must(k.parse(k.good))(t); !bytes.Equal(again, k.good) {
			t.Errorf("%s is signed again as %x, was %x", k.kind, again, k.good)
		}
		if err := k.peek(k.good); err != nil {
			t.Errorf("%s: peeked: %v", k.kind, err)
		}
	}
}

// TestObjectsOfAnotherKind gives every reader every kind: one signature never passes for another.
func TestObjectsOfAnotherKind(t *testing.T) {
	w := newWorld(t, 0)
	for _, reader := range w.kinds() {
		for _, o := range w.kinds() {
			if reader.kind == o.kind {
				continue
			}
			if reader.peek(o.good) == nil {
				t.Errorf("a %s is peeked at as a %s", o.kind, reader.kind)
			}
			// The same payload that was signed as another kind: the header, which is signed, says so.
			relabelled := must(canon.Object{Kind: o.kind, Key: reader.kid, Payload: reader.payload(t)}.Sign(reader.by, w.a.Network[:]))(t)
			if _, err := reader.parse(relabelled); err == nil {
				t.Errorf("what was signed as %s is taken as %s", o.kind, reader.kind)
			}
			swapped := bytes.Replace(relabelled, []byte(o.kind), []byte(reader.kind), 1)
			if _, err := reader.parse(swapped); err == nil {
				t.Errorf("%s with its kind changed to %s is taken", o.kind, reader.kind)
			}
		}
	}
}

func TestObjectsFlips(t *testing.T) {
	w := newWorld(t, 0)
	for _, k := range w.kinds() {
		for i := range 8 * len(k.good) {
			b := bytes.Clone(k.good)
			b[i/8] ^= 1 << (i % 8)
			if _, err := k.parse(b); err == nil {
				t.Errorf("%s: bit %d of byte %d changes nothing", k.kind, i%8, i/8)
			}
		}
		for i := range k.good {
			if _, err := k.parse(k.good[:i]); err == nil {
				t.Errorf("%s: the first %d bytes are enough", k.kind, i)
			}
		}
		if _, err := k.parse(append(bytes.Clone(k.good), 0)); !errors.Is(err, canon.ErrForm) {
			t.Errorf("%s: a byte behind: %v", k.kind, err)
		}
		if err := k.peek(make([]byte, MaxSigned+1)); !errors.Is(err, canon.ErrSize) {
			t.Errorf("%s: zeros beyond the limit: %v", k.kind, err)
		}
	}
}

// TestObjectsByForgers signs the right payloads with every key but the right one.
func TestObjectsByForgers(t *testing.T) {
	w, o := newWorld(t, 0), newWorld(t, 100)
	theirs := o.ca.Key()
	for _, k := range w.kinds() {
		if _, err := k.parse(k.wrap(t, k.payload(t), w.a.Network)); err != nil {
			t.Fatalf("%s, signed by hand: %v", k.kind, err)
		}
		if _, err := k.parse(k.wrap(t, k.payload(t), o.a.Network)); !errors.Is(err, canon.ErrSignature) {
			t.Errorf("%s, signed for another network: %v", k.kind, err)
		}
		if _, err := k.parse(k.wrap(t, k.payload(t), NetworkID{})); !errors.Is(err, canon.ErrSignature) {
			t.Errorf("%s, signed for no network: %v", k.kind, err)
		}
		for name, key := range map[string]ed25519.PrivateKey{
			"another member": w.bob.Key(), "the founder's identity": w.founder.Key(), "a root": w.root.Key(), "another network's signer": o.ca.secret.Key(),
		} {
			forged := k
			forged.by = key
			if _, err := k.parse(forged.wrap(t, k.payload(t), w.a.Network)); !errors.Is(err, canon.ErrSignature) {
				t.Errorf("%s, signed by %s: %v", k.kind, name, err)
			}
		}
		if k.kid == nil {
			continue
		}
		for name, kid := range map[string][]byte{"nobody": nil, "half of the signer": k.kid[:16], "more than the signer": append(bytes.Clone(k.kid), 0)} {
			forged := k
			forged.kid = kid
			if _, err := k.parse(forged.wrap(t, k.payload(t), w.a.Network)); !errors.Is(err, ErrObject) {
				t.Errorf("%s, in the name of %s: %v", k.kind, name, err)
			}
		}
		forged := k
		forged.kid, forged.by = theirs[:], o.ca.secret.Key()
		if _, err := k.parse(forged.wrap(t, k.payload(t), w.a.Network)); !errors.Is(err, ErrUnknownSigner) {
			t.Errorf("%s, by the signer of another network in its own name: %v", k.kind, err)
		}
		forged.kid = k.kid
		if _, err := k.parse(forged.wrap(t, k.payload(t), w.a.Network)); !errors.Is(err, canon.ErrSignature) {
			t.Errorf("%s, by the signer of another network in the name of ours: %v", k.kind, err)
		}
	}
}

// TestSignersSpeakForThemselves holds that a signer cannot put its word into another signer's mouth.
func TestSignersSpeakForThemselves(t *testing.T) {
	w := newWorld(t, 0)
	second := w.newCA(70, w.alice)
	w.a = w.append(must(w.a.AddSigner(second.Certificate(), w.root))(t))
	key := second.Key()
	for _, k := range w.kinds() {
		if k.kid == nil {
			continue
		}
		forged := k
		forged.kid, forged.by = key[:], second.secret.Key()
		if _, err := k.parse(forged.wrap(t, k.payload(t), w.a.Network)); !errors.Is(err, ErrUnknownSigner) {
			t.Errorf("%s of the founder, signed by the second signer: %v", k.kind, err)
		}
	}
}

// TestMembersSpeakForThemselves holds that a member cannot speak for another, whoever signs and whoever is asked.
func TestMembersSpeakForThemselves(t *testing.T) {
	w := newWorld(t, 0)
	n := w.a.Network
	if _, err := SignRecord(w.record(), w.bob, n); !errors.Is(err, ErrObject) {
		t.Errorf("bob signs alice's record: %v", err)
	}
	record, left := w.kinds()[0], w.kinds()[1]
	for _, k := range []signedKind{record, left} {
		k.by = w.bob.Key()
		forged := k.wrap(t, k.payload(t), n)
		if _, err := k.parse(forged); !errors.Is(err, canon.ErrSignature) {
			t.Errorf("%s of alice by bob, checked with her key: %v", k.kind, err)
		}
		var err error
		if k.kind == kindRecord {
			_, err = ParseRecord(forged, w.bob.Public(), n)
		} else {
			_, err = ParseLeft(forged, w.bob.Public(), n)
		}
		if !errors.Is(err, ErrObject) {
			t.Errorf("%s of alice by bob, checked with his key: %v", k.kind, err)
		}
	}
	for _, pub := range []ed25519.PublicKey{nil, w.bob.Public(), w.alice.Public()[:31]} {
		if _, err := ParseRecord(record.good, pub, n); err == nil {
			t.Errorf("alice's record is good for the key %x", []byte(pub))
		}
		if _, err := ParseLeft(left.good, pub, n); err == nil {
			t.Errorf("alice's word is good for the key %x", []byte(pub))
		}
	}
	node, seq, err := PeekRecord(record.good)
	if err != nil || node != w.alice.ID() || seq != 7 {
		t.Errorf("peeked: %s, %d, %v", node, seq, err)
	}
	if node, err := PeekLeft(left.good); err != nil || node != w.alice.ID() {
		t.Errorf("peeked: %s, %v", node, err)
	}
	if node, err := PeekLeft(record.good); err == nil || !node.IsZero() {
		t.Errorf("peeked at a record: %s, %v", node, err)
	}
}

// TestPayloadsRefused gives readers payloads that are signed well and say what they must not.
func TestPayloadsRefused(t *testing.T) {
	w := newWorld(t, 0)
	kinds := map[string]signedKind{}
	for _, k := range w.kinds() {
		kinds[strings.TrimPrefix(k.kind, "warren/")] = k
	}
	type gone = struct{}
	zero, short, many := make([]byte, 32), make([]byte, 31), func(n int, v any) []any { return slices.Repeat([]any{v}, n) }
	id := w.bob.ID()
	candidate := func(kind int, addr string, port int) []any {
		return []any{[]any{kind, netip.MustParseAddr(addr).AsSlice(), port}}
	}
	v6 := w.alice.ID().Addr(w.a.Network).AsSlice()
	for _, test := range []struct {
		kind  string
		label int
		name  string
		value any
	}{
		{"record", 1, "nobody", zero},
		{"record", 1, "a short id", short},
		{"record", 1, "no id", gone{}},
		{"record", 2, "no number", gone{}},
		{"record", 2, "a negative number", -1},
		{"record", 2, "a number as text", "7"},
		{"record", 3, "an empty list", []any{}},
		{"record", 3, "17 candidates", many(17, candidate(1, "192.0.2.1", 9)[0])},
		{"record", 3, "a candidate twice", many(2, candidate(1, "192.0.2.1", 9)[0])},
		{"record", 3, "kind 0", candidate(0, "192.0.2.1", 9)},
		{"record", 3, "kind 6", candidate(6, "192.0.2.1", 9)},
		{"record", 3, "kind 257", candidate(257, "192.0.2.1", 9)},
		{"record", 3, "port 0", candidate(1, "192.0.2.1", 0)},
		{"record", 3, "port 65536", candidate(1, "192.0.2.1", 65536)},
		{"record", 3, "no address", candidate(1, "0.0.0.0", 9)},
		{"record", 3, "broadcast", candidate(1, "255.255.255.255", 9)},
		{"record", 3, "multicast", candidate(1, "239.1.1.1", 9)},
		{"record", 3, "multicast of v6", candidate(1, "ff05::1", 9)},
		{"record", 3, "v4 in v6", candidate(1, "::ffff:192.0.2.1", 9)},
		{"record", 3, "an address of 5 bytes", []any{[]any{1, make([]byte, 5), 9}}},
		{"record", 3, "a candidate of two", []any{[]any{1, []byte{1, 2, 3, 4}}}},
		{"record", 3, "a candidate of four", []any{[]any{1, []byte{1, 2, 3, 4}, 9, 9}}},
		{"record", 3, "a map", map[int]int{}},
		{"record", 4, "three relays", []any{[]any{id[:], 1}, []any{id[:], 2}, []any{id[:], 3}}},
		{"record", 4, "a relay twice", many(2, []any{id[:], 1})},
		{"record", 4, "nobody's relay", []any{[]any{zero, 1}}},
		{"record", 4, "a slot of 33 bits", []any{[]any{id[:], 1 << 32}}},
		{"record", 5, "nobody", []any{zero}},
		{"record", 5, "somebody twice", many(2, id[:])},
		{"record", 5, "a short id", []any{short}},
		{"record", 6, "mapping 4", 4},
		{"record", 6, "mapping 0", 0},
		{"record", 7, "filtering 4", 4},
		{"record", 7, "filtering 256", 256},
		{"record", 8, "reachable 4", 4},
		{"record", 8, "reachable 0", 0},
		{"record", 9, "a long version", strings.Repeat("1", 33)},
		{"record", 9, "a version with an escape", "1\x1b[2J"},
		{"record", 9, "a version with a line end", "1\n2"},
		{"record", 9, "not ASCII", "1ä"},
		{"record", 9, "an empty version", ""},
		{"record", 9, "a version as bytes", []byte("1")},
		{"record", 15, "257 bytes more", make([]byte, 257)},
		{"record", 10, "an unknown key", 1},
		{"record", -1, "a negative key", 1},
		{"record", 0, "key 0", 1},
		{"left", 1, "nobody", zero},
		{"left", 1, "a short id", short},
		{"left", 1, "no id", gone{}},
		{"left", 2, "an unknown key", 1},
		{"grant", 1, "no invite", zero},
		{"grant", 1, "a short invite", short},
		{"grant", 2, "a key of small order", zero},
		{"grant", 2, "everybody's key", func() []byte { k, _ := universal(t); return k }()},
		{"grant", 2, "a short key", short},
		{"grant", 2, "no key", gone{}},
		{"grant", 3, "no uses", 0},
		{"grant", 3, "2^32 uses", 1 << 32},
		{"grant", 3, "half a use", 0.5},
		{"grant", 4, "after 9999", maxSeconds + 1},
		{"grant", 4, "beyond int64", uint64(1 << 63)},
		{"grant", 4, "never", gone{}},
		{"grant", 5, "groups descending", []string{"web", "admin"}},
		{"grant", 5, "a group twice", []string{"web", "web"}},
		{"grant", 5, "17 groups", strings.Split("abcdefghijklmnopq", "")},
		{"grant", 5, "a bad group", []string{"A"}},
		{"grant", 6, "a bad name", "a.b"},
		{"grant", 6, "a reserved name", "localhost"},
		{"grant", 6, "an empty name", ""},
		{"grant", 7, "approval as a number", 1},
		{"grant", 7, "no approval, said", false},
		{"grant", 8, "no issuer", zero},
		{"grant", 9, "before 1970", -1},
		{"grant", 10, "an unknown key", 1},
		{"receipt", 1, "no invite", zero},
		{"receipt", 2, "nobody", zero},
		{"receipt", 3, "a bad name", "A"},
		{"receipt", 3, "no name", ""},
		{"receipt", 4, "no addresses", []any{}},
		{"receipt", 4, "IPv4 alone", []any{[]byte{100, 64, 0, 9}}},
		{"receipt", 4, "two IPv6", many(2, v6)},
		{"receipt", 4, "IPv4 first", []any{[]byte{100, 64, 0, 9}, v6}},
		{"receipt", 4, "three", []any{v6, []byte{100, 64, 0, 9}, []byte{100, 64, 0, 8}}},
		{"receipt", 4, "an address of 5 bytes", []any{v6, make([]byte, 5)}},
		{"receipt", 4, "v4 in v6", []any{netip.MustParseAddr("::ffff:100.64.0.9").AsSlice()}},
		{"receipt", 5, "after 9999", maxSeconds + 1},
		{"receipt", 6, "no signer", zero},
		{"receipt", 6, "a short signer", short},
		{"receipt", 7, "an unknown key", 1},
		{"revocation", 1, "nobody", zero},
		{"revocation", 1, "nothing at all", gone{}},
		{"revocation", 1, "a short id", short},
		{"revocation", 1, "an empty id", []byte{}},
		{"revocation", 2, "a serial number without issuer", []byte{1}},
		{"revocation", 3, "an issuer without serial number", id[:]},
		{"revocation", 4, "an invite too", id[:]},
		{"revocation", 4, "the invite nobody has", zero},
		{"revocation", 5, "no signer", zero},
		{"revocation", 6, "after 9999", maxSeconds + 1},
		{"revocation", 6, "never", gone{}},
		{"revocation", 7, "a long reason", strings.Repeat("x", 201)},
		{"revocation", 7, "a reason with an escape", "\x1b[31m"},
		{"revocation", 7, "an empty reason", ""},
		{"revocation", 8, "an unknown key", 1},
	} {
		k := kinds[test.kind]
		b := k.wrap(t, k.with(t, test.label, test.value), w.a.Network)
		if _, err := k.parse(b); !errors.Is(err, ErrObject) && !errors.Is(err, canon.ErrForm) {
			t.Errorf("%s, %s (%d): got %v", test.kind, test.name, test.label, err)
		}
		if k.peek(b) == nil {
			t.Errorf("%s, %s (%d): peeked at", test.kind, test.name, test.label)
		}
	}
}

// TestRevocationOfTwoThings also covers a serial number in a second form.
func TestRevocationOfTwoThings(t *testing.T) {
	w := newWorld(t, 0)
	id, key := w.alice.ID(), w.ca.Key()
	signer := w.founder.ID()
	k := w.kinds()[4]
	for name, test := range map[string]struct {
		wire wireRevocation
		good bool
	}{
		"a certificate":             {wireRevocation{Serial: []byte{1}, Issuer: key[:], Signer: signer[:]}, true},
		"a serial of 16 bytes":      {wireRevocation{Serial: bytes.Repeat([]byte{0xff}, 16), Issuer: key[:], Signer: signer[:]}, true},
		"a serial with a zero":      {wireRevocation{Serial: []byte{0, 1}, Issuer: key[:], Signer: signer[:]}, false},
		"a serial of 17 bytes":      {wireRevocation{Serial: bytes.Repeat([]byte{1}, 17), Issuer: key[:], Signer: signer[:]}, false},
		"a short issuer":            {wireRevocation{Serial: []byte{1}, Issuer: key[:31], Signer: signer[:]}, false},
		"a member and a serial":     {wireRevocation{Node: id[:], Serial: []byte{1}, Issuer: key[:], Signer: signer[:]}, false},
		"an invite and a serial":    {wireRevocation{Invite: id[:], Serial: []byte{1}, Issuer: key[:], Signer: signer[:]}, false},
		"all three":                 {wireRevocation{Node: id[:], Invite: id[:], Serial: []byte{1}, Issuer: key[:], Signer: signer[:]}, false},
		"nothing":                   {wireRevocation{Signer: signer[:]}, false},
		"in the name of a non-sign": {wireRevocation{Node: id[:], Signer: id[:]}, false},
	} {
		b := k.wrap(t, must(canon.Marshal(test.wire))(t), w.a.Network)
		if r, err := ParseRevocation(b, w.a); (err == nil) != test.good {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
	}
	for name, r := range map[string]Revocation{
		"nothing": {}, "two things": {Node: id, Invite: InviteID(id)}, "a serial of 0": {Serial: new(big.Int)}, "a negative one": {Serial: big.NewInt(-1)},
		"a reason of two lines": {Node: id, Reason: "a\nb"}, "a long reason": {Node: id, Reason: strings.Repeat("x", 201)},
	} {
		if b, err := SignRevocation(r, w.ca); !errors.Is(err, ErrObject) {
			t.Errorf("%s: signed as %x, %v", name, b, err)
		}
	}
}

// TestRecordsAreSmall is about members that want to fill the memory of others.
func TestRecordsAreSmall(t *testing.T) {
	w := newWorld(t, 0)
	k := w.kinds()[0]
	var list []any
	for i := range 10_000 {
		list = append(list, []any{1, []byte{10, byte(i >> 8), byte(i), 1}, 9})
	}
	b := k.wrap(t, k.with(t, 3, list), w.a.Network)
	for name, err := range map[string]error{"peek": k.peek(b), "parse": func() error { _, err := k.parse(b); return err }()} {
		if !errors.Is(err, canon.ErrSize) {
			t.Errorf("%s at a record of 10,000 candidates: %v", name, err)
		}
	}
	if n := testing.AllocsPerRun(10, func() { _ = k.peek(b) }); n > 20 {
		t.Errorf("it takes %v allocations to refuse it", n)
	}
	r := w.record()
	r.Candidates = nil
	for i := range MaxCandidates {
		r.Candidates = append(r.Candidates, Candidate{Relayed, netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)}), 65535)})
	}
	r.Contacts, r.Version, r.Extra = append(r.Contacts, w.founder.ID()), strings.Repeat("v", 32), nil
	if b, err := SignRecord(r, w.alice, w.a.Network); err != nil {
		t.Errorf("a record that is full: %v", err)
	} else if len(b) > MaxRecord {
		t.Errorf("a record that is full has %d bytes", len(b))
	}
	for name, change := range map[string]func(*Record){
		"17 candidates": func(r *Record) {
			r.Candidates = append(r.Candidates, Candidate{Host, netip.MustParseAddrPort("1.2.3.4:5")})
		},
		"three relays":   func(r *Record) { r.Relays = append(r.Relays, RelaySlot{w.bob.ID(), 9}) },
		"three contacts": func(r *Record) { r.Contacts = append(r.Contacts, w.alice.ID()) },
		"a zone": func(r *Record) {
			r.Candidates = []Candidate{{Host, netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone("eth0"), 9)}}
		},
		"no address": func(r *Record) { r.Candidates = []Candidate{{Kind: Host}} },
		"257 bytes":  func(r *Record) { r.Extra = make([]byte, 257) },
		"a bell":     func(r *Record) { r.Version = "\a" },
		"mapping 9":  func(r *Record) { r.NAT.Mapping = 9 },
	} {
		bad := r
		bad.Candidates, bad.Relays, bad.Contacts = slices.Clone(r.Candidates), slices.Clone(r.Relays), slices.Clone(r.Contacts)
		change(&bad)
		if b, err := SignRecord(bad, w.alice, w.a.Network); !errors.Is(err, ErrObject) {
			t.Errorf("%s: signed as %x, %v", name, b, err)
		}
	}
}

func TestSignGrantRefuses(t *testing.T) {
	w := newWorld(t, 0)
	for name, change := range map[string]func(*Grant){
		"no invite":         func(g *Grant) { g.Invite = InviteID{} },
		"no key":            func(g *Grant) { g.Key = nil },
		"a bad key":         func(g *Grant) { g.Key = make([]byte, 32) },
		"no uses":           func(g *Grant) { g.Uses = 0 },
		"a bad name":        func(g *Grant) { g.Name = "NAS" },
		"groups descending": func(g *Grant) { g.Groups = []string{"b", "a"} },
	} {
		g := w.grant()
		change(&g)
		if b, err := SignGrant(g, w.ca); !errors.Is(err, ErrObject) {
			t.Errorf("%s: signed as %x, %v", name, b, err)
		}
	}
	long := w.grant()
	long.Groups = nil
	for c := 'a'; c < 'a'+MaxGroups; c++ {
		long.Groups = append(long.Groups, strings.Repeat(string(c), 63))
	}
	if b, err := SignGrant(long, w.ca); !errors.Is(err, canon.ErrSize) {
		t.Errorf("16 long groups: signed as %d bytes, %v", len(b), err)
	}
	g := w.grant()
	g.Issuer, g.Expires = w.bob.ID(), time.Unix(-5, 0)
	got := must(ParseGrant(must(SignGrant(g, w.ca))(t), w.a))(t)
	if got.Issuer != w.founder.ID() || !got.Expires.Equal(time.Unix(0, 0)) {
		t.Errorf("got %+v", got)
	}
}

func TestSignReceiptRefuses(t *testing.T) {
	w := newWorld(t, 0)
	for name, change := range map[string]func(*Receipt){
		"no invite":    func(r *Receipt) { r.Invite = InviteID{} },
		"nobody":       func(r *Receipt) { r.Node = NodeID{} },
		"no name":      func(r *Receipt) { r.Name = "" },
		"no addresses": func(r *Receipt) { r.Addrs = nil },
		"a zone":       func(r *Receipt) { r.Addrs[0] = r.Addrs[0].WithZone("eth0") },
		"the order":    func(r *Receipt) { slices.Reverse(r.Addrs) },
	} {
		r := w.receipt()
		change(&r)
		if b, err := SignReceipt(r, w.ca); !errors.Is(err, ErrObject) {
			t.Errorf("%s: signed as %x, %v", name, b, err)
		}
	}
}

func TestNamesOfKinds(t *testing.T) {
	var got []string
	for k := range CandidateKind(7) {
		got = append(got, k.String())
	}
	for b := range NATBehaviour(5) {
		got = append(got, fmt.Sprintf("%q", b))
	}
	want := `unknown host server-reflexive peer-reflexive mapped relayed unknown "" "endpoint-independent" "address-dependent" "address-and-port-dependent" ""`
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got %s, want %s", s, want)
	}
}
