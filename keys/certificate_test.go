package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"warren/keys/canon"
	"warren/keys/der"
	"warren/keys/secret"
)

// full is a profile that uses everything.
func (w *world) full() Profile {
	p := w.profile("nas")
	p.Addrs = []netip.Addr{w.alice.ID().Addr(w.a.Network), netip.MustParseAddr("100.64.0.9")}
	p.Groups, p.Roles = []string{"admin", "web"}, []string{"relay"}
	p.Routes = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	return p
}

func TestCertificateGolden(t *testing.T) {
	w := newWorld(t, 0)
	small := w.issue(w.profile("web-1"), w.bob)
	golden(t, "certificates.txt", vector("signer", w.ca.Certificate())+vector("node", small.DER)+vector("node with everything", w.issue(w.full(), w.alice).DER)+
		vector("request", must(NewRequest(w.alice, wireguard(9).Public(), "nas"))(t))+
		vector("request without name", must(NewRequest(w.alice, wireguard(9).Public(), ""))(t)))
}

func TestIssue(t *testing.T) {
	w := newWorld(t, 0)
	want := w.full()
	c := w.issue(want, w.alice)
	want.Node, want.Network, want.Domain, want.Issuer = w.alice.ID(), w.a.Network, "home.internal", w.ca.Key()
	if !reflect.DeepEqual(c.Profile, want) {
		t.Errorf("got %+v, want %+v", c.Profile, want)
	}
	if err := w.a.Verify(c, day(1)); err != nil {
		t.Error(err)
	}
	if c.FQDN() != "nas.home.internal" || c.ULA() != want.Addrs[0] || c.IPv4() != want.Addrs[1] || !c.Public().Equal(w.alice.Public()) {
		t.Errorf("%s %s %s", c.FQDN(), c.ULA(), c.IPv4())
	}
	if len(c.DER) > MaxCertificate {
		t.Errorf("%d bytes", len(c.DER))
	}

	p := w.profile("web")
	p.Serial, p.NotBefore, p.NotAfter = nil, day(0).Add(time.Millisecond), day(1).Add(time.Second-1)
	a, b := w.issue(p, w.bob), w.issue(p, w.bob)
	if a.Serial.Cmp(b.Serial) == 0 || a.Serial.BitLen() != 127 {
		t.Errorf("serial numbers %x and %x", a.Serial, b.Serial)
	}
	if !a.NotBefore.Equal(day(0)) || !a.NotAfter.Equal(day(1)) || a.IPv4().IsValid() || len(a.Addrs) != 1 {
		t.Errorf("from %s until %s, %s", a.NotBefore, a.NotAfter, a.Addrs)
	}
}

