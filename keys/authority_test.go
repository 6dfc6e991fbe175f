package keys

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
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

// TestLogGolden holds the bytes of a log with an entry of every kind.
func TestLogGolden(t *testing.T) {
	w := newWorld(t, 0)
	third := rootKey(50)
	second := w.newCA(51, w.alice)
	var out strings.Builder
	out.WriteString(vector("genesis", w.genesis) + vector("signer added", w.signer))
	add := func(name string, entry []byte, err error) {
		t.Helper()
		w.a = w.append(must(entry, err)(t))
		out.WriteString(vector(name, entry))
	}
	entry, err := w.a.SetPolicy(Policy{StrictExpiry: true, Lifetime: 30 * 24 * time.Hour, FailClosedAfter: time.Hour}, w.recovery)
	add("policy", entry, err)
	entry, err = w.a.AddSigner(second.Certificate(), w.root)
	add("second signer added", entry, err)
	entry, err = w.a.RemoveSigner(w.ca.Key(), Keep{Certificates: [][32]byte{{2}, {1}, {2}}, More: true}, w.root)
	add("signer removed, more follows", entry, err)
	entry, err = w.a.RemoveSigner(w.ca.Key(), Keep{Revocations: [][32]byte{{3}}}, w.root)
	add("signer removed", entry, err)
	entry, err = w.a.AddRoot(third, w.root)
	add("root added", entry, err)
	entry, err = w.a.SetThreshold(2, third)
	add("threshold", entry, err)
	entry, err = w.a.RemoveRoot(w.recovery.Public(), third, w.root)
	add("root removed", entry, err)
	fmt.Fprintf(&out, "network %s\nhead %x\nsuffix %s\nprefixes %s\nroots %d, threshold %d, signers %d\n",
		w.a.Network, w.a.Head, w.a.Suffix(), w.a.Prefixes(), len(w.a.Roots), w.a.Threshold, len(w.a.Signers))
	golden(t, "log.txt", out.String())

	again := must(Replay(w.a.Entries))(t)
	if !reflect.DeepEqual(again, w.a) {
		t.Errorf("replayed: %+v, appended: %+v", again, w.a)
	}
	if w.a.Policy != (Policy{true, 30 * 24 * time.Hour, time.Hour}) || len(w.a.Signers) != 1 || w.a.Signers[0].Key != second.Key() {
		t.Errorf("policy %+v, signers %v", w.a.Policy, w.a.Signers)
	}
	if !w.a.IsSigner(w.alice.ID()) || w.a.IsSigner(w.founder.ID()) {
		t.Error("the wrong members sign")
	}
}

func TestFound(t *testing.T) {
	root, recovery := must(NewRoot())(t), must(NewRoot())(t)
	genesis, id, err := Found(Founding{Name: "home", Created: day(0).Add(time.Millisecond)}, root, recovery.Public())
	if err != nil {
		t.Fatal(err)
	}
	a := must(Replay([][]byte{genesis}))(t)
	if a.Network != id || id != NetworkID(EntryHash(genesis)) || a.Name != "home" || a.IPRange != DefaultIPRange() || !a.Created.Equal(day(0)) {
		t.Errorf("got %+v", a)
	}
	if a.Threshold != 1 || len(a.Roots) != 2 || !a.Roots[0].Equal(root.Public()) || !a.Roots[1].Equal(recovery.Public()) {
		t.Errorf("roots %x, threshold %d", a.Roots, a.Threshold)
	}
	if _, other, err := Found(Founding{Name: "home", Created: day(0)}, root, recovery.Public()); err != nil || other == id {
		t.Errorf("the same founder's second network has the id %s, %v", other, err)
	}
	for name, spec := range map[string]Founding{
		"no name":       {},
		"a bad name":    {Name: "Home"},
		"a domain":      {Name: "home.internal"},
		"a huge range":  {Name: "home", IPRange: netip.MustParsePrefix("0.0.0.0/0")},
		"a range of v6": {Name: "home", IPRange: netip.MustParsePrefix("fd00::/8")},
		"host bits":     {Name: "home", IPRange: netip.MustParsePrefix("10.0.0.1/8")},
	} {
		if _, _, err := Found(spec, root, recovery.Public()); !errors.Is(err, ErrEntry) {
			t.Errorf("%s: got %v, want %v", name, err, ErrEntry)
		}
	}
	for name, key := range map[string]ed25519.PublicKey{
		"none": nil, "the root again": root.Public(), "of small order": make(ed25519.PublicKey, 32), "short": root.Public()[:31],
	} {
		if _, _, err := Found(Founding{Name: "home"}, root, key); !errors.Is(err, ErrEntry) {
			t.Errorf("recovery key %s: got %v, want %v", name, err, ErrEntry)
		}
	}
}

