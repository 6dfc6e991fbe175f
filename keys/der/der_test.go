package der

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
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

func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}
func testPublic(n byte) ed25519.PublicKey { return testKey(n).Public().(ed25519.PublicKey) }

const (
	network = "aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq"
	node    = "eaqceirecitcokbjfivsylbnfyxtamjsgm2dknrxha4tuoz4hu7a"
)

// spkiHash is the SHA-256 of a key's SubjectPublicKeyInfo, as the standard library writes it.
func spkiHash(pub ed25519.PublicKey) [32]byte {
	b, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		panic(err)
	}
	return sha256.Sum256(b)
}

func leaf() Leaf {
	return Leaf{
		Serial:    new(big.Int).SetBytes(append([]byte{0x40}, make([]byte, 15)...)),
		NotBefore: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC), NotAfter: time.Date(2026, 10, 30, 12, 0, 0, 0, time.UTC),
		Public: testPublic(2), Issuer: spkiHash(testPublic(1)), DNS: "nas.home.internal",
		Addrs: []netip.Addr{netip.MustParseAddr("fd00:102:304::1"), netip.MustParseAddr("100.64.0.9")},
		URI:   "spiffe://" + network + "/node/" + node, Private: []byte{0xa0},
	}
}

func signer() Signer {
	return Signer{
		NotBefore: time.Date(2026, 7, 31, 12, 0, 0, 0, time.UTC), Public: testPublic(1),
		URI: "spiffe://" + network + "/signer/" + node, Domain: "home.internal", Host: network,
		Prefixes: []netip.Prefix{netip.MustParsePrefix("fd00:102:304::/48"), netip.MustParsePrefix("100.64.0.0/10")},
	}
}

// assemble signs a TBSCertificate or request.
func assemble(t testing.TB, body []byte, err error, by ed25519.PrivateKey) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	b, err := Assemble(body, ed25519.Sign(by, body))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func leafDER(t testing.TB, l Leaf) []byte {
	t.Helper()
	b, err := l.TBS()
	return assemble(t, b, err, testKey(1))
}

func signerDER(t testing.TB, s Signer) []byte {
	t.Helper()
	b, err := s.TBS()
	return assemble(t, b, err, testKey(1))
}

func request() Request { return Request{DNS: "nas", Private: []byte{0xa0}} }

func requestDER(t testing.TB, r Request) []byte {
	t.Helper()
	b, err := r.Sign(testKey(2))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGolden(t *testing.T) {
	far, nameless := leaf(), request()
	far.NotAfter, far.Addrs = Forever(), far.Addrs[:1] // a time of the other form
	nameless.DNS = ""
	golden(t, "certificates.txt", fmt.Sprintf("signer\n%x\n\nnode\n%x\n\nnode without IPv4, for ever\n%x\n\nrequest\n%x\n\nrequest without name\n%x\n",
		signerDER(t, signer()), leafDER(t, leaf()), leafDER(t, far), requestDER(t, request()), requestDER(t, nameless)))
}

// TestLeafIsX509 reads a node certificate as the rest of the world does.
func TestLeafIsX509(t *testing.T) {
	ca, err := x509.ParseCertificate(signerDER(t, signer()))
	if err != nil {
		t.Fatal(err)
	}
	if !ca.IsCA || !ca.MaxPathLenZero || ca.MaxPathLen != 0 || ca.KeyUsage != x509.KeyUsageCertSign || ca.Version != 3 {
		t.Errorf("the signer: CA %v, path length %d, usage %b", ca.IsCA, ca.MaxPathLen, ca.KeyUsage)
	}
	if err := ca.CheckSignatureFrom(ca); err != nil {
		t.Error(err)
	}
	if !ca.PermittedDNSDomainsCritical || !slices.Equal(ca.PermittedDNSDomains, []string{"home.internal"}) ||
		!slices.Equal(ca.PermittedURIDomains, []string{network}) || fmt.Sprint(ca.PermittedIPRanges) != "[fd00:102:304::/48 100.64.0.0/10]" {
		t.Errorf("the signer's constraints: %v %v %v", ca.PermittedDNSDomains, ca.PermittedURIDomains, ca.PermittedIPRanges)
	}
	x, l, err := ParseLeaf(leafDER(t, leaf()))
	if err != nil {
		t.Fatal(err)
	}
	if want := leaf(); !reflect.DeepEqual(l, want) {
		t.Errorf("got %+v, want %+v", l, want)
	}
	if x.IsCA || x.Subject.String() != "" || x.Issuer.String() != "CN=warren signer" || x.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("CA %v, subject %q, issuer %q, usage %b", x.IsCA, x.Subject, x.Issuer, x.KeyUsage)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		_, err = x.Verify(x509.VerifyOptions{Roots: roots, DNSName: "nas.home.internal", CurrentTime: x.NotBefore, KeyUsages: []x509.ExtKeyUsage{usage}})
		if err != nil {
			t.Errorf("usage %v: %v", usage, err)
		}
	}
	// Whoever does not know our extension must refuse, because it is critical.
	naive, err := x509.ParseCertificate(leafDER(t, leaf()))
	if err != nil {
		t.Fatal(err)
	}
	var unhandled x509.UnhandledCriticalExtension
	if _, err := naive.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: x.NotBefore}); !errors.As(err, &unhandled) {
		t.Errorf("a stranger to our extension: %v", err)
	}
}

