package canon

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
)

func p256(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func hash(n byte) []byte { return bytes.Repeat([]byte{n}, 32) }

// bodies has one or two of every kind.
func bodies() []Body {
	return []Body{
		&Genesis{
			Name: "home", Range: Prefix{Addr: []byte{100, 64, 0, 0}, Bits: 10}, Roots: [][]byte{hash(1), hash(2)}, Threshold: 1,
			Created: 1785585600, Nonce: bytes.Repeat([]byte{9}, 16),
		},
		&SignerAdd{Certificate: []byte("certificate")},
		&SignerRemove{Signer: hash(3)},
		&SignerRemove{Signer: hash(3), Certificates: [][]byte{hash(4), hash(5)}, Revocations: [][]byte{hash(6)}, More: true},
		&RootAdd{Key: hash(7)},
		&RootRemove{Key: hash(7)},
		&Threshold{K: 2},
		&Policy{},
		&Policy{StrictExpiry: true, Lifetime: 86400, FailClosedAfter: 3600},
	}
}

func head(b Body) Head {
	if b.kind() == KindGenesis {
		return Head{}
	}
	return Head{Index: 5, Prev: [32]byte(hash(8))}
}

func entry(t testing.TB, b Body) []byte {
	t.Helper()
	e, err := NewEntry(head(b), b)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Sign(key(1), name(1), []byte("network")); err != nil {
		t.Fatal(err)
	}
	out, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEntryGolden(t *testing.T) {
	var out bytes.Buffer
	for _, body := range bodies() {
		b := entry(t, body)
		fmt.Fprintf(&out, "%s\n%x\nhash %x\n\n", reflect.TypeOf(body).Elem().Name(), b, EntryHash(b))
		e, err := ParseEntry(b)
		if err != nil {
			t.Errorf("%T: %v", body, err)
			continue
		}
		if e.Head != head(body) || !reflect.DeepEqual(e.Body, body) {
			t.Errorf("%T: got %+v at %+v, want %+v at %+v", body, e.Body, e.Head, body, head(body))
		}
	}
	golden(t, "entries.txt", out.String())
}

// payload makes a signed entry of this payload.
func payload(t testing.TB, p []byte) []byte {
	t.Helper()
	j := &Joint{Kind: kindLog, Payload: p}
	if err := j.Add(key(1), name(1), []byte("network")); err != nil {
		t.Fatal(err)
	}
	b, err := j.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEntryRefuses(t *testing.T) {
	m := func(pairs ...any) map[int]any {
		out := map[int]any{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i].(int)] = pairs[i+1]
		}
		return out
	}
	k := map[int]any{1: 2} // the body of a threshold
	genesis := bodies()[0]
	good := raw(t, m(1, 1, 2, 6, 3, 5, 4, hash(8), 5, k))
	if _, err := ParseEntry(payload(t, good)); err != nil {
		t.Fatalf("a good entry: %v", err)
	}
	for name, test := range map[string]struct {
		payload []byte
		want    error
	}{
		"nothing":                        {[]byte{}, ErrForm},
		"version 2":                      {raw(t, m(1, 2, 2, 6, 3, 5, 4, hash(8), 5, k)), ErrEntryVersion},
		"version 2 of another shape":     {raw(t, m(1, 2, 17, "new")), ErrEntryVersion},
		"version 0":                      {raw(t, m(1, 0, 2, 6, 3, 5, 4, hash(8), 5, k)), ErrForm},
		"no version":                     {raw(t, m(2, 6, 3, 5, 4, hash(8), 5, k)), ErrForm},
		"kind 0":                         {raw(t, m(1, 1, 2, 0, 3, 5, 4, hash(8), 5, k)), ErrForm},
		"kind 8":                         {raw(t, m(1, 1, 2, 8, 3, 5, 4, hash(8), 5, k)), ErrForm},
		"kind 262, which is 6 in a byte": {raw(t, m(1, 1, 2, 262, 3, 5, 4, hash(8), 5, k)), ErrForm},
		"the body of another kind":       {raw(t, m(1, 1, 2, 4, 3, 5, 4, hash(8), 5, k)), ErrForm},
		"a further key":                  {raw(t, m(1, 1, 2, 6, 3, 5, 4, hash(8), 5, k, 6, 0)), ErrForm},
		"a further key in the body":      {raw(t, m(1, 1, 2, 6, 3, 5, 4, hash(8), 5, m(1, 2, 2, 0))), ErrForm},
		"no body":                        {raw(t, m(1, 1, 2, 6, 3, 5, 4, hash(8))), ErrForm},
		"null for a body":                {raw(t, m(1, 1, 2, 6, 3, 5, 4, hash(8), 5, nil)), ErrForm},
		"no entry before":                {raw(t, m(1, 1, 2, 6, 3, 5, 5, k)), ErrForm},
		"a short hash of the one before": {raw(t, m(1, 1, 2, 6, 3, 5, 4, hash(8)[:31], 5, k)), ErrForm},
		"an empty one":                   {raw(t, m(1, 1, 2, 6, 3, 5, 4, []byte{}, 5, k)), ErrForm},
		"index 0 without genesis":        {raw(t, m(1, 1, 2, 6, 3, 0, 5, k)), ErrForm},
		"index 0 after something":        {raw(t, m(1, 1, 2, 6, 3, 0, 4, hash(8), 5, k)), ErrForm},
		"a later genesis without before": {raw(t, m(1, 1, 2, 1, 3, 5, 5, genesis)), ErrForm},
		"a later genesis":                {raw(t, m(1, 1, 2, 1, 3, 5, 4, hash(8), 5, genesis)), ErrForm},
		"a genesis after something":      {raw(t, m(1, 1, 2, 1, 3, 0, 4, hash(8), 5, genesis)), ErrForm},
		"a negative index":               {raw(t, m(1, 1, 2, 6, 3, -5, 4, hash(8), 5, k)), ErrForm},
		"a body that is bytes":           {raw(t, m(1, 1, 2, 6, 3, 5, 4, hash(8), 5, raw(t, k))), ErrForm},
		"a body in a second form":        {bytes.Replace(good, unhex(t, "a10102"), unhex(t, "a1011802"), 1), ErrForm},
		"a byte behind":                  {slices.Concat(good, []byte{0}), ErrForm},
	} {
		if e, err := ParseEntry(payload(t, test.payload)); !errors.Is(err, test.want) {
			t.Errorf("%s: got %+v, %v, want %v", name, e, err, test.want)
		}
	}
	other := &Joint{Kind: kindTest, Payload: good}
	if err := other.Add(key(1), name(1), nil); err != nil {
		t.Fatal(err)
	}
	if b, err := other.Marshal(); err != nil {
		t.Fatal(err)
	} else if _, err := ParseEntry(b); !errors.Is(err, ErrForm) {
		t.Errorf("an object of another kind: %v", err)
	}
}

func TestEntrySize(t *testing.T) {
	fits := func(n int) error {
		e, err := NewEntry(Head{Index: 1}, &SignerAdd{Certificate: make([]byte, n)})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Sign(key(1), name(1), nil); err != nil {
			t.Fatal(err)
		}
		b, err := e.Marshal()
		if err == nil {
			_, err = ParseEntry(b)
		}
		return err
	}
	if err := fits(MaxEntry - 300); err != nil {
		t.Errorf("just below the limit: %v", err)
	}
	if err := fits(MaxEntry); !errors.Is(err, ErrSize) {
		t.Errorf("above the limit: %v", err)
	}
	if _, err := ParseEntry(make([]byte, MaxEntry+1)); !errors.Is(err, ErrSize) {
		t.Errorf("zeros above the limit: %v", err)
	}
	many := &Joint{Kind: kindLog, Payload: []byte{0xa0}}
	for i := range byte(maxSignatures + 1) {
		if err := many.Add(key(i), name(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	b, err := many.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseEntry(b); !errors.Is(err, ErrSize) {
		t.Errorf("%d signatures: %v", len(many.Signatures), err)
	}
	unsigned, err := NewEntry(Head{Index: 1}, &Threshold{K: 1})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := unsigned.Marshal(); err == nil {
		t.Errorf("an entry without signature is %x", b)
	}
}

func TestHashes(t *testing.T) {
	got, err := Hashes([][]byte{hash(1), hash(2), hash(200)})
	if err != nil || len(got) != 3 || got[2] != [32]byte(hash(200)) {
		t.Errorf("got %x, %v", got, err)
	}
	for name, list := range map[string][][]byte{
		"descending": {hash(2), hash(1)}, "twice": {hash(1), hash(1)}, "short": {hash(1)[:31]}, "long": {append(hash(1), 0)}, "empty": {{}},
	} {
		if got, err := Hashes(list); !errors.Is(err, ErrForm) {
			t.Errorf("%s: got %x, %v", name, got, err)
		}
	}
}

func FuzzEntry(f *testing.F) {
	for _, b := range bodies() {
		f.Add(entry(f, b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEntry(b)
		if err != nil {
			if !errors.Is(err, ErrForm) && !errors.Is(err, ErrSize) && !errors.Is(err, ErrEntryVersion) {
				t.Errorf("an error that nobody tells apart: %v", err)
			}
			return
		}
		checkEntry(t, e, b)
	})
}

// FuzzEntryPayload signs what it is given, so that all of it reaches the reader of payloads.
func FuzzEntryPayload(f *testing.F) {
	for _, body := range bodies() {
		e, err := NewEntry(head(body), body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(e.Joint.Payload)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > MaxEntry {
			return
		}
		b := payload(t, p)
		if e, err := ParseEntry(b); err == nil {
			checkEntry(t, e, b)
		}
	})
}

func checkEntry(t *testing.T, e *Entry, b []byte) {
	t.Helper()
	if again, err := e.Marshal(); err != nil || !bytes.Equal(again, b) {
		t.Errorf("%x is written again as %x, %v", b, again, err)
	}
	anew, err := NewEntry(e.Head, e.Body)
	if err != nil || !bytes.Equal(anew.Joint.Payload, e.Joint.Payload) {
		t.Errorf("%x is made again as %x, %v", e.Joint.Payload, anew.Joint.Payload, err)
	}
	if (e.Index == 0) != (e.Body.kind() == KindGenesis) || e.Index > math.MaxUint64-1 && e.Prev == [32]byte{} {
		t.Errorf("%T at %+v", e.Body, e.Head)
	}
}