// badProfiles are outside the strict profile.
func badProfiles() map[string]func(*Profile) {
	many := func(n int) (s []string) {
		for i := range n {
			s = append(s, fmt.Sprintf("g%02d", i))
		}
		return s
	}
	routes := func(s ...string) func(*Profile) {
		return func(p *Profile) {
			p.Routes = nil
			for _, r := range s {
				p.Routes = append(p.Routes, netip.MustParsePrefix(r))
			}
		}
	}
	addrs := func(s ...string) func(*Profile) {
		return func(p *Profile) {
			p.Addrs = p.Addrs[:1:1]
			for _, a := range s {
				p.Addrs = append(p.Addrs, netip.MustParseAddr(a))
			}
		}
	}
	return map[string]func(*Profile){
		"no name":                   func(p *Profile) { p.Name = "" },
		"a name in capitals":        func(p *Profile) { p.Name = "NAS" },
		"two labels":                func(p *Profile) { p.Name = "a.b" },
		"a wildcard":                func(p *Profile) { p.Name = "*" },
		"an A-label":                func(p *Profile) { p.Name = "xn--nas" },
		"a reserved name":           func(p *Profile) { p.Name = "localhost" },
		"a long name":               func(p *Profile) { p.Name = strings.Repeat("a", 64) },
		"a name with a zero":        func(p *Profile) { p.Name = "a\x00b" },
		"the IPv6 of another":       func(p *Profile) { p.Addrs[0] = p.Addrs[0].Next() },
		"IPv4 first":                func(p *Profile) { p.Addrs[0], p.Addrs[1] = p.Addrs[1], p.Addrs[0] },
		"IPv4 alone":                func(p *Profile) { p.Addrs = p.Addrs[1:] },
		"two IPv4":                  addrs("100.64.0.9", "100.64.0.10"),
		"two IPv6":                  addrs("fd00::1"),
		"IPv4 in the clothes of v6": addrs("::ffff:100.64.0.9"),
		"no WireGuard key":          func(p *Profile) { p.WG = WGPublic{} },
		"groups descending":         func(p *Profile) { p.Groups = []string{"web", "admin"} },
		"a group twice":             func(p *Profile) { p.Groups = []string{"web", "web"} },
		"an empty group":            func(p *Profile) { p.Groups = []string{""} },
		"a group in capitals":       func(p *Profile) { p.Groups = []string{"Web"} },
		"a group with a line end":   func(p *Profile) { p.Groups = []string{"a\nb"} },
		"17 groups":                 func(p *Profile) { p.Groups = many(17) },
		"9 roles":                   func(p *Profile) { p.Roles = many(9) },
		"a bad role":                func(p *Profile) { p.Roles = []string{"-"} },
		"routes descending":         routes("10.0.0.0/8", "2001:db8::/32", "192.0.2.0/24"),
		"a route twice":             routes("10.0.0.0/8", "10.0.0.0/8"),
		"a route with host bits":    routes("10.0.0.1/8"),
		"a route in v6 clothes":     routes("::ffff:10.0.0.0/104"),
		"17 routes": func(p *Profile) {
			p.Routes = nil
			for i := range byte(17) {
				p.Routes = append(p.Routes, netip.PrefixFrom(netip.AddrFrom4([4]byte{i, 0, 0, 0}), 8))
			}
		},
		"serial number 0":        func(p *Profile) { p.Serial = new(big.Int) },
		"a negative serial":      func(p *Profile) { p.Serial = big.NewInt(-5) },
		"a serial of 17 bytes":   func(p *Profile) { p.Serial = new(big.Int).Lsh(big.NewInt(1), 128) },
		"an end before its time": func(p *Profile) { p.NotAfter = p.NotBefore.Add(-time.Second) },
		"a time before 1970":     func(p *Profile) { p.NotBefore = time.Unix(-1, 0).UTC() },
		"a time after 9999":      func(p *Profile) { p.NotAfter = der.Forever().Add(time.Second) },
	}
}