// TestNameConstraints holds what a signer cannot sign, whatever it tries.
func TestNameConstraints(t *testing.T) {
	ca, err := x509.ParseCertificate(signerDER(t, signer()))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	addr := func(l *Leaf, i int, a string) { l.Addrs[i] = netip.MustParseAddr(a) }
	for name, change := range map[string]func(*Leaf){
		"another domain":          func(l *Leaf) { l.DNS = "nas.work.internal" },
		"a domain that ends like": func(l *Leaf) { l.DNS = "nas.myhome.internal" },
		"a public domain":         func(l *Leaf) { l.DNS = "www.example.com" },
		"an IPv6 outside":         func(l *Leaf) { addr(l, 0, "fd00:102:305::1") },
		"a global IPv6":           func(l *Leaf) { addr(l, 0, "2001:db8::1") },
		"an IPv4 outside":         func(l *Leaf) { addr(l, 1, "100.128.0.1") },
		"a public IPv4":           func(l *Leaf) { addr(l, 1, "192.0.2.1") },
		"another trust domain":    func(l *Leaf) { l.URI = "spiffe://" + node + "/node/" + node },
	} {
		l := leaf()
		change(&l)
		x, _, err := ParseLeaf(leafDER(t, l))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := x.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: x.NotBefore}); err == nil {
			t.Errorf("%s: it verifies", name)
		}
	}
}

// flips changes every bit, cuts at every place and appends a byte; taken must refuse all.
func flips(t *testing.T, good []byte, taken func([]byte) bool) {
	t.Helper()
	if !taken(good) {
		t.Fatal("good bytes are refused")
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
	if taken(append(bytes.Clone(good), 0)) {
		t.Error("a byte behind changes nothing")
	}
}

func TestFlips(t *testing.T) {
	flips(t, leafDER(t, leaf()), func(b []byte) bool {
		x, _, err := ParseLeaf(b)
		return err == nil && ed25519.Verify(testPublic(1), x.RawTBSCertificate, x.Signature)
	})
	flips(t, signerDER(t, signer()), func(b []byte) bool { _, _, err := ParseSigner(b); return err == nil })
	flips(t, requestDER(t, request()), func(b []byte) bool { _, err := ParseRequest(b); return err == nil })
}

// rebuild takes a TBSCertificate of ours apart, changes it and signs it again.
func rebuild(t *testing.T, body []byte, err error, change func(*tbs)) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var c tbs
	if rest, err := asn1.Unmarshal(body, &c); err != nil || len(rest) > 0 {
		t.Fatal(err)
	}
	change(&c)
	b, err := asn1.Marshal(c)
	return assemble(t, b, err, testKey(1))
}

