package keys

import (
	"testing"
	"time"
)

func TestFounding(t *testing.T) {
	now := time.Now()
	id, _ := NewIdentity()
	wg, _ := NewWGPrivate()
	root, _ := NewRoot()
	rec, _ := NewRoot()
	gen, net, err := Found(Founding{Name: "home", Created: now}, root, rec.Public())
	if err != nil {
		t.Fatal(err)
	}
	a, err := Replay([][]byte{gen})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := NewCA(net, a.Name, a.Prefixes(), id.ID(), now)
	if err != nil {
		t.Fatal(err)
	}
	e, err := a.AddSigner(ca.Certificate(), root)
	if err != nil {
		t.Fatal(err)
	}
	a, err = a.Append(e)
	if err != nil {
		t.Fatal(err)
	}
	b, err := ca.Issue(Profile{Name: "a", WG: wg.Public(), Since: now, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(DefaultLifetime)}, id.Public())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseCertificate(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Verify(c, now); err != nil {
		t.Fatal(err)
	}
	t.Log(len(gen), len(e), len(ca.Certificate()), len(b))
}
