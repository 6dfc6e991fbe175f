package secret

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestDerivedGolden holds what two versions of the program must both derive.
func TestDerivedGolden(t *testing.T) {
	a, b := alice(t), bob(t)
	pair, err := a.Pair(b.Public(), [32]byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	proof, err := ProveWG(a, b.Public(), []byte("context"))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("check    %x\nseal     %x\nproof    %x\nrecovery %s\n", pair.Check[:], pair.Seal[:], proof, rfc8032(t).Recovery())
	const file = "testdata/derived.txt"
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
		t.Errorf("members of today derive something else\ngot\n%s\nwant\n%s", got, want)
	}
}

func TestPair(t *testing.T) {
	a, b, network := alice(t), bob(t), [32]byte{1}
	ab, err := a.Pair(b.Public(), network)
	ba, err2 := b.Pair(a.Public(), network)
	if err != nil || err2 != nil || ab != ba {
		t.Fatalf("the two sides disagree: %v, %v", err, err2)
	}
	if ab.Check == ab.Seal {
		t.Error("one key for two purposes")
	}
	c, err := NewWGPrivate()
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() (Pair, error){
		"another network": func() (Pair, error) { return a.Pair(b.Public(), [32]byte{2}) },
		"another peer":    func() (Pair, error) { return a.Pair(c.Public(), network) },
		"a stranger":      func() (Pair, error) { return c.Pair(b.Public(), network) },
	} {
		if other, err := f(); err != nil || other.Check == ab.Check || other.Seal == ab.Seal {
			t.Errorf("%s: got the same key, or %v", name, err)
		}
	}
}

// lowOrder are the points of low order, with which anybody would share the secret zero.
func lowOrder(t *testing.T) []WGPublic {
	var out []WGPublic
	for _, s := range []string{
		strings.Repeat("00", 32), "01" + strings.Repeat("00", 31),
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		out = append(out, WGPublic(unhex(t, s)))
	}
	return out
}

func TestLowOrderPoints(t *testing.T) {
	a := alice(t)
	for _, p := range lowOrder(t) {
		if _, err := a.Pair(p, [32]byte{}); !errors.Is(err, ErrKey) {
			t.Errorf("%x: a pair with a point of low order: %v", p, err)
		}
		if _, err := ProveWG(a, p, nil); !errors.Is(err, ErrKey) {
			t.Errorf("%x: a proof to a point of low order: %v", p, err)
		}
		// The secret would be zero, so that everybody could prove to hold the key.
		if CheckWG(a, p, nil, proof(make([]byte, 32), p, a.Public(), nil)) {
			t.Errorf("%x: a point of low order is proven", p)
		}
	}
}

func TestProveWG(t *testing.T) {
	a, b := alice(t), bob(t)
	good, err := ProveWG(a, b.Public(), []byte("context"))
	if err != nil || !CheckWG(b, a.Public(), []byte("context"), good) {
		t.Fatalf("a good proof is refused: %v", err)
	}
	eve, err := NewWGPrivate()
	if err != nil {
		t.Fatal(err)
	}
	forged, _ := ProveWG(eve, b.Public(), []byte("context"))
	flipped := good
	flipped[31] ^= 1
	if CheckWG(b, a.Public(), []byte("other"), good) {
		t.Error("a proof of another conversation is taken")
	}
	if CheckWG(eve, a.Public(), []byte("context"), good) {
		t.Error("a proof to another verifier is taken")
	}
	if CheckWG(b, a.Public(), []byte("context"), forged) || CheckWG(b, eve.Public(), []byte("context"), good) {
		t.Error("a proof with another key is taken")
	}
	if CheckWG(b, a.Public(), []byte("context"), flipped) || CheckWG(b, a.Public(), []byte("context"), [32]byte{}) {
		t.Error("a wrong proof is taken")
	}
	reflected, _ := ProveWG(b, a.Public(), []byte("context"))
	if CheckWG(b, a.Public(), []byte("context"), reflected) {
		t.Error("the verifier's own proof, sent back, is taken")
	}
}

func TestParseWGPublic(t *testing.T) {
	want := bob(t).Public()
	got, err := ParseWGPublic(want.String())
	if err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
	text, err := want.MarshalText()
	var back WGPublic
	if err2 := back.UnmarshalText(text); err != nil || err2 != nil || back != want || back.IsZero() {
		t.Errorf("got %v, %v, %v", back, err, err2)
	}
	good := want.String()
	for _, bad := range []string{
		"", good[:43], good + "=", good[:42] + "9=", " " + good, good + "\n", hex.EncodeToString(want[:]),
		base64.StdEncoding.EncodeToString(want[:31]), base64.StdEncoding.EncodeToString(append(want[:], 0)),
		base64.URLEncoding.EncodeToString(want[:]), strings.Repeat("A", 1<<20),
	} {
		if _, err := ParseWGPublic(bad); !errors.Is(err, ErrKey) {
			t.Errorf("%.60q: got %v, want %v", bad, err, ErrKey)
		} else if len(err.Error()) > 200 {
			t.Errorf("the error has %d bytes", len(err.Error()))
		}
	}
}