// extra is an extension that nobody asked for.
func extra(critical bool) pkix.Extension {
	return pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: critical, Value: []byte{5, 0}}
}

func mustExt(t *testing.T, n int, critical bool, value any) pkix.Extension {
	t.Helper()
	e, err := ext(n, critical, value)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// changes are what no certificate of ours has, whichever of the two it is.
func changes(t *testing.T) map[string]func(*tbs) {
	swap := func(c *tbs) { c.Extensions[0], c.Extensions[1] = c.Extensions[1], c.Extensions[0] }
	other := pkix.Name{CommonName: "somebody"}.ToRDNSequence()
	return map[string]func(*tbs){
		"a further extension":          func(c *tbs) { c.Extensions = append(c.Extensions, extra(false)) },
		"a further critical extension": func(c *tbs) { c.Extensions = append(c.Extensions, extra(true)) },
		"an extension twice":           func(c *tbs) { c.Extensions = append(c.Extensions, c.Extensions[0]) },
		"extensions in another order":  swap,
		"an extension less":            func(c *tbs) { c.Extensions = c.Extensions[1:] },
		"the last extension missing":   func(c *tbs) { c.Extensions = c.Extensions[:len(c.Extensions)-1] },
		"no extensions":                func(c *tbs) { c.Extensions = nil },
		"a key usage more": func(c *tbs) {
			c.Extensions[0] = mustExt(t, 15, true, asn1.BitString{Bytes: []byte{0x84}, BitLength: 6})
		},
		"a key usage that is not critical": func(c *tbs) { c.Extensions[0].Critical = !c.Extensions[0].Critical },
		"another subject":                  func(c *tbs) { c.Subject = other },
		"another issuer":                   func(c *tbs) { c.Issuer = other },
		"no issuer":                        func(c *tbs) { c.Issuer = nil },
		"version 2":                        func(c *tbs) { c.Version = 1 },
		"version 4":                        func(c *tbs) { c.Version = 3 },
		"parameters of the algorithm":      func(c *tbs) { c.Algorithm.Parameters = asn1.NullRawValue },
		"parameters of the key":            func(c *tbs) { c.Key.Algorithm.Parameters = asn1.NullRawValue },
		"a key of X25519":                  func(c *tbs) { c.Key.Algorithm.Algorithm = asn1.ObjectIdentifier{1, 3, 101, 110} },
		"a key of RSA":                     func(c *tbs) { c.Key.Algorithm.Algorithm = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1} },
		"a key of 31 bytes":                func(c *tbs) { c.Key.Key = asn1.BitString{Bytes: c.Key.Key.Bytes[:31], BitLength: 248} },
		"another signature algorithm":      func(c *tbs) { c.Algorithm.Algorithm = asn1.ObjectIdentifier{1, 3, 101, 113} },
		"the private extension not critical, or there at all": func(c *tbs) {
			i := slices.IndexFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(Private()) })
			if i < 0 {
				c.Extensions = append(c.Extensions, pkix.Extension{Id: Private(), Critical: true, Value: []byte{0xa0}})
				return
			}
			c.Extensions[i].Critical = false
		},
	}
}

