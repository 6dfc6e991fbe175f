package secret

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rfc8032 is the key of test 1 in RFC 8032 section 7.1.
func rfc8032(t testing.TB) Ed25519 {
	return FromSeed(unhex(t, "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
}

func TestEd25519Vector(t *testing.T) {
	k := rfc8032(t)
	if got, want := hex.EncodeToString(k.Public()), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	if want := spkiPrefix + hex.EncodeToString(k.Public()); hex.EncodeToString(der) != want {
		t.Errorf("the SPKI is %x, not %s", der, want)
	}
	if got, want := fmt.Sprintf("%x", Hash(k.Public())), "06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9"; got != want {
		t.Errorf("the SPKI's hash is %s, want %s", got, want)
	}
}

func TestPEM(t *testing.T) {
	k := rfc8032(t)
	text, err := k.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	const want = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n"
	if string(text) != want {
		t.Errorf("got %s, want %s", text, want)
	}
	back, err := ParseEd25519(text, "a key")
	if err != nil || !back.Key().Equal(k.Key()) {
		t.Errorf("read back: %v", err)
	}
	wg := alice(t)
	if text, err = wg.MarshalPEM(); err != nil {
		t.Fatal(err)
	}
	if back, err := ParseWGPrivatePEM(text); err != nil || back != wg {
		t.Errorf("read back: %v", err)
	}
}

func TestPEMRefuses(t *testing.T) {
	k, wg := rfc8032(t), alice(t)
	ed, _ := k.MarshalPEM()
	x, _ := wg.MarshalPEM()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256DH, err := p256.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	ec, _ := marshalPEM(p256)
	dh, _ := marshalPEM(p256DH)
	block, _ := pem.Decode(ed)
	public, _ := x509.MarshalPKIXPublicKey(k.Public())
	bad := map[string][]byte{
		"nothing": nil, "text": []byte("hello"), "a curve of NIST": ec, "a curve of NIST for agreement": dh,
		"cut":          ed[:len(ed)-10],
		"another type": pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: block.Bytes}),
		"short":        pem.EncodeToMemory(&pem.Block{Type: pemPrivate, Bytes: block.Bytes[:40]}),
		"public":       pem.EncodeToMemory(&pem.Block{Type: pemPrivate, Bytes: public}),
	}
	for name, text := range bad {
		if _, err := ParseEd25519(text, "a key"); !errors.Is(err, ErrKey) {
			t.Errorf("%s: got %v, want %v", name, err, ErrKey)
		}
		if _, err := ParseWGPrivatePEM(text); !errors.Is(err, ErrKey) {
			t.Errorf("%s as a WireGuard key: got %v, want %v", name, err, ErrKey)
		}
	}
	if _, err := ParseEd25519(x, "a key"); !errors.Is(err, ErrKey) {
		t.Errorf("a WireGuard key as an identity: got %v", err)
	}
	if _, err := ParseWGPrivatePEM(ed); !errors.Is(err, ErrKey) {
		t.Errorf("an identity as a WireGuard key: got %v", err)
	}
}

// TestSecretsDoNotShow writes keys in every way that a careless line of code would.
func TestSecretsDoNotShow(t *testing.T) {
	k, wg := rfc8032(t), alice(t)
	pair, err := wg.Pair(bob(t).Public(), [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, v := range []any{k, &k, wg, &wg, pair, &pair, []WGPrivate{wg}, struct{ K Ed25519 }{k}, map[string]Pair{"x": pair}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%08b", "%t"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		if b, err := json.Marshal(v); !errors.Is(err, ErrSecret) {
			t.Errorf("as JSON: %s, %v", b, err)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
	}
	fmt.Fprintln(&out, k.String(), wg.String())
	text := strings.ToLower(out.String())
	for name, secret := range map[string][]byte{"Ed25519": k.Key().Seed(), "WireGuard": wg[:], "check": pair.Check[:], "seal": pair.Seal[:]} {
		decimal := fmt.Sprintf("%d %d %d %d", secret[0], secret[1], secret[2], secret[3])
		if strings.Contains(text, decimal) || strings.Contains(text, strings.ReplaceAll(decimal, " ", ",")) || strings.Contains(text, hex.EncodeToString(secret[:4])) {
			t.Errorf("the %s secret is in the output", name)
		}
	}
}

func TestNewKeysDiffer(t *testing.T) {
	a, err := NewEd25519()
	b, err2 := NewEd25519()
	if err != nil || err2 != nil || a.Key().Equal(b.Key()) || !Valid(a.Public()) {
		t.Error("two new keys are equal, or one is not valid")
	}
	c, err := NewWGPrivate()
	d, err2 := NewWGPrivate()
	if err != nil || err2 != nil || c == d || c.IsZero() || c[0]&7 != 0 || c[31]&0x80 != 0 || c[31]&0x40 == 0 {
		t.Error("two new WireGuard keys are equal, or one is not clamped")
	}
}

// TestSmallOrderKeysAreNotValid walks every encoding of the eight points of small order, the non-canonical ones too.
func TestSmallOrderKeysAreNotValid(t *testing.T) {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	order8 := func(s string) *big.Int {
		b := unhex(t, s)
		for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
			b[i], b[j] = b[j], b[i]
		}
		return new(big.Int).SetBytes(b)
	}
	a := order8("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
	b := order8("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
	if new(big.Int).Add(a, b).Cmp(p) != 0 {
		t.Fatal("the two y of order 8 are not each other's negative")
	}
	bad := []*big.Int{big.NewInt(0), big.NewInt(1), new(big.Int).Sub(p, big.NewInt(1)), a, b}
	for i := range int64(19) { // p..2^255-1 are second encodings of 0..18
		bad = append(bad, new(big.Int).Add(p, big.NewInt(i)))
	}
	for _, y := range bad {
		be := y.FillBytes(make([]byte, 32))
		for _, sign := range []byte{0, 0x80} {
			pub := make(ed25519.PublicKey, 32)
			for i := range pub {
				pub[i] = be[31-i]
			}
			pub[31] |= sign
			if Valid(pub) {
				t.Errorf("%x is valid", []byte(pub))
			}
		}
	}
	good := rfc8032(t).Public()
	for _, pub := range []ed25519.PublicKey{nil, good[:31], append(bytes.Clone(good), 0)} {
		if Valid(pub) {
			t.Errorf("%x is valid", []byte(pub))
		}
	}
	if !Valid(good) {
		t.Error("an ordinary key is not valid")
	}
}

// alice is some key.
func alice(t testing.TB) WGPrivate {
	return WGPrivate(unhex(t, strings.Repeat("40516273", 8)))
}

// bob is Bob's key in RFC 7748 section 6.1.
func bob(t testing.TB) WGPrivate {
	return WGPrivate(unhex(t, "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
}

func TestWireGuardVector(t *testing.T) {
	want := "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
	if pub := bob(t).Public(); hex.EncodeToString(pub[:]) != want {
		t.Errorf("got %x, want %s", pub, want)
	}
	if got, want := bob(t).Public().String(), "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="; got != want {
		t.Errorf("got %s, want %s, as wg prints it", got, want)
	}
}
