package keys

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"reflect"
	"slices"
	"testing"

	"warren/keys/canon"
	"warren/keys/der"
	"warren/keys/secret"
)

// fuzzKind tries bytes as they come and, signed by the rightful key, as a payload. What is read must be written again to
// the same bytes by whoever holds the key: so nothing is lost, and there is no second form.
func fuzzKind(f *testing.F, kind string, more ...[]byte) {
	w := newWorld(f, 0)
	kinds := w.kinds()
	k := kinds[slices.IndexFunc(kinds, func(k signedKind) bool { return k.kind == kind })]
	for _, b := range append(more, k.good) {
		f.Add(b, false)
		o := must(canon.ParseObject(b, kind, MaxSigned))(f)
		f.Add(o.Payload, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, sign bool) {
		if sign {
			b = k.wrap(t, b, w.a.Network)
		}
		peeked := k.peek(b)
		again, err := k.parse(b)
		if err == nil && peeked != nil {
			t.Errorf("%x is read, and peeked at: %v", b, peeked)
		}
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("%x is written again as %x", b, again)
		}
		if err != nil && !slices.ContainsFunc(
			[]error{ErrObject, ErrUnknownSigner, canon.ErrForm, canon.ErrSize, canon.ErrSignature},
			func(known error) bool { return errors.Is(err, known) },
		) {
			t.Errorf("an error that nobody tells apart: %v", err)
		}
	})
}

func FuzzRecord(f *testing.F) {
	w := newWorld(f, 0)
	fuzzKind(f, kindRecord, must(SignRecord(Record{Node: w.alice.ID()}, w.alice, w.a.Network))(f))
}

func FuzzLeft(f *testing.F) { fuzzKind(f, kindLeft) }

func FuzzGrant(f *testing.F) {
	w := newWorld(f, 0)
	g := Grant{Invite: w.grant().Invite, Key: w.grant().Key, Uses: 1, Expires: day(1), Issued: day(0)}
	fuzzKind(f, kindGrant, must(SignGrant(g, w.ca))(f))
}

func FuzzReceipt(f *testing.F) { fuzzKind(f, kindReceipt) }

func FuzzRevocation(f *testing.F) {
	w := newWorld(f, 0)
	invite := Revocation{Invite: w.grant().Invite, At: day(2)}
	serial := Revocation{Serial: w.full().Serial, Issuer: w.ca.Key()}
	fuzzKind(f, kindRevocation, must(SignRevocation(invite, w.ca))(f), must(SignRevocation(serial, w.ca))(f))
}

// FuzzLog appends entries, as they come or with a payload signed by a root: what is appended must be so when the whole
// log is replayed, and an error changes nothing.
func FuzzLog(f *testing.F) {
	w := newWorld(f, 0)
	second := w.newCA(60, w.bob)
	for _, body := range []canon.Body{
		&canon.SignerAdd{Certificate: second.Certificate()}, &canon.RootRemove{Key: w.recovery.Public()},
		&canon.Threshold{K: 2}, &canon.Policy{StrictExpiry: true, Lifetime: 5}, &canon.RootAdd{Key: rootKey(70).Public()},
		&canon.SignerRemove{Signer: bytes.Clone(func() []byte { k := w.ca.Key(); return k[:] }()), Certificates: [][]byte{make([]byte, 32)}, More: true},
	} {
		b := w.entryOf(body, w.a.Network, w.root)
		f.Add(b, false)
		f.Add(must(canon.ParseEntry(b))(f).Joint.Payload, true)
	}
	f.Add(w.genesis, false)
	f.Fuzz(func(t *testing.T, b []byte, sign bool) {
		if sign {
			j := &canon.Joint{Kind: "warren/log", Payload: b}
			if err := j.Add(w.root.Key(), secret.Hash(w.root.Public()), w.a.Network[:]); err != nil {
				t.Fatal(err)
			}
			b = must(j.Marshal())(t)
		}
		before := w.a.clone()
		next, err := w.a.Append(b)
		if !reflect.DeepEqual(before, w.a) {
			t.Fatalf("%x changes the state that it is appended to", b)
		}
		if err != nil {
			known := []error{ErrChain, ErrThreshold, ErrEntry, ErrEntryVersion, canon.ErrForm, canon.ErrSize}
			if !slices.ContainsFunc(known, func(want error) bool { return errors.Is(err, want) }) {
				t.Errorf("an error that nobody tells apart: %v", err)
			}
			return
		}
		if replayed, err := Replay(append(slices.Clone(w.a.Entries), b)); err != nil || !reflect.DeepEqual(replayed, next) {
			t.Errorf("replayed: %+v, %v, appended: %+v", replayed, err, next)
		}
		if next.Threshold < 1 || next.Threshold > len(next.Roots) || len(next.Roots) > MaxRoots || len(next.Signers) > MaxSigners {
			t.Errorf("%d of %d roots, %d signers", next.Threshold, len(next.Roots), len(next.Signers))
		}
	})
}