func TestLeafRefuses(t *testing.T) {
	body, err := leaf().TBS()
	san := func(names ...generalName) func(*tbs) {
		return func(c *tbs) { c.Extensions[3] = mustExt(t, 17, true, names) }
	}
	dns, uri := name(tagDNS, []byte("nas.home.internal")), name(tagURI, []byte(leaf().URI))
	ip := name(tagIP, leaf().Addrs[0].AsSlice())
	all := changes(t)
	maps.Copy(all, map[string]func(*tbs){
		"a CA":                      func(c *tbs) { c.Extensions = append(c.Extensions, mustExt(t, 19, true, basic{CA: true})) },
		"a name more":               san(dns, dns, ip, uri),
		"a mail address":            san(dns, ip, uri, name(1, []byte("a@example.com"))),
		"an unknown kind of name":   san(dns, ip, uri, name(8, []byte{1})),
		"two URIs":                  san(dns, ip, uri, uri),
		"names in another order":    san(ip, dns, uri),
		"an address of 5 bytes":     san(dns, name(tagIP, []byte{1, 2, 3, 4, 5}), uri),
		"no URI":                    san(dns, ip),
		"no DNS name":               san(ip, uri),
		"no names":                  san(),
		"names not critical":        func(c *tbs) { c.Extensions[3].Critical = false },
		"an issuer of 20 bytes":     func(c *tbs) { c.Extensions[2] = mustExt(t, 35, false, authorityKey{make([]byte, 20)}) },
		"any usage":                 func(c *tbs) { c.Extensions[1] = mustExt(t, 37, false, []asn1.ObjectIdentifier{{2, 5, 29, 37, 0}}) },
		"the private one twice":     func(c *tbs) { c.Extensions = append(c.Extensions, c.Extensions[4]) },
		"the serial number minus 1": func(c *tbs) { c.Serial = big.NewInt(-1) },
	})
	for name, change := range all {
		b := rebuild(t, body, err, change)
		if _, _, err := ParseLeaf(b); !errors.Is(err, ErrProfile) {
			t.Errorf("%s: got %v, want %v", name, err, ErrProfile)
		}
	}
	if _, _, err := ParseLeaf(rebuild(t, body, err, func(*tbs) {})); err != nil {
		t.Errorf("nothing changed: %v", err)
	}
	big := leaf()
	big.Private = make([]byte, 700)
	for name, b := range map[string][]byte{
		"nothing": nil, "a signer": signerDER(t, signer()), "a request": requestDER(t, request()), "beyond the limit": leafDER(t, big),
		"of another curve": foreign(t),
	} {
		if _, _, err := ParseLeaf(b); !errors.Is(err, ErrProfile) {
			t.Errorf("%s: got %v, want %v", name, err, ErrProfile)
		}
	}
}

// foreign is a certificate with the same words, signed with and for keys of P-256.
func foreign(t *testing.T) []byte {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return foreignOf(t, k, k.Public())
}

func foreignOf(t *testing.T, by crypto.Signer, pub crypto.PublicKey) []byte {
	t.Helper()
	x, _, err := ParseLeaf(leafDER(t, leaf()))
	if err != nil {
		t.Fatal(err)
	}
	x.ExtraExtensions, x.SignatureAlgorithm = x.Extensions, x509.UnknownSignatureAlgorithm
	b, err := x509.CreateCertificate(rand.Reader, x, &x509.Certificate{Subject: x.Issuer}, pub, by)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLeafWithAnotherKeyOrSignature(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"a key of P-256, signed by Ed25519": foreignOf(t, testKey(1), k.Public()),
		"an Ed25519 key, signed by P-256":   foreignOf(t, k, testPublic(2)),
	} {
		if _, _, err := ParseLeaf(b); !errors.Is(err, ErrProfile) {
			t.Errorf("%s: got %v, want %v", name, err, ErrProfile)
		}
	}
	if _, _, err := ParseLeaf(foreignOf(t, testKey(1), testPublic(2))); err != nil {
		t.Errorf("the same by another writer and Ed25519: %v", err)
	}
}

// TestSignatureBitsHaveOneForm shifts a signature to the left and says that the last bit does not count: the standard
// library shifts it back, so anybody could make a second certificate of the same signature.
func TestSignatureBitsHaveOneForm(t *testing.T) {
	l, k := leaf(), testKey(1)
	var body, signature []byte
	for i := int64(1); signature == nil || signature[0] >= 0x80; i++ {
		l.Serial = big.NewInt(i)
		var err error
		if body, err = l.TBS(); err != nil {
			t.Fatal(err)
		}
		signature = ed25519.Sign(k, body)
	}
	shifted := new(big.Int).Lsh(new(big.Int).SetBytes(signature), 1).FillBytes(make([]byte, 64))
	b, err := asn1.Marshal(certificate{
		TBS: asn1.RawValue{FullBytes: body}, Algorithm: ed25519ID(), Signature: asn1.BitString{Bytes: shifted, BitLength: 511},
	})
	if err != nil {
		t.Fatal(err)
	}
	if x, err := x509.ParseCertificate(b); err != nil || !bytes.Equal(x.Signature, signature) {
		t.Fatalf("the attack does not work: %v", err)
	}
	if _, _, err := ParseLeaf(b); !errors.Is(err, ErrProfile) {
		t.Errorf("a second form is taken: %v", err)
	}
}

