package canon

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

const kindTest = "warren/test"

// key is the n-th fixed key, and name the SHA-256 of its public half.
func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}
func public(n byte) ed25519.PublicKey { return key(n).Public().(ed25519.PublicKey) }
func name(n byte) [32]byte            { return sha256.Sum256(public(n)) }

// raw writes CBOR as an attacker might: with nothing checked, but in deterministic order.
func raw(t testing.TB, v any) []byte {
	t.Helper()
	mode, err := cbor.EncOptions{Sort: cbor.SortCoreDeterministic}.EncMode()
	if err != nil {
		t.Fatal(err)
	}
	b, err := mode.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sign1 makes a COSE_Sign1 from the words of RFC 9052 sections 4.2 and 4.4 and not from the writer under test.
func sign1(t testing.TB, protected []byte, payload any, network []byte, by ed25519.PrivateKey) []byte {
	t.Helper()
	inner, _ := payload.([]byte)
	signature := ed25519.Sign(by, raw(t, []any{"Signature1", protected, network, inner}))
	return raw(t, cbor.Tag{Number: 18, Content: []any{protected, map[int]any{}, payload, signature}})
}

func TestObjectGolden(t *testing.T) {
	var out bytes.Buffer
	for _, o := range []Object{
		{Kind: kindTest, Payload: []byte("payload")},
		{Kind: kindTest, Key: []byte("a key's name"), Payload: []byte{}},
	} {
		b, err := o.Sign(key(1), []byte("network"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%x\n", b)
	}
	golden(t, "object.txt", out.String())
}

func TestObjectIsCOSE(t *testing.T) {
	for _, o := range []Object{
		{Kind: kindTest, Payload: []byte("payload")},
		{Kind: kindTest, Key: []byte("name"), Payload: []byte{}},
	} {
		got, err := o.Sign(key(1), []byte("network"))
		if err != nil {
			t.Fatal(err)
		}
		header := map[int]any{1: -8, 16: kindTest}
		if o.Key != nil {
			header[4] = o.Key
		}
		if want := sign1(t, raw(t, header), o.Payload, []byte("network"), key(1)); !bytes.Equal(got, want) {
			t.Errorf("got %x, want %x", got, want)
		}
		back, err := ParseObject(got, kindTest, len(got))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(back.Key, o.Key) || !bytes.Equal(back.Payload, o.Payload) {
			t.Errorf("got %+v, want %+v", back, o)
		}
		if err := back.Verify(public(1), []byte("network")); err != nil {
			t.Error(err)
		}
		for name, err := range map[string]error{
			"another key":     back.Verify(public(2), []byte("network")),
			"another network": back.Verify(public(1), []byte("networl")),
			"no network":      back.Verify(public(1), nil),
			"no key":          back.Verify(nil, []byte("network")),
			"half a key":      back.Verify(public(1)[:16], []byte("network")),
		} {
			if !errors.Is(err, ErrSignature) {
				t.Errorf("%s: got %v, want %v", name, err, ErrSignature)
			}
		}
	}
}

// TestObjectRefusesForms gives the reader objects whose signatures are good and whose form is not.
func TestObjectRefusesForms(t *testing.T) {
	good := raw(t, map[int]any{1: -8, 16: kindTest})
	payload := []byte("payload")
	signed := func(header []byte) []byte { return sign1(t, header, payload, nil, key(1)) }
	signature := ed25519.Sign(key(1), raw(t, []any{"Signature1", good, []byte{}, payload}))
	parts := func(tag uint64, parts ...any) []byte { return raw(t, cbor.Tag{Number: tag, Content: parts}) }
	if _, err := ParseObject(signed(good), kindTest, 1000); err != nil {
		t.Fatalf("a good object: %v", err)
	}
	valid := signed(good)
	for name, b := range map[string][]byte{
		"nothing":                       nil,
		"another kind":                  signed(raw(t, map[int]any{1: -8, 16: "warren/other"})),
		"the kind's beginning":          signed(raw(t, map[int]any{1: -8, 16: "warren/tes"})),
		"no kind":                       signed(raw(t, map[int]any{1: -8})),
		"the kind as number":            signed(raw(t, map[int]any{1: -8, 16: 5})),
		"the kind twice":                signed(unhex(t, "a3 01 27 10 6b 77617272656e2f74657374 10 6b 77617272656e2f74657374")),
		"no algorithm":                  signed(raw(t, map[int]any{16: kindTest})),
		"another algorithm":             signed(raw(t, map[int]any{1: -7, 16: kindTest})),
		"the algorithm as text":         signed(raw(t, map[int]any{1: "EdDSA", 16: kindTest})),
		"a further header":              signed(raw(t, map[int]any{1: -8, 3: 0, 16: kindTest})),
		"a critical header":             signed(raw(t, map[int]any{1: -8, 2: []any{16}, 16: kindTest})),
		"a header in the wrong order":   signed(unhex(t, "a2 10 6b 77617272656e2f74657374 01 27")),
		"a header in a longer head":     signed(unhex(t, "a2 01 38 07 10 6b 77617272656e2f74657374")),
		"an empty header":               signed([]byte{}),
		"a key's name that is empty":    signed(raw(t, map[int]any{1: -8, 4: []byte{}, 16: kindTest})),
		"a key's name as text":          signed(raw(t, map[int]any{1: -8, 4: "name", 16: kindTest})),
		"a detached payload":            sign1(t, good, nil, nil, key(1)),
		"a payload that is text":        parts(18, good, map[int]any{}, "payload", signature),
		"an unprotected header":         parts(18, good, map[int]any{99: 1}, payload, signature),
		"the key's name unprotected":    parts(18, good, map[int]any{4: []byte("name")}, payload, signature),
		"no signature":                  parts(18, good, map[int]any{}, payload, []byte{}),
		"three parts":                   parts(18, good, map[int]any{}, payload),
		"five parts":                    parts(18, good, map[int]any{}, payload, signature, signature),
		"another tag":                   parts(98, good, map[int]any{}, payload, signature),
		"no tag":                        valid[1:],
		"two tags":                      slices.Concat([]byte{0xd2}, valid),
		"a tag in a longer head":        slices.Concat([]byte{0xd8, 18}, valid[1:]),
		"a list of indefinite length":   slices.Concat([]byte{0xd2, 0x9f}, valid[2:], []byte{0xff}),
		"a byte behind":                 slices.Concat(valid, []byte{0}),
		"the object twice":              slices.Concat(valid, valid),
		"a COSE_Sign of the same words": joint(t, 1),
	} {
		if o, err := ParseObject(b, kindTest, 1000); !errors.Is(err, ErrForm) {
			t.Errorf("%s: got %+v, %v, want %v", name, o, err, ErrForm)
		}
	}
	if _, err := ParseObject(valid, kindTest, len(valid)-1); !errors.Is(err, ErrSize) {
		t.Errorf("beyond the limit: %v", err)
	}
}

// TestObjectFlips changes every bit and cuts at every place: nothing is both read and verified.
func TestObjectFlips(t *testing.T) {
	good, err := Object{Kind: kindTest, Key: []byte("name"), Payload: []byte("payload")}.Sign(key(1), []byte("network"))
	if err != nil {
		t.Fatal(err)
	}
	taken := func(b []byte) bool {
		o, err := ParseObject(b, kindTest, 1000)
		return err == nil && o.Verify(public(1), []byte("network")) == nil
	}
	if !taken(good) {
		t.Fatal("a good object is refused")
	}
	for i := range 8 * len(good) {
		b := bytes.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		if taken(b) {
			t.Errorf("bit %d of byte %d changes nothing", i%8, i/8)
		}
	}
	for i := range good {
		if taken(good[:i]) {
			t.Errorf("the first %d bytes are enough", i)
		}
	}
}

// TestSignatureHasOneForm adds the order of the group to the signature's scalar: a second signature for whoever does not
// check its range (RFC 8032 section 5.1.7), made without the key.
func TestSignatureHasOneForm(t *testing.T) {
	good, err := Object{Kind: kindTest, Payload: []byte("payload")}.Sign(key(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	order := unhex(t, "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	b := bytes.Clone(good)
	carry := 0
	for i, o := range order {
		sum := int(b[len(b)-32+i]) + int(o) + carry
		b[len(b)-32+i], carry = byte(sum), sum>>8
	}
	o, err := ParseObject(b, kindTest, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Verify(public(1), nil); !errors.Is(err, ErrSignature) {
		t.Errorf("a second form of a signature is taken: %v", err)
	}
}

func TestParsedObjectSharesNothing(t *testing.T) {
	b, err := Object{Kind: kindTest, Key: []byte("name"), Payload: []byte("payload")}.Sign(key(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	o, err := ParseObject(b, kindTest, 1000)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if string(o.Key) != "name" || string(o.Payload) != "payload" || o.Verify(public(1), nil) != nil {
		t.Errorf("after the input was overwritten: %+v", o)
	}
}

// joint is signed by these keys.
func joint(t testing.TB, by ...byte) []byte {
	t.Helper()
	j := &Joint{Kind: kindTest, Payload: []byte("payload")}
	for _, n := range by {
		if err := j.Add(key(n), name(n), []byte("network")); err != nil {
			t.Fatal(err)
		}
	}
	b, err := j.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// find knows the keys 1 to 3.
func find(id [32]byte) ed25519.PublicKey {
	for n := range byte(3) {
		if name(n+1) == id {
			return public(n + 1)
		}
	}
	return nil
}

func TestJointGolden(t *testing.T) {
	golden(t, "joint.txt", fmt.Sprintf("%x\n%x\n", joint(t, 1), joint(t, 1, 2, 3)))
}

func TestJointIsCOSE(t *testing.T) {
	body := raw(t, map[int]any{16: kindTest})
	var want []any
	ids := []byte{1, 2, 3}
	slices.SortFunc(ids, func(a, b byte) int { x, y := name(a), name(b); return bytes.Compare(x[:], y[:]) })
	for _, n := range ids {
		id := name(n)
		header := raw(t, map[int]any{1: -8, 4: id[:]})
		signature := ed25519.Sign(key(n), raw(t, []any{"Signature", body, header, []byte("network"), []byte("payload")}))
		want = append(want, []any{header, map[int]any{}, signature})
	}
	b := raw(t, cbor.Tag{Number: 98, Content: []any{body, map[int]any{}, []byte("payload"), want}})
	if got := joint(t, 1, 2, 3); !bytes.Equal(got, b) {
		t.Errorf("got %x, want %x", got, b)
	}
	if a, b := joint(t, 1, 2, 3), joint(t, 3, 1, 2, 1); !bytes.Equal(a, b) {
		t.Errorf("the order of signing, or signing twice, makes a difference:\n%x\n%x", a, b)
	}
}

func TestJointVerify(t *testing.T) {
	parse := func(b []byte) *Joint {
		t.Helper()
		j, err := ParseJoint(b, kindTest, 1000, 3)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	if err := parse(joint(t, 1, 2, 3)).Verify(find, []byte("network")); err != nil {
		t.Errorf("a good joint: %v", err)
	}
	renamed := &Joint{Kind: kindTest, Payload: []byte("payload")}
	if err := renamed.Add(key(9), name(1), []byte("network")); err != nil {
		t.Fatal(err)
	}
	swapped := parse(joint(t, 1, 2))
	swapped.Signatures[0].Bytes, swapped.Signatures[1].Bytes = swapped.Signatures[1].Bytes, swapped.Signatures[0].Bytes
	for name, err := range map[string]error{
		"one stranger among them":       parse(joint(t, 1, 2, 9)).Verify(find, []byte("network")),
		"a stranger under a known name": renamed.Verify(find, []byte("network")),
		"another network":               parse(joint(t, 1)).Verify(find, []byte("other")),
		"no network":                    parse(joint(t, 1)).Verify(find, nil),
		"signatures of each other":      swapped.Verify(find, []byte("network")),
		"no signatures":                 (&Joint{Kind: kindTest, Payload: []byte("payload")}).Verify(find, []byte("network")),
	} {
		if !errors.Is(err, ErrSignature) {
			t.Errorf("%s: got %v, want %v", name, err, ErrSignature)
		}
	}
}

func TestJointRefusesForms(t *testing.T) {
	body := raw(t, map[int]any{16: kindTest})
	one := func(n byte) []any {
		id := name(n)
		header := raw(t, map[int]any{1: -8, 4: id[:]})
		return []any{header, map[int]any{}, ed25519.Sign(key(n), raw(t, []any{"Signature", body, header, []byte("network"), []byte("payload")}))}
	}
	low, high := byte(1), byte(2)
	if x, y := name(low), name(high); bytes.Compare(x[:], y[:]) > 0 {
		low, high = high, low
	}
	parts := func(body []byte, unprotected map[int]any, payload any, signatures ...any) []byte {
		return raw(t, cbor.Tag{Number: 98, Content: []any{body, unprotected, payload, signatures}})
	}
	payload, none := []byte("payload"), map[int]any{}
	good := parts(body, none, payload, one(low), one(high))
	if _, err := ParseJoint(good, kindTest, 1000, 2); err != nil {
		t.Fatalf("a good joint: %v", err)
	}
	short := one(low)
	short[0] = raw(t, map[int]any{1: -8, 4: []byte("name")})
	nameless := one(low)
	nameless[0] = raw(t, map[int]any{1: -8})
	unprotected := one(low)
	unprotected[1] = map[int]any{99: 1}
	for name, b := range map[string][]byte{
		"nothing":                         nil,
		"the wrong order":                 parts(body, none, payload, one(high), one(low)),
		"a signature twice":               parts(body, none, payload, one(low), one(low)),
		"no signatures":                   parts(body, none, payload),
		"another kind":                    parts(raw(t, map[int]any{16: "warren/other"}), none, payload, one(low)),
		"no kind":                         parts([]byte{}, none, payload, one(low)),
		"a further header":                parts(raw(t, map[int]any{3: 0, 16: kindTest}), none, payload, one(low)),
		"an unprotected header":           parts(body, map[int]any{99: 1}, payload, one(low)),
		"a detached payload":              parts(body, none, nil, one(low)),
		"a short name":                    parts(body, none, payload, short),
		"no name":                         parts(body, none, payload, nameless),
		"a signature's unprotected":       parts(body, none, payload, unprotected),
		"a byte behind":                   slices.Concat(good, []byte{0}),
		"cut":                             good[:len(good)-1],
		"a COSE_Sign1 of the same header": sign1(t, body, payload, nil, key(1)),
	} {
		if j, err := ParseJoint(b, kindTest, 1000, 2); !errors.Is(err, ErrForm) {
			t.Errorf("%s: got %+v, %v, want %v", name, j, err, ErrForm)
		}
	}
	if _, err := ParseJoint(joint(t, 1, 2, 3), kindTest, 1000, 2); !errors.Is(err, ErrSize) {
		t.Errorf("three signatures, at most two: %v", err)
	}
	if _, err := ParseJoint(good, kindTest, len(good)-1, 2); !errors.Is(err, ErrSize) {
		t.Errorf("beyond the limit: %v", err)
	}
}

// TestSignerIsEd25519 holds that no other key signs anything.
func TestSignerIsEd25519(t *testing.T) {
	if _, err := (Object{Kind: kindTest, Payload: []byte{}}).Sign(p256(t), nil); err == nil {
		t.Error("an object is signed by a key of another curve")
	}
	if err := (&Joint{Kind: kindTest, Payload: []byte{}}).Add(p256(t), [32]byte{}, nil); err == nil {
		t.Error("a joint is signed by a key of another curve")
	}
}

func FuzzObject(f *testing.F) {
	for _, o := range []Object{{Kind: kindTest, Payload: []byte("payload")}, {Kind: kindTest, Key: []byte("name"), Payload: []byte{}}} {
		b, err := o.Sign(key(1), nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseObject(b, kindTest, 1000)
		if err != nil {
			if !errors.Is(err, ErrForm) && !errors.Is(err, ErrSize) {
				t.Errorf("an error that nobody tells apart: %v", err)
			}
			return
		}
		// What was read is all that there is: written by hand it is the same.
		header := map[int]any{1: -8, 16: kindTest}
		if len(o.Key) > 0 {
			header[4] = o.Key
		}
		again := raw(t, cbor.Tag{Number: 18, Content: []any{raw(t, header), map[int]any{}, o.Payload, o.signature}})
		if !bytes.Equal(again, b) {
			t.Errorf("%x is written again as %x", b, again)
		}
		if o.Verify(public(1), nil) == nil {
			same, err := Object{Kind: kindTest, Key: o.Key, Payload: o.Payload}.Sign(key(1), nil)
			if err != nil || !bytes.Equal(same, b) {
				t.Errorf("%x verifies, and the key makes %x, %v", b, same, err)
			}
		}
	})
}

func FuzzJoint(f *testing.F) {
	f.Add(joint(f, 1))
	f.Add(joint(f, 1, 2, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := ParseJoint(b, kindTest, 1000, 3)
		if err != nil {
			if !errors.Is(err, ErrForm) && !errors.Is(err, ErrSize) {
				t.Errorf("an error that nobody tells apart: %v", err)
			}
			return
		}
		if again, err := j.Marshal(); err != nil || !bytes.Equal(again, b) || len(j.Signatures) > 3 {
			t.Errorf("%x is written again as %x, %v", b, again, err)
		}
		_ = j.Verify(find, []byte("network"))
	})
}