// checkCertificate holds that a certificate that was read is issued to the same bytes.
func checkCertificate(t *testing.T, b []byte, c *Certificate) {
	t.Helper()
	body, err := c.tbs(c.Public())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := der.Assemble(body, c.X509.Signature); err != nil || !bytes.Equal(again, b) {
		t.Errorf("%x is written again as %x, %v", b, again, err)
	}
	if err := c.check(); err != nil || len(b) > MaxCertificate {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func FuzzCertificate(f *testing.F) {
	w := newWorld(f, 0)
	f.Add(w.issue(w.full(), w.alice).DER)
	f.Add(w.issue(w.profile("web"), w.bob).DER)
	f.Add(w.ca.Certificate())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCertificate(b)
		if err != nil {
			if !errors.Is(err, ErrCertificate) {
				t.Errorf("an error that nobody tells apart: %v", err)
			}
			return
		}
		checkCertificate(t, b, c)
	})
}

// FuzzCertificateProfile lets a signer write any names and any private extension.
func FuzzCertificateProfile(f *testing.F) {
	w := newWorld(f, 0)
	good := w.issue(w.full(), w.alice)
	_, l, err := der.ParseLeaf(good.DER)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(l.DNS, l.URI, l.Private)
	f.Fuzz(func(t *testing.T, dns, uri string, private []byte) {
		l := l
		l.DNS, l.URI, l.Private = dns, uri, private
		body, err := l.TBS()
		if err != nil {
			return
		}
		b := must(der.Assemble(body, ed25519.Sign(w.ca.secret.Key(), body)))(t)
		c, err := ParseCertificate(b)
		if err != nil {
			return
		}
		checkCertificate(t, b, c)
		if c.FQDN() != dns || c.uri() != uri {
			t.Errorf("%q, %q is read as %q, %q", dns, uri, c.FQDN(), c.uri())
		}
		if w.a.Verify(c, day(1)) != nil {
			return
		}
		if c.Domain != w.a.Suffix() || c.Network != w.a.Network {
			t.Errorf("%s verifies in %s", c.FQDN(), w.a.Suffix())
		}
		if again, err := w.ca.Issue(c.Profile, w.alice.Public()); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x is issued again as %x, %v", b, again, err)
		}
	})
}

func FuzzSignerCertificate(f *testing.F) {
	w := newWorld(f, 0)
	_, s, err := der.ParseSigner(w.ca.Certificate())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.Domain, s.Host, s.URI)
	f.Fuzz(func(t *testing.T, domain, host, uri string) {
		s := s
		s.Domain, s.Host, s.URI = domain, host, uri
		body, err := s.TBS()
		if err != nil {
			return
		}
		b := must(der.Assemble(body, ed25519.Sign(w.ca.secret.Key(), body)))(t)
		got, err := parseSigner(b)
		if err == nil && (got.Domain != domain || got.Network.String() != host || signerURI(got.Network, got.Node) != uri) {
			t.Errorf("%q %q %q is read as %+v", domain, host, uri, got)
		}
	})
}

// FuzzRequest tries bytes as they come and, signed, as name and private extension.
func FuzzRequest(f *testing.F) {
	w := newWorld(f, 0)
	for _, name := range []string{"", "nas"} {
		b := must(NewRequest(w.alice, wireguard(9).Public(), name))(f)
		f.Add(b, name, must(der.ParseRequest(b))(f).Private, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, name string, private []byte, sign bool) {
		if sign {
			signed, err := der.Request{DNS: name, Private: private}.Sign(w.alice.Key())
			if err != nil {
				return
			}
			b = signed
		}
		r, err := ParseRequest(b)
		if err != nil {
			if !errors.Is(err, ErrObject) {
				t.Errorf("an error that nobody tells apart: %v", err)
			}
			return
		}
		if r.Node != w.alice.ID() {
			return // of a key that is not here to sign again
		}
		if again, err := NewRequest(w.alice, r.WG, r.Name); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x is written again as %x, %v", b, again, err)
		}
	})
}