func TestSignerRefuses(t *testing.T) {
	body, err := signer().TBS()
	limits := func(trees ...subtree) func(*tbs) {
		return func(c *tbs) { c.Extensions[4] = mustExt(t, 30, true, constraints{trees}) }
	}
	dns, uri := subtree{name(tagDNS, []byte("home.internal"))}, subtree{name(tagURI, []byte(network))}
	ip := subtree{name(tagIP, []byte{100, 64, 0, 0, 255, 192, 0, 0})}
	all := changes(t)
	maps.Copy(all, map[string]func(*tbs){
		"no CA":                     func(c *tbs) { c.Extensions[1] = mustExt(t, 19, true, struct{}{}) },
		"a longer path":             func(c *tbs) { c.Extensions[1] = mustExt(t, 19, true, basic{CA: true, PathLen: 1}) },
		"a path without end":        func(c *tbs) { c.Extensions[1] = mustExt(t, 19, true, struct{ CA bool }{true}) },
		"another key id":            func(c *tbs) { c.Extensions[2] = mustExt(t, 14, false, make([]byte, 32)) },
		"constraints not critical":  func(c *tbs) { c.Extensions[4].Critical = false },
		"no constraints":            func(c *tbs) { c.Extensions[4] = mustExt(t, 30, true, struct{}{}) },
		"a second domain":           limits(dns, dns, ip, uri),
		"no domain":                 limits(ip, uri),
		"no trust domain":           limits(dns, ip),
		"a mask with a hole":        limits(dns, subtree{name(tagIP, []byte{100, 64, 0, 0, 255, 0, 255, 0})}, uri),
		"a mail constraint":         limits(dns, ip, uri, subtree{name(1, []byte("example.com"))}),
		"another serial number":     func(c *tbs) { c.Serial = big.NewInt(7) },
		"an end":                    func(c *tbs) { c.Validity.NotAfter = c.Validity.NotBefore.AddDate(1, 0, 0) },
		"another key, not its own":  func(c *tbs) { c.Key = key(testPublic(9)) },
		"a second URI":              func(c *tbs) { c.Extensions[3] = mustExt(t, 17, false, []generalName{uri.Base, uri.Base}) },
		"a DNS name in place of it": func(c *tbs) { c.Extensions[3] = mustExt(t, 17, false, []generalName{dns.Base}) },
	})
	for name, change := range all {
		if _, s, err := ParseSigner(rebuild(t, body, err, change)); !errors.Is(err, ErrProfile) {
			t.Errorf("%s: got %+v, %v, want %v", name, s, err, ErrProfile)
		}
	}
	other := signer()
	other.Public = testPublic(9)
	for name, b := range map[string][]byte{
		"nothing": nil, "a node": leafDER(t, leaf()), "signed by another": signerDER(t, other), "zeros beyond the limit": make([]byte, 5000),
	} {
		if _, _, err := ParseSigner(b); !errors.Is(err, ErrProfile) {
			t.Errorf("%s: got %v, want %v", name, err, ErrProfile)
		}
	}
	_, s, err := ParseSigner(signerDER(t, signer()))
	if want := signer(); err != nil || !reflect.DeepEqual(s, want) {
		t.Errorf("got %+v, %v, want %+v", s, err, want)
	}
}