// TestGenesisRefuses makes what only a malicious founder would.
func TestGenesisRefuses(t *testing.T) {
	keys := func(n int) (list [][]byte) {
		for i := range n {
			list = append(list, rootKey(byte(i+1)).Public())
		}
		return list
	}
	good := func() *canon.Genesis {
		return &canon.Genesis{
			Name: "home", Range: canon.Prefix{Addr: []byte{10, 0, 0, 0}, Bits: 8}, Roots: keys(2), Threshold: 1, Created: 1, Nonce: make([]byte, nonceBytes),
		}
	}
	try := func(g *canon.Genesis, bound []byte, by ...byte) error {
		e := must(canon.NewEntry(canon.Head{}, g))(t)
		for _, n := range by {
			if err := e.Sign(rootKey(n).Key(), secret.Hash(rootKey(n).Public()), bound); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Replay([][]byte{must(e.Marshal())(t)})
		return err
	}
	for name, test := range map[string]struct {
		change func(*canon.Genesis)
		by     []byte
		want   error
	}{
		"good":                        {func(*canon.Genesis) {}, []byte{1}, nil},
		"signed by the other root":    {func(*canon.Genesis) {}, []byte{2}, nil},
		"two of two":                  {func(g *canon.Genesis) { g.Threshold = 2 }, []byte{1, 2}, nil},
		"sixteen roots":               {func(g *canon.Genesis) { g.Roots = keys(16) }, []byte{16}, nil},
		"one of two":                  {func(g *canon.Genesis) { g.Threshold = 2 }, []byte{1}, ErrThreshold},
		"two where one suffices":      {func(*canon.Genesis) {}, []byte{1, 2}, ErrThreshold},
		"signed by a stranger":        {func(*canon.Genesis) {}, []byte{3}, ErrThreshold},
		"threshold 0":                 {func(g *canon.Genesis) { g.Threshold = 0 }, []byte{1}, ErrEntry},
		"threshold 3 of 2":            {func(g *canon.Genesis) { g.Threshold = 3 }, []byte{1, 2, 3}, ErrEntry},
		"a threshold beyond int":      {func(g *canon.Genesis) { g.Threshold = 1<<63 + 1 }, []byte{1}, ErrEntry},
		"no roots":                    {func(g *canon.Genesis) { g.Roots = nil }, []byte{1}, ErrEntry},
		"a root twice":                {func(g *canon.Genesis) { g.Roots[1] = g.Roots[0] }, []byte{1}, ErrEntry},
		"seventeen roots":             {func(g *canon.Genesis) { g.Roots = keys(17) }, []byte{1}, ErrEntry},
		"a root of small order":       {func(g *canon.Genesis) { g.Roots[1] = make([]byte, 32) }, []byte{1}, ErrEntry},
		"a short root":                {func(g *canon.Genesis) { g.Roots[1] = g.Roots[1][:31] }, []byte{1}, ErrEntry},
		"a short nonce":               {func(g *canon.Genesis) { g.Nonce = g.Nonce[:15] }, []byte{1}, ErrEntry},
		"a long nonce":                {func(g *canon.Genesis) { g.Nonce = make([]byte, 17) }, []byte{1}, ErrEntry},
		"a name in capitals":          {func(g *canon.Genesis) { g.Name = "HOME" }, []byte{1}, ErrEntry},
		"a name with a dot":           {func(g *canon.Genesis) { g.Name = "a.b" }, []byte{1}, ErrEntry},
		"no name":                     {func(g *canon.Genesis) { g.Name = "" }, []byte{1}, ErrEntry},
		"a range of 5 bytes":          {func(g *canon.Genesis) { g.Range.Addr = make([]byte, 5) }, []byte{1}, ErrEntry},
		"a range of IPv6":             {func(g *canon.Genesis) { g.Range.Addr = make([]byte, 16) }, []byte{1}, ErrEntry},
		"a range with 33 bits":        {func(g *canon.Genesis) { g.Range.Bits = 33 }, []byte{1}, ErrEntry},
		"a range of everything":       {func(g *canon.Genesis) { g.Range = canon.Prefix{Addr: make([]byte, 4)} }, []byte{1}, ErrEntry},
		"a range that is loopback":    {func(g *canon.Genesis) { g.Range.Addr = []byte{127, 0, 0, 0} }, []byte{1}, ErrEntry},
		"a time after the year 9999":  {func(g *canon.Genesis) { g.Created = maxSeconds + 1 }, []byte{1}, ErrEntry},
		"a time beyond int64":         {func(g *canon.Genesis) { g.Created = 1 << 63 }, []byte{1}, ErrEntry},
		"the last second of all time": {func(g *canon.Genesis) { g.Created = maxSeconds }, []byte{1}, nil},
	} {
		g := good()
		test.change(g)
		if err := try(g, nil, test.by...); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
	if err := try(good(), make([]byte, 32), 1); !errors.Is(err, ErrThreshold) {
		t.Errorf("bound to a network: %v", err)
	}
	if _, err := Replay(nil); !errors.Is(err, ErrEntry) {
		t.Errorf("no entries: %v", err)
	}
}

// entryOf makes an entry that follows the head, whatever it says, signed by these keys and bound to network.
func (w *world) entryOf(body canon.Body, network NetworkID, by ...*Root) []byte {
	w.Helper()
	e := must(canon.NewEntry(canon.Head{Index: uint64(len(w.a.Entries)), Prev: w.a.Head}, body))(w)
	for _, r := range by {
		if err := e.Sign(r.Key(), secret.Hash(r.Public()), network[:]); err != nil {
			w.Fatal(err)
		}
	}
	return must(e.Marshal())(w)
}

// refuse checks that the entry is refused for this reason and that the state stays as it was.
func (w *world) refuse(name string, entry []byte, want error) {
	w.Helper()
	before := w.a.clone()
	next, err := w.a.Append(entry)
	if !errors.Is(err, want) || next != nil {
		w.Errorf("%s: got %v, %v, want %v", name, next, err, want)
	}
	if !reflect.DeepEqual(before, w.a) {
		w.Errorf("%s: the state changed", name)
	}
}

func TestAppendKeepsTheChain(t *testing.T) {
	w := newWorld(t, 0)
	w.refuse("the genesis again", w.genesis, ErrChain)
	w.refuse("the last entry again", w.signer, ErrChain)

	one := must(w.a.SetPolicy(Policy{Lifetime: time.Hour}, w.root))(t)
	fork := must(w.a.SetPolicy(Policy{Lifetime: 2 * time.Hour}, w.root))(t)
	old := w.a
	w.a = w.append(one)
	two := must(w.a.SetPolicy(Policy{}, w.root))(t)
	w.refuse("a fork", fork, ErrChain)
	branch := must(old.Append(fork))(t)
	w.refuse("the next entry of another branch", must(branch.SetPolicy(Policy{}, w.root))(t), ErrChain)
	w.refuse("an entry again after it counted", one, ErrChain)
	w.a = w.append(two)
	w.refuse("the first of two again, to turn the policy back", one, ErrChain)
	if _, err := old.Append(two); !errors.Is(err, ErrChain) {
		t.Errorf("an entry whose predecessor is missing: %v", err)
	}
	if next, err := old.Append(fork); err != nil || next.Policy.Lifetime != 2*time.Hour || old.Policy.Lifetime != 0 {
		t.Errorf("an older state cannot be continued: %v, %v", next, err)
	}
	if _, err := Replay([][]byte{w.genesis, one, w.signer}); !errors.Is(err, ErrChain) {
		t.Errorf("entries in another order: %v", err)
	}
	if _, err := Replay([][]byte{w.signer}); !errors.Is(err, ErrChain) {
		t.Errorf("a log without its genesis: %v", err)
	}
	for _, index := range []uint64{1, 3, 5, 1 << 63} { // the right hash, and a number that is not its own
		e := must(canon.NewEntry(canon.Head{Index: index, Prev: w.a.Head}, &canon.Policy{}))(t)
		if err := e.Sign(w.root.Key(), secret.Hash(w.root.Public()), w.a.Network[:]); err != nil {
			t.Fatal(err)
		}
		w.refuse("a number that is not the next", must(e.Marshal())(t), ErrChain)
	}
	index, prev, err := PeekEntry(two)
	if err != nil || index != 3 || prev != EntryHash(one) {
		t.Errorf("peeked: %d, %x, %v", index, prev, err)
	}
	if _, _, err := PeekEntry(two[:50]); !errors.Is(err, canon.ErrForm) {
		t.Errorf("peeked at half an entry: %v", err)
	}
}

// TestAppendOwnsItsBytes holds that nobody changes a log through a slice that he still has.
func TestAppendOwnsItsBytes(t *testing.T) {
	w := newWorld(t, 0)
	entry := bytes.Clone(w.signer)
	a := must(must(Replay([][]byte{w.genesis}))(t).Append(entry))(t)
	clear(entry)
	if !bytes.Equal(a.Entries[1], w.signer) || !bytes.Equal(a.Signers[0].Certificate.Raw, w.ca.Certificate()) {
		t.Error("the log changed with the caller's bytes")
	}
}

func TestAppendNeedsRoots(t *testing.T) {
	w, stranger := newWorld(t, 0), rootKey(99)
	policy := &canon.Policy{StrictExpiry: true}
	n := w.a.Network
	asRoot := func(s secret.Ed25519) *Root { return &Root{s} }
	w.refuse("signed by a stranger", w.entryOf(policy, n, stranger), ErrThreshold)
	w.refuse("signed by a signer's key", w.entryOf(policy, n, asRoot(w.ca.secret)), ErrThreshold)
	w.refuse("signed by a member", w.entryOf(policy, n, asRoot(w.founder.Ed25519)), ErrThreshold)
	w.refuse("signed by a root and a stranger", w.entryOf(policy, n, w.root, stranger), ErrThreshold)
	w.refuse("signed by both where one suffices", w.entryOf(policy, n, w.root, w.recovery), ErrThreshold)
	w.refuse("signed for another network", w.entryOf(policy, newWorld(t, 100).a.Network, w.root), ErrThreshold)
	w.refuse("signed for no network", w.entryOf(policy, NetworkID{}, w.root), ErrThreshold)

	good := w.entryOf(policy, n, w.root)
	e := must(canon.ParseEntry(good))(t)
	e.Joint.Signatures[0].Key = secret.Hash(w.recovery.Public())
	w.refuse("a root's signature in the name of another", must(e.Marshal())(t), ErrThreshold)
	for i := range 8 * len(good) {
		b := bytes.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		if next, err := w.a.Append(b); err == nil {
			t.Fatalf("bit %d of byte %d changes nothing: %+v", i%8, i/8, next)
		}
	}
	for i := range good {
		if _, err := w.a.Append(good[:i]); err == nil {
			t.Fatalf("the first %d bytes are enough", i)
		}
	}
	w.refuse("a byte behind", append(bytes.Clone(good), 0), canon.ErrForm)
	w.refuse("too large", make([]byte, MaxEntry+1), canon.ErrSize)
	w.a = w.append(w.entryOf(policy, n, w.recovery)) // the recovery key alone suffices
}

// TestThreshold walks a network from one of two roots to two of three.
func TestThreshold(t *testing.T) {
	w, third := newWorld(t, 0), rootKey(50)
	n, policy := w.a.Network, &canon.Policy{StrictExpiry: true}
	add := &canon.RootAdd{Key: third.Public()}
	w.refuse("a new root that did not sign", w.entryOf(add, n, w.root), ErrThreshold)
	w.refuse("a new root that signed alone", w.entryOf(add, n, third), ErrThreshold)
	w.refuse("two old roots for the new one", w.entryOf(add, n, w.root, w.recovery), ErrThreshold)
	w.a = w.append(must(w.a.AddRoot(third, w.root))(t))
	w.a = w.append(must(w.a.SetThreshold(2, third))(t))

	one := must(w.a.SetPolicy(Policy{StrictExpiry: true}, w.root))(t)
	w.refuse("one of two", one, ErrThreshold)
	w.refuse("three of two", w.entryOf(policy, n, w.root, w.recovery, third), ErrThreshold)
	w.refuse("a root and a signer", w.entryOf(policy, n, w.root, &Root{w.ca.secret}), ErrThreshold)
	w.refuse("one root turns the threshold back", w.entryOf(&canon.Threshold{K: 1}, n, w.root), ErrThreshold)
	w.refuse("one root and a key of its own making", w.entryOf(&canon.RootAdd{Key: rootKey(51).Public()}, n, w.root, rootKey(51)), ErrThreshold)
	w.refuse("a root that is there already, signing for itself twice", w.entryOf(&canon.RootAdd{Key: third.Public()}, n, w.root, third), ErrThreshold)
	w.refuse("a root that is there already", w.entryOf(&canon.RootAdd{Key: third.Public()}, n, w.root, w.recovery, third), ErrEntry)

	two := must(w.a.Cosign(one, third))(t)
	again := must(w.a.Cosign(two, third))(t)
	if !bytes.Equal(two, again) {
		t.Error("signing again makes another entry")
	}
	w.refuse("a third signature", must(w.a.Cosign(two, w.recovery))(t), ErrThreshold)
	w.a = w.append(two)
	if _, err := w.a.Cosign(one, third); !errors.Is(err, ErrChain) {
		t.Errorf("an old entry is signed: %v", err)
	}
	if _, err := w.a.Cosign([]byte("x"), third); !errors.Is(err, canon.ErrForm) {
		t.Errorf("no entry is signed: %v", err)
	}

	w.refuse("threshold 0", w.entryOf(&canon.Threshold{}, n, w.root, third), ErrEntry)
	w.refuse("threshold 4 of 3", w.entryOf(&canon.Threshold{K: 4}, n, w.root, third), ErrEntry)
	w.refuse("removing a stranger", w.entryOf(&canon.RootRemove{Key: rootKey(51).Public()}, n, w.root, third), ErrEntry)
	w.a = w.append(must(w.a.RemoveRoot(w.recovery.Public(), w.root, third))(t))
	w.refuse("too few left", w.entryOf(&canon.RootRemove{Key: w.root.Public()}, n, w.root, third), ErrEntry)
	w.refuse("a removed root", w.entryOf(policy, n, w.recovery, third), ErrThreshold)
	w.a = w.append(must(w.a.SetThreshold(1, w.root, third))(t))
	if _, err := w.a.SetThreshold(-1, w.root); !errors.Is(err, ErrEntry) {
		t.Errorf("threshold -1: %v", err)
	}
}

func TestRootsAreFew(t *testing.T) {
	w := newWorld(t, 0)
	for i := range byte(MaxRoots - 2) {
		w.a = w.append(must(w.a.AddRoot(rootKey(60+i), w.root))(t))
	}
	w.a = w.append(must(w.a.SetThreshold(MaxRoots, w.root))(t))
	all := []*Root{w.root, w.recovery}
	for i := range byte(MaxRoots - 2) {
		all = append(all, rootKey(60+i))
	}
	w.refuse("one root too many", w.entryOf(&canon.RootAdd{Key: rootKey(100).Public()}, w.a.Network, append(all, rootKey(100))...), ErrEntry)
	w.a = w.append(must(w.a.SetPolicy(Policy{StrictExpiry: true}, all...))(t)) // 16 of 16
	small := w.entryOf(&canon.RootAdd{Key: make([]byte, 32)}, w.a.Network, all...)
	w.refuse("a root of small order", small, ErrEntry)
}

func TestPolicy(t *testing.T) {
	w := newWorld(t, 0)
	w.a = w.append(must(w.a.SetPolicy(Policy{true, 90 * time.Second, time.Hour + time.Millisecond}, w.root))(t))
	if want := (Policy{true, 90 * time.Second, time.Hour}); w.a.Policy != want {
		t.Errorf("got %+v, want %+v", w.a.Policy, want)
	}
	w.a = w.append(must(w.a.SetPolicy(Policy{Lifetime: -time.Hour}, w.root))(t))
	if w.a.Policy != (Policy{}) {
		t.Errorf("the newest replaces all: got %+v", w.a.Policy)
	}
	for name, p := range map[string]*canon.Policy{
		"a lifetime that overflows": {Lifetime: 1 << 63}, "a century and more": {FailClosedAfter: maxPolicy + 1},
	} {
		w.refuse(name, w.entryOf(p, w.a.Network, w.root), ErrEntry)
	}
}

func TestSignersOfOthersAreRefused(t *testing.T) {
	w, o := newWorld(t, 0), newWorld(t, 100)
	n := w.a.Network
	add := func(b []byte) []byte { return w.entryOf(&canon.SignerAdd{Certificate: b}, n, w.root) }
	make1 := func(net NetworkID, name string, prefixes ...netip.Prefix) []byte {
		ca, err := newCA(fixed(70), net, name, prefixes, w.alice.ID(), day(0))
		return must(ca, err)(t).Certificate()
	}
	ula, v4 := n.ULA(), w.a.IPRange
	w.refuse("a signer of another network", add(o.ca.Certificate()), ErrEntry)
	sister := n // has the same prefixes, of 40 bits of the id
	sister[31]++
	w.refuse("a signer of a network with the same prefixes", add(make1(sister, "home", ula, v4)), ErrEntry)
	w.refuse("of another domain", add(make1(n, "work", ula, v4)), ErrEntry)
	w.refuse("with a wider range", add(make1(n, "home", ula, netip.MustParsePrefix("100.0.0.0/8"))), ErrEntry)
	w.refuse("with a narrower range", add(make1(n, "home", ula, netip.MustParsePrefix("100.64.0.0/11"))), ErrEntry)
	w.refuse("a node's certificate", add(w.issue(w.profile("nas"), w.alice).DER), ErrEntry)
	w.refuse("no certificate", add(nil), ErrEntry)
	w.refuse("one that is there", add(w.ca.Certificate()), ErrEntry)
	later, err := newCA(w.ca.secret, n, "home", w.a.Prefixes(), w.bob.ID(), day(5))
	w.refuse("a key that is there, in another certificate", add(must(later, err)(t).Certificate()), ErrEntry)
	if _, err := w.a.AddSigner(o.ca.Certificate(), w.root); !errors.Is(err, ErrEntry) {
		t.Errorf("such an entry is even made: %v", err)
	}

	for name, test := range map[string]func() (*CA, error){
		"prefixes of another network": func() (*CA, error) {
			return NewCA(n, "home", o.a.Prefixes(), w.alice.ID(), day(0))
		},
		"one prefix":      func() (*CA, error) { return NewCA(n, "home", []netip.Prefix{ula}, w.alice.ID(), day(0)) },
		"three prefixes":  func() (*CA, error) { return NewCA(n, "home", []netip.Prefix{ula, v4, v4}, w.alice.ID(), day(0)) },
		"the wrong order": func() (*CA, error) { return NewCA(n, "home", []netip.Prefix{v4, ula}, w.alice.ID(), day(0)) },
		"everything": func() (*CA, error) {
			return NewCA(n, "home", []netip.Prefix{ula, netip.MustParsePrefix("0.0.0.0/0")}, w.alice.ID(), day(0))
		},
		"a public name": func() (*CA, error) { return NewCA(n, "example.com", w.a.Prefixes(), w.alice.ID(), day(0)) },
		"a time before all": func() (*CA, error) {
			return NewCA(n, "home", w.a.Prefixes(), w.alice.ID(), time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC))
		},
	} {
		if ca, err := test(); err == nil {
			t.Errorf("%s: got %+v", name, ca.Signer())
		}
	}
}

// TestForgedSigners makes signers' certificates by hand, as a root that was taken over might.
func TestForgedSigners(t *testing.T) {
	w := newWorld(t, 0)
	key := fixed(70)
	good := func() der.Signer {
		return der.Signer{
			NotBefore: day(0), Public: key.Public(), Domain: "home.internal", Prefixes: w.a.Prefixes(), Host: w.a.Network.String(),
			URI: signerURI(w.a.Network, w.alice.ID()),
		}
	}
	make1 := func(s der.Signer, by secret.Ed25519) []byte {
		body := must(s.TBS())(t)
		return must(der.Assemble(body, ed25519.Sign(by.Key(), body)))(t)
	}
	if _, err := parseSigner(make1(good(), key)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*der.Signer){
		"a node's URI":               func(s *der.Signer) { s.URI = strings.Replace(s.URI, "/signer/", "/node/", 1) },
		"a URI of another network":   func(s *der.Signer) { s.URI = signerURI(NetworkID{1}, w.alice.ID()) },
		"a URI with a query":         func(s *der.Signer) { s.URI += "?x" },
		"a URI in capitals":          func(s *der.Signer) { s.URI = "spiffe://" + strings.ToUpper(strings.TrimPrefix(s.URI, "spiffe://")) },
		"a short URI":                func(s *der.Signer) { s.URI = "spiffe:" },
		"another scheme":             func(s *der.Signer) { s.URI = strings.Replace(s.URI, "spiffe", "https", 1) },
		"a host that is no network":  func(s *der.Signer) { s.Host = "example.com" },
		"a host in capitals":         func(s *der.Signer) { s.Host = strings.ToUpper(s.Host) },
		"all hosts":                  func(s *der.Signer) { s.Host = "." + s.Host },
		"a public domain":            func(s *der.Signer) { s.Domain = "example.com" },
		"all of internal":            func(s *der.Signer) { s.Domain = "internal" },
		"a domain with a dot before": func(s *der.Signer) { s.Domain = ".home.internal" },
		"a domain below the network": func(s *der.Signer) { s.Domain = "a.home.internal" },
		"an unmasked range":          func(s *der.Signer) { s.Prefixes[1] = netip.MustParsePrefix("100.64.0.1/10") },
		"a range in IPv6 clothes":    func(s *der.Signer) { s.Prefixes[1] = netip.MustParsePrefix("::ffff:100.64.0.0/106") },
		"the whole ULA space":        func(s *der.Signer) { s.Prefixes[0] = netip.MustParsePrefix("fd00::/8") },
	} {
		s := good()
		s.Prefixes = slices.Clone(s.Prefixes)
		change(&s)
		if got, err := parseSigner(make1(s, key)); !errors.Is(err, ErrCertificate) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	if _, err := parseSigner(make1(good(), fixed(71))); !errors.Is(err, ErrCertificate) {
		t.Errorf("signed by another: %v", err)
	}
}

func TestSignersAreFew(t *testing.T) {
	w := newWorld(t, 0)
	for i := range byte(MaxSigners - 1) {
		w.a = w.append(must(w.a.AddSigner(w.newCA(100+i, w.alice).Certificate(), w.root))(t))
	}
	one := &canon.SignerAdd{Certificate: w.newCA(99, w.alice).Certificate()}
	w.refuse("one too many", w.entryOf(one, w.a.Network, w.root), ErrEntry)
	w.a = w.append(must(w.a.RemoveSigner(w.ca.Key(), Keep{}, w.root))(t))
	w.refuse("a removed one again, with room for it", w.entryOf(&canon.SignerAdd{Certificate: w.ca.Certificate()}, w.a.Network, w.root), ErrEntry)
	w.a = w.append(w.entryOf(one, w.a.Network, w.root))
	w.refuse("a removed one again", w.entryOf(&canon.SignerAdd{Certificate: w.ca.Certificate()}, w.a.Network, w.root), ErrEntry)
}

func TestRemoveSignerRefuses(t *testing.T) {
	w := newWorld(t, 0)
	key := w.ca.Key()
	hash := func(n byte) []byte { return bytes.Repeat([]byte{n}, 32) }
	for name, body := range map[string]*canon.SignerRemove{
		"a stranger":          {Signer: hash(1)},
		"nobody":              {},
		"a short name":        {Signer: key[:31]},
		"hashes descending":   {Signer: key[:], Certificates: [][]byte{hash(2), hash(1)}},
		"a hash twice":        {Signer: key[:], Revocations: [][]byte{hash(2), hash(2)}},
		"a hash of 20 bytes":  {Signer: key[:], Revocations: [][]byte{hash(2)[:20]}},
		"a hash of no length": {Signer: key[:], Certificates: [][]byte{{}}},
	} {
		w.refuse(name, w.entryOf(body, w.a.Network, w.root), ErrEntry)
	}
	if _, err := w.a.RemoveSigner(key, Keep{Certificates: make([][32]byte, 1)}, w.root); err != nil {
		t.Error(err)
	}
	many := make([][32]byte, 200)
	for i := range many {
		many[i][0] = byte(i)
	}
	if _, err := w.a.RemoveSigner(key, Keep{Certificates: many}, w.root); !errors.Is(err, canon.ErrSize) {
		t.Errorf("200 hashes in one entry: %v", err)
	}
}

func TestLogIsBounded(t *testing.T) {
	w := newWorld(t, 0)
	for len(w.a.Entries) < MaxEntries { // standing in for real ones: only their number matters here
		w.a.Entries = append(w.a.Entries, nil)
	}
	w.refuse("one entry too many", w.entryOf(&canon.Policy{}, w.a.Network, w.root), ErrEntry)
}

func TestEntryOfALaterVersion(t *testing.T) {
	w := newWorld(t, 0)
	j := &canon.Joint{Kind: "warren/log", Payload: unhex(t, "a2 01 02 02 09")}
	if err := j.Add(w.root.Key(), secret.Hash(w.root.Public()), w.a.Network[:]); err != nil {
		t.Fatal(err)
	}
	w.refuse("version 2", must(j.Marshal())(t), ErrEntryVersion)
}