func TestIssueRefuses(t *testing.T) {
	w := newWorld(t, 0)
	all := badProfiles()
	maps.Copy(all, map[string]func(*Profile){
		"an IPv4 outside the range":   func(p *Profile) { p.Addrs[1] = netip.MustParseAddr("100.63.255.255") },
		"a public IPv4":               func(p *Profile) { p.Addrs[1] = netip.MustParseAddr("192.0.2.1") },
		"another member's id":         func(p *Profile) { p.Node = w.bob.ID() },
		"another network":             func(p *Profile) { p.Network = NetworkID{1} },
		"a beginning before the CA's": func(p *Profile) { p.NotBefore = day(0).Add(-leeway - time.Second) },
		"more than fits": func(p *Profile) {
			p.Groups = []string{strings.Repeat("a", 63), strings.Repeat("b", 63), strings.Repeat("c", 63), strings.Repeat("d", 63), strings.Repeat("e", 63)}
			p.Roles = p.Groups
		},
		"a route that is no prefix":    func(p *Profile) { p.Routes = []netip.Prefix{{}} },
		"an address that is no one":    func(p *Profile) { p.Addrs = []netip.Addr{{}} },
		"an IPv6 with a zone":          func(p *Profile) { p.Addrs[0] = p.Addrs[0].WithZone("eth0") },
		"a route with too many bits":   func(p *Profile) { p.Routes = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10}), 33)} },
		"an IPv6 of another network":   func(p *Profile) { p.Addrs[0] = w.alice.ID().Addr(NetworkID{1}) },
		"the network's own first IPv6": func(p *Profile) { p.Addrs[0] = w.a.Network.ULA().Addr() },
	})
	for name, change := range all {
		p := w.full()
		change(&p)
		if b, err := w.ca.Issue(p, w.alice.Public()); !errors.Is(err, ErrCertificate) || b != nil {
			t.Errorf("%s: got %x, %v, want %v", name, b, err, ErrCertificate)
		}
	}
	for name, pub := range map[string]ed25519.PublicKey{"no key": nil, "a key of small order": make([]byte, 32), "half a key": w.alice.Public()[:16]} {
		if _, err := w.ca.Issue(w.profile("nas"), pub); !errors.Is(err, ErrCertificate) || !errors.Is(err, ErrKey) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// forge signs a node certificate by hand: what Issue would refuse, or what a key that is no signer's makes.
func (w *world) forge(p Profile, subject ed25519.PublicKey, by secret.Ed25519, change func(*der.Leaf)) []byte {
	w.Helper()
	body := must(p.tbs(subject))(w)
	if change != nil {
		_, l, err := der.ParseLeaf(must(der.Assemble(body, make([]byte, ed25519.SignatureSize)))(w))
		if err != nil {
			w.Fatal(err)
		}
		change(&l)
		body = must(l.TBS())(w)
	}
	return must(der.Assemble(body, ed25519.Sign(by.Key(), body)))(w)
}

// said is what Issue would set.
func (w *world) said(p Profile, id *Identity) Profile {
	p.Node, p.Network, p.Domain, p.Issuer = id.ID(), w.a.Network, "home.internal", w.ca.Key()
	if p.Addrs == nil {
		p.Addrs = []netip.Addr{p.ULA()}
	}
	return p
}

// TestParseRefusesWhatASignerMightSign holds that a signer that was taken over cannot leave the profile.
func TestParseRefusesWhatASignerMightSign(t *testing.T) {
	w := newWorld(t, 0)
	good := w.said(w.full(), w.alice)
	if _, err := ParseCertificate(w.forge(good, w.alice.Public(), w.ca.secret, nil)); err != nil {
		t.Fatalf("a good one: %v", err)
	}
	all := badProfiles()
	maps.Copy(all, map[string]func(*Profile){
		"a public domain":       func(p *Profile) { p.Domain = "example.com" },
		"a domain of 3 labels":  func(p *Profile) { p.Domain = "a.home.internal" },
		"no domain but the top": func(p *Profile) { p.Domain = "internal" },
	})
	for name, change := range all {
		p := good
		p.Addrs, p.Serial = slices.Clone(p.Addrs), new(big.Int).Set(p.Serial)
		change(&p)
		body, err := p.tbs(w.alice.Public())
		if err != nil {
			continue // it cannot even be written
		}
		b := must(der.Assemble(body, ed25519.Sign(w.ca.secret.Key(), body)))(t)
		if c, err := ParseCertificate(b); !errors.Is(err, ErrCertificate) {
			t.Errorf("%s: got %+v, %v, want %v", name, c, err, ErrCertificate)
		}
	}
	id := w.alice.ID().String()
	private := func(text string) func(*der.Leaf) {
		text = strings.ReplaceAll(text, "WG", "01 58 20 "+strings.Repeat("09", 32))
		return func(l *der.Leaf) { l.Private = unhex(t, text) }
	}
	for name, change := range map[string]func(*der.Leaf){
		"a URI of another member": func(l *der.Leaf) { l.URI = strings.Replace(l.URI, id, w.bob.ID().String(), 1) },
		"a signer's URI":          func(l *der.Leaf) { l.URI = strings.Replace(l.URI, "/node/", "/signer/", 1) },
		"a URI in capitals":       func(l *der.Leaf) { l.URI = strings.Replace(l.URI, id, strings.ToUpper(id), 1) },
		"a network in capitals":   func(l *der.Leaf) { n := w.a.Network.String(); l.URI = strings.Replace(l.URI, n, strings.ToUpper(n), 1) },
		"a URI with a port":       func(l *der.Leaf) { l.URI = strings.Replace(l.URI, "/node", ":80/node", 1) },
		"a URI with a user":       func(l *der.Leaf) { l.URI = strings.Replace(l.URI, "://", "://root@", 1) },
		"a URI with a query":      func(l *der.Leaf) { l.URI += "?a" },
		"a URI with a fragment":   func(l *der.Leaf) { l.URI += "#a" },
		"a URI with a way out":    func(l *der.Leaf) { l.URI = strings.Replace(l.URI, "/node/", "/node/../node/", 1) },
		"another scheme":          func(l *der.Leaf) { l.URI = strings.Replace(l.URI, "spiffe", "https", 1) },
		"no network":              func(l *der.Leaf) { l.URI = "spiffe:///node/" + id },
		"an opaque URI":           func(l *der.Leaf) { l.URI = "spiffe:x" },
		"a key of small order":    func(l *der.Leaf) { l.Public = make([]byte, 32) },
		"everybody's key": func(l *der.Leaf) { // with the names that belong to it
			l.Public, _ = universal(t)
			id := NodeIDOf(l.Public)
			l.Addrs[0], l.URI = id.Addr(w.a.Network), "spiffe://"+w.a.Network.String()+"/node/"+id.String()
		},
		"the key of another member":  func(l *der.Leaf) { l.Public = w.bob.Public() },
		"a DNS name of one label":    func(l *der.Leaf) { l.DNS = "nas" },
		"a DNS name with a last dot": func(l *der.Leaf) { l.DNS += "." },
		"the network's own name":     func(l *der.Leaf) { l.DNS = "home.internal" },
		"an empty extension":         private(""),
		"no map":                     private("00"),
		"no WireGuard key":           private("a1 05 00"),
		"a short WireGuard key":      private("a2 01 41 09 05 00"),
		"no since":                   private("a1 WG"),
		"a since after 9999":         private("a2 WG 05 1b 00 00 00 3a ff f4 41 80"),
		"a since beyond int64":       private("a2 WG 05 1b ff ff ff ff ff ff ff ff"),
		"a further key":              private("a3 WG 05 00 06 00"),
		"another order":              private("a2 05 00 WG"),
		"a longer head":              private("a2 WG 05 18 00"),
		"an empty list":              private("a3 WG 02 80 05 00"),
		"a route of 5 bytes":         private("a3 WG 03 81 82 45 0102030405 08 05 00"),
		"a route of 33 bits":         private("a3 WG 03 81 82 44 0a000000 18 21 05 00"),
		"a byte behind":              private("a2 WG 05 00 00"),
	} {
		b := w.forge(good, w.alice.Public(), w.ca.secret, change)
		if c, err := ParseCertificate(b); !errors.Is(err, ErrCertificate) {
			t.Errorf("%s: got %+v, %v, want %v", name, c, err, ErrCertificate)
		}
	}
	for name, b := range map[string][]byte{"nothing": nil, "a signer": w.ca.Certificate(), "an entry": w.signer, "a lot": make([]byte, 1<<20)} {
		if _, err := ParseCertificate(b); !errors.Is(err, ErrCertificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCertificateFlips(t *testing.T) {
	w := newWorld(t, 0)
	good := w.issue(w.full(), w.alice).DER
	for i := range 8 * len(good) {
		b := bytes.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		if c, err := ParseCertificate(b); err == nil && w.a.Verify(c, day(1)) == nil {
			t.Errorf("bit %d of byte %d changes nothing", i%8, i/8)
		}
	}
	owned := bytes.Clone(good)
	c := must(ParseCertificate(owned))(t)
	clear(owned)
	if err := w.a.Verify(c, day(1)); err != nil || !bytes.Equal(c.DER, good) {
		t.Errorf("the certificate changed with the caller's bytes: %v", err)
	}
}

func TestVerifyTime(t *testing.T) {
	w := newWorld(t, 0)
	p := w.profile("nas")
	p.NotBefore, p.NotAfter = day(1), day(2)
	c := w.issue(p, w.alice)
	for _, test := range []struct {
		now  time.Time
		want error
	}{
		{time.Unix(0, 0), ErrNotYetValid},
		{day(1).Add(-1), ErrNotYetValid},
		{day(1), nil},
		{day(2), nil},
		{day(2).Add(time.Second - 1), nil}, // the last second is included
		{day(2).Add(time.Second), ErrExpired},
		{day(100000), ErrExpired},
	} {
		if err := w.a.Verify(c, test.now); !errors.Is(err, test.want) {
			t.Errorf("at %s: got %v, want %v", test.now, err, test.want)
		}
	}
	// Who is wrong in more than the time is told so: ErrExpired lets a member renew.
	for name, a := range map[string]*Authority{"another network": newWorld(t, 100).a, "no signer": must(Replay([][]byte{w.genesis}))(t)} {
		if err := a.Verify(c, day(50)); err == nil || errors.Is(err, ErrExpired) || errors.Is(err, ErrNotYetValid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestVerifyRefusesForgers tries the keys that an attacker might have.
func TestVerifyRefusesForgers(t *testing.T) {
	w, o := newWorld(t, 0), newWorld(t, 100)
	good := w.said(w.full(), w.alice)
	reissued := func(p Profile, key [32]byte) Profile { p.Issuer = key; return p }
	theirs := o.ca.Key()
	withDomain, withAddr, withTime := good, good, good
	withDomain.Domain = "work.internal"
	withAddr.Addrs = []netip.Addr{good.Addrs[0], netip.MustParseAddr("100.63.0.1")}
	withTime.NotBefore = day(0).Add(-leeway - time.Second)
	for name, test := range map[string]struct {
		b    []byte
		want error
	}{
		"a member's own key, in the signer's name":  {w.forge(good, w.alice.Public(), w.alice.Ed25519, nil), ErrUnknownSigner},
		"a member's own key, in its own name":       {w.forge(reissued(good, secret.Hash(w.alice.Public())), w.alice.Public(), w.alice.Ed25519, nil), ErrUnknownSigner},
		"the founder's identity is no signer's key": {w.forge(reissued(good, secret.Hash(w.founder.Public())), w.alice.Public(), w.founder.Ed25519, nil), ErrUnknownSigner},
		"a root key": {w.forge(reissued(good, secret.Hash(w.root.Public())), w.alice.Public(), w.root.Ed25519, nil), ErrUnknownSigner},
		"another network's signer, in its own name":     {w.forge(reissued(good, theirs), w.alice.Public(), o.ca.secret, nil), ErrUnknownSigner},
		"another network's signer, in our signer's":     {w.forge(good, w.alice.Public(), o.ca.secret, nil), ErrUnknownSigner},
		"another network's certificate":                 {o.issue(o.full(), o.alice).DER, ErrNetwork},
		"our signer for another network":                {w.forge(o.said(o.full(), o.alice), o.alice.Public(), w.ca.secret, nil), ErrNetwork},
		"our signer outside its domain":                 {w.forge(withDomain, w.alice.Public(), w.ca.secret, nil), ErrCertificate},
		"our signer outside its prefixes":               {w.forge(withAddr, w.alice.Public(), w.ca.secret, nil), ErrCertificate},
		"our signer before its own time":                {w.forge(withTime, w.alice.Public(), w.ca.secret, nil), ErrCertificate},
		"a signature of zeros":                          {must(der.Assemble(must(good.tbs(w.alice.Public()))(t), make([]byte, 64)))(t), ErrUnknownSigner},
		"the network of another in our signer's domain": {w.forge(func() Profile { p := good; p.Network = o.a.Network; p.Addrs = []netip.Addr{p.ULA()}; return p }(), w.alice.Public(), w.ca.secret, nil), ErrNetwork},
	} {
		c, err := ParseCertificate(test.b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := w.a.Verify(c, day(1)); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}

// TestRemovedSigner holds that all a removed signer made ends with it, but for what the log keeps.
func TestRemovedSigner(t *testing.T) {
	w := newWorld(t, 0)
	kept, lost := w.issue(w.full(), w.alice), w.issue(w.profile("web"), w.bob)
	older := must(SignRevocation(w.revocation(), w.ca))(t)
	other := must(SignRevocation(Revocation{Node: w.bob.ID()}, w.ca))(t)
	inName := w.revocation()
	inName.Signer = w.bob.ID()
	borrowed := w.kinds()[4].wrap(t, must(canon.Marshal(inName.wire()))(t), w.a.Network)
	grant := must(SignGrant(w.grant(), w.ca))(t)
	receipt := must(SignReceipt(w.receipt(), w.ca))(t)
	more := Keep{Certificates: [][32]byte{hashOf(kept.DER)}, More: true}
	w.a = w.append(must(w.a.RemoveSigner(w.ca.Key(), more, w.root))(t))
	if err := w.a.Verify(lost, day(1)); err != nil {
		t.Errorf("the signer goes with the last part of the lists, not before: %v", err)
	}
	w.a = w.append(must(w.a.RemoveSigner(w.ca.Key(), Keep{Revocations: [][32]byte{hashOf(older), hashOf(borrowed)}}, w.root))(t))

	if err := w.a.Verify(kept, day(1)); err != nil {
		t.Errorf("a kept certificate: %v", err)
	}
	if err := w.a.Verify(kept, day(1000)); !errors.Is(err, ErrExpired) {
		t.Errorf("a kept certificate after its time: %v", err)
	}
	if err := w.a.Verify(lost, day(1)); !errors.Is(err, ErrUnknownSigner) {
		t.Errorf("a certificate that is not kept: %v", err)
	}
	// Its key still makes signatures: a further certificate for the kept member is none that the log names.
	again := w.full()
	again.Groups = []string{"root"}
	if err := w.a.Verify(w.issue(again, w.alice), day(1)); !errors.Is(err, ErrUnknownSigner) {
		t.Errorf("a new certificate of the removed signer: %v", err)
	}
	if _, err := ParseRevocation(older, w.a); err != nil {
		t.Errorf("a kept revocation: %v", err)
	}
	if _, err := ParseRevocation(other, w.a); !errors.Is(err, ErrUnknownSigner) {
		t.Errorf("a revocation that is not kept: %v", err)
	}
	if _, err := ParseRevocation(borrowed, w.a); !errors.Is(err, ErrUnknownSigner) {
		t.Errorf("a kept revocation in the name of another member: %v", err)
	}
	if _, err := ParseGrant(grant, w.a); !errors.Is(err, ErrUnknownSigner) {
		t.Errorf("a grant of the removed signer: %v", err)
	}
	if _, err := ParseReceipt(receipt, w.a); !errors.Is(err, ErrUnknownSigner) {
		t.Errorf("a receipt of the removed signer: %v", err)
	}
	if !w.a.SignerPool().Equal(x509.NewCertPool()) {
		t.Error("the removed signer is still in the pool")
	}
}

func TestSignerPool(t *testing.T) {
	w := newWorld(t, 0)
	second := w.newCA(70, w.alice)
	w.a = w.append(must(w.a.AddSigner(second.Certificate(), w.root))(t))
	w.ca = second
	c := w.issue(w.profile("web"), w.bob)
	if err := w.a.Verify(c, day(1)); err != nil {
		t.Errorf("the second signer's certificate: %v", err)
	}
	_, err := c.X509.Verify(x509.VerifyOptions{Roots: w.a.SignerPool(), CurrentTime: day(1), DNSName: "web.home.internal"})
	if err != nil {
		t.Errorf("the pool, as TLS uses it: %v", err)
	}
	if s, ok := w.a.Signer(second.Key()); !ok || s.Node != w.alice.ID() {
		t.Errorf("got %+v, %v", s, ok)
	}
	if _, ok := w.a.Signer([32]byte{}); ok {
		t.Error("nobody is a signer")
	}
}

func TestSeniorTo(t *testing.T) {
	w := newWorld(t, 0)
	since := func(id *Identity, at time.Time) *Certificate {
		p := w.profile("nas")
		p.Since = at
		return w.issue(p, id)
	}
	old, young := since(w.alice, day(0)), since(w.bob, day(1))
	if !old.SeniorTo(young) || young.SeniorTo(old) {
		t.Error("who came first is not the senior")
	}
	a, b := since(w.alice, day(0)), since(w.bob, day(0).Add(time.Second-1))
	if a.SeniorTo(b) == b.SeniorTo(a) || a.SeniorTo(b) != (a.Node.Compare(b.Node) < 0) || a.SeniorTo(a) {
		t.Error("members of the same second are not told apart")
	}
}

func TestCAPEM(t *testing.T) {
	w, o := newWorld(t, 0), newWorld(t, 100)
	text := must(w.ca.MarshalPEM())(t)
	back := must(ParseCAPEM(text))(t)
	if back.Key() != w.ca.Key() || back.Node() != w.founder.ID() || !reflect.DeepEqual(back.Signer(), w.ca.Signer()) {
		t.Errorf("got %+v, want %+v", back.Signer(), w.ca.Signer())
	}
	if a, b := must(back.Issue(w.full(), w.alice.Public()))(t), w.issue(w.full(), w.alice).DER; !bytes.Equal(a, b) {
		t.Error("read back it signs something else")
	}
	key := must(w.ca.secret.MarshalPEM())(t)
	block := func(kind string, b []byte) []byte {
		return append(bytes.Clone(key), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})...)
	}
	for name, test := range map[string]struct {
		text []byte
		want error
	}{
		"nothing":              {nil, ErrKey},
		"no certificate":       {key, ErrCertificate},
		"a second key":         {append(bytes.Clone(key), key...), ErrCertificate},
		"another's":            {block("CERTIFICATE", o.ca.Certificate()), ErrKey},
		"a node's":             {block("CERTIFICATE", w.issue(w.full(), w.alice).DER), ErrCertificate},
		"another type":         {block("X509 CRL", w.ca.Certificate()), ErrCertificate},
		"a byte too much":      {block("CERTIFICATE", append(bytes.Clone(w.ca.Certificate()), 0)), ErrCertificate},
		"the certificate only": {text[len(key):], ErrKey},
	} {
		if _, err := ParseCAPEM(test.text); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
	seed := w.ca.secret.Key().Seed()
	for _, v := range []any{w.ca, *w.ca, w.root, *w.root, w.alice, *w.alice} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s"} {
			if got := fmt.Sprintf(verb, v); got != "(secret)" {
				t.Errorf("%T with %s: %s, the seed is %x", v, verb, got, seed)
			}
		}
	}
}

func TestRequest(t *testing.T) {
	w := newWorld(t, 0)
	wg := wireguard(9).Public()
	for _, name := range []string{"", "nas"} {
		r := must(ParseRequest(must(NewRequest(w.alice, wg, name))(t)))(t)
		if r.Name != name || r.WG != wg || r.Node != w.alice.ID() || !r.Public.Equal(w.alice.Public()) {
			t.Errorf("got %+v", r)
		}
	}
	for name, f := range map[string]func() ([]byte, error){
		"a bad name":       func() ([]byte, error) { return NewRequest(w.alice, wg, "a.b") },
		"no WireGuard key": func() ([]byte, error) { return NewRequest(w.alice, WGPublic{}, "nas") },
	} {
		if b, err := f(); !errors.Is(err, ErrObject) {
			t.Errorf("%s: got %x, %v", name, b, err)
		}
	}
	good := must(canon.Marshal(wireRequest{wg[:]}))(t)
	for name, d := range map[string]der.Request{
		"a bad name":            {DNS: "a.b", Private: good},
		"capitals":              {DNS: "NAS", Private: good},
		"a reserved name":       {DNS: "localhost", Private: good},
		"no extension's value":  {},
		"a short WireGuard key": {Private: must(canon.Marshal(wireRequest{wg[:31]}))(t)},
		"a zero WireGuard key":  {Private: must(canon.Marshal(wireRequest{make([]byte, 32)}))(t)},
		"a byte behind":         {Private: append(bytes.Clone(good), 0)},
		"the groups it wants":   {Private: append([]byte{0xa2}, append(bytes.Clone(good[1:]), 0x02, 0x80)...)},
	} {
		if r, err := ParseRequest(must(d.Sign(w.alice.Key()))(t)); !errors.Is(err, ErrObject) {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
	}
	weak, sign := universal(t)
	body := must(NewRequest(w.alice, wg, "nas"))(t)
	body = bytes.Replace(body, w.alice.Public(), weak, 1)
	copy(body[len(body)-len(sign):], sign)
	if _, err := der.ParseRequest(body); err != nil {
		t.Errorf("the signature is good for the key of small order: %v", err)
	}
	if r, err := ParseRequest(body); !errors.Is(err, ErrObject) {
		t.Errorf("a key for which everybody can sign: got %+v, %v", r, err)
	}
	b := must(NewRequest(w.alice, wg, "nas"))(t)
	for i := range 8 * len(b) {
		bad := bytes.Clone(b)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := ParseRequest(bad); err == nil {
			t.Errorf("bit %d of byte %d changes nothing", i%8, i/8)
		}
	}
}

func TestIdentityPEM(t *testing.T) {
	id, root := must(NewIdentity())(t), must(NewRoot())(t)
	back := must(ParseIdentityPEM(must(id.MarshalPEM())(t)))(t)
	if back.ID() != id.ID() || back.ID() != NodeIDOf(id.Public()) || !id.Public().Equal(back.Signer().Public()) {
		t.Error("an identity does not survive its file")
	}
	if r := must(ParseRootPEM(must(root.MarshalPEM())(t)))(t); !r.Public().Equal(root.Public()) {
		t.Error("a root does not survive its file")
	}
	if r := must(ParseRecovery(root.Recovery()))(t); !r.Public().Equal(root.Public()) {
		t.Error("a root does not survive its text")
	}
	for _, err := range []error{
		func() error { _, err := ParseIdentityPEM(nil); return err }(), func() error { _, err := ParseRootPEM([]byte("x")); return err }(),
	} {
		if !errors.Is(err, ErrKey) {
			t.Errorf("got %v, want %v", err, ErrKey)
		}
	}
	if _, err := ParseRecovery("x"); !errors.Is(err, ErrRecovery) {
		t.Errorf("got %v, want %v", err, ErrRecovery)
	}
}

// TestCheckKeys holds what every member derives from the network id alone.
func TestCheckKeys(t *testing.T) {
	w := newWorld(t, 0)
	golden(t, "derived.txt", fmt.Sprintf("network    %s\njoin check %x\ncheck user %x\n", w.a.Network, JoinCheckKey(w.a.Network), CheckUserKey(w.a.Network)))
	if JoinCheckKey(w.a.Network) == JoinCheckKey(NetworkID{}) || CheckUserKey(w.a.Network) == JoinCheckKey(w.a.Network) {
		t.Error("one key for two purposes")
	}
}