// TestRequestIsPKCS10 compares with what the standard library makes.
func TestRequestIsPKCS10(t *testing.T) {
	for _, dns := range []string{"", "nas"} {
		tmpl := &x509.CertificateRequest{ExtraExtensions: []pkix.Extension{{Id: Private(), Value: []byte{0xa0}}}}
		if dns != "" {
			tmpl.DNSNames = []string{dns}
		}
		want, err := x509.CreateCertificateRequest(rand.Reader, tmpl, testKey(2))
		if err != nil {
			t.Fatal(err)
		}
		if got := requestDER(t, Request{DNS: dns, Private: []byte{0xa0}}); !bytes.Equal(got, want) {
			t.Errorf("got %x, want %x", got, want)
		}
		r, err := ParseRequest(want)
		if err != nil || r.DNS != dns || !r.Public.Equal(testPublic(2)) || !bytes.Equal(r.Private, []byte{0xa0}) {
			t.Errorf("got %+v, %v", r, err)
		}
	}
}

func TestRequestRefuses(t *testing.T) {
	private := pkix.Extension{Id: Private(), Value: []byte{0xa0}}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	make509 := func(tmpl x509.CertificateRequest, by crypto.Signer) []byte {
		b, err := x509.CreateCertificateRequest(rand.Reader, &tmpl, by)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	exts := []pkix.Extension{private}
	critical := private
	critical.Critical = true
	info := func(change func(*requestInfo)) []byte {
		r := request()
		r.Public = testPublic(2)
		body, err := r.info()
		if err != nil {
			t.Fatal(err)
		}
		var i requestInfo
		if _, err := asn1.Unmarshal(body, &i); err != nil {
			t.Fatal(err)
		}
		change(&i)
		body, err = asn1.Marshal(i)
		return assemble(t, body, err, testKey(2))
	}
	if _, err := ParseRequest(info(func(*requestInfo) {})); err != nil {
		t.Fatalf("nothing changed: %v", err)
	}
	body, err := Request{Public: testPublic(3), Private: []byte{0xa0}}.info()
	password := attribute{ID: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}, Values: [][]pkix.Extension{exts}}
	for name, b := range map[string][]byte{
		"nothing":                     nil,
		"a subject":                   make509(x509.CertificateRequest{Subject: pkix.Name{CommonName: "nas"}, ExtraExtensions: exts}, testKey(2)),
		"two names":                   make509(x509.CertificateRequest{DNSNames: []string{"nas", "web"}, ExtraExtensions: exts}, testKey(2)),
		"a mail address":              make509(x509.CertificateRequest{EmailAddresses: []string{"a@example.com"}, ExtraExtensions: exts}, testKey(2)),
		"no private extension":        make509(x509.CertificateRequest{DNSNames: []string{"nas"}}, testKey(2)),
		"the extension critical":      make509(x509.CertificateRequest{ExtraExtensions: []pkix.Extension{critical}}, testKey(2)),
		"a further extension":         make509(x509.CertificateRequest{ExtraExtensions: []pkix.Extension{private, extra(false)}}, testKey(2)),
		"the wish to be a CA":         make509(x509.CertificateRequest{ExtraExtensions: []pkix.Extension{private, mustExt(t, 19, true, basic{CA: true})}}, testKey(2)),
		"another order":               make509(x509.CertificateRequest{ExtraExtensions: []pkix.Extension{private, mustExt(t, 17, false, []generalName{name(tagDNS, []byte("nas"))})}}, testKey(2)),
		"a key of P-256":              make509(x509.CertificateRequest{ExtraExtensions: exts}, k),
		"a further attribute":         info(func(i *requestInfo) { i.Attributes = append(i.Attributes, password) }),
		"another attribute":           info(func(i *requestInfo) { i.Attributes[0].ID = password.ID }),
		"no attribute":                info(func(i *requestInfo) { i.Attributes = nil }),
		"an attribute of two values":  info(func(i *requestInfo) { i.Attributes[0].Values = append(i.Attributes[0].Values, exts) }),
		"version 1":                   info(func(i *requestInfo) { i.Version = 1 }),
		"parameters of the key":       info(func(i *requestInfo) { i.Key.Algorithm.Parameters = asn1.NullRawValue }),
		"a certificate":               leafDER(t, leaf()),
		"signed by another key":       assemble(t, body, err, testKey(2)),
		"a name beyond the limit":     make509(x509.CertificateRequest{DNSNames: []string{strings.Repeat("a", 1100)}, ExtraExtensions: exts}, testKey(2)),
		"a value beyond the limit":    requestDER(t, Request{Private: make([]byte, 1000)}),
		"nothing in a long enclosure": make([]byte, 2000),
	} {
		r, err := ParseRequest(b)
		if !errors.Is(err, ErrProfile) {
			t.Errorf("%s: got %v, want %v", name, err, ErrProfile)
		}
		if !reflect.DeepEqual(r, Request{}) {
			t.Errorf("%s: got %+v beside an error", name, r)
		}
	}
}

func TestPrivateOID(t *testing.T) {
	sum := sha256.Sum256([]byte("warren node certificate"))
	want := int(new(big.Int).SetBytes(sum[:4]).Int64() >> 1)
	if got := Private(); !got.Equal(asn1.ObjectIdentifier{2, 25, want}) {
		t.Errorf("got %s, want 2.25.%d (%s)", got, want, hex.EncodeToString(sum[:4]))
	}
}

func FuzzLeaf(f *testing.F) {
	f.Add(leafDER(f, leaf()))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, l, err := ParseLeaf(b)
		if err != nil {
			return
		}
		body, err := l.TBS()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Assemble(body, x.Signature); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x is written again as %x, %v", b, again, err)
		}
	})
}

func FuzzSigner(f *testing.F) {
	f.Add(signerDER(f, signer()))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, s, err := ParseSigner(b)
		if err != nil {
			return
		}
		body, err := s.TBS()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Assemble(body, x.Signature); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x is written again as %x, %v", b, again, err)
		}
	})
}

// FuzzLeafBody puts what it is given into certificates, so that the fields that a signer chooses are all tried.
func FuzzLeafBody(f *testing.F) {
	f.Add("nas.home.internal", leaf().URI, []byte{1}, []byte{0xa0}, int64(0), int64(1<<32), []byte{10, 0, 0, 1})
	f.Fuzz(func(t *testing.T, dns, uri string, serial, private []byte, from, until int64, addr []byte) {
		l := leaf()
		l.DNS, l.URI, l.Serial, l.Private = dns, uri, new(big.Int).SetBytes(serial), private
		l.NotBefore, l.NotAfter = time.Unix(from, 0).UTC(), time.Unix(until, 0).UTC()
		if a, ok := netip.AddrFromSlice(addr); ok {
			l.Addrs = []netip.Addr{a}
		}
		body, err := l.TBS()
		if err != nil {
			return
		}
		b, err := Assemble(body, ed25519.Sign(testKey(1), body))
		if err != nil {
			t.Fatal(err)
		}
		_, back, err := ParseLeaf(b)
		if err != nil {
			return
		}
		if back.DNS != dns || back.URI != uri || back.Serial.Cmp(l.Serial) != 0 || !bytes.Equal(back.Private, private) ||
			!back.NotBefore.Equal(l.NotBefore) || !back.NotAfter.Equal(l.NotAfter) || !slices.Equal(back.Addrs, l.Addrs) {
			t.Errorf("wrote %+v, read %+v", l, back)
		}
	})
}

func FuzzRequest(f *testing.F) {
	f.Add(requestDER(f, request()))
	f.Add(requestDER(f, Request{Private: []byte{0xa0}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRequest(b)
		if err != nil {
			return
		}
		body, err := r.info()
		if err != nil || !bytes.Contains(b, body) || !ed25519.Verify(r.Public, body, b[len(b)-ed25519.SignatureSize:]) {
			t.Errorf("%x is made again as %x, %v", b, body, err)
		}
	})
}
