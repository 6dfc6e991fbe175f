package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"warren/keys"
	"warren/mesh/state"
)

// errKilled is what every call returns after the agent was killed.
var errKilled = errors.New("killed")

// shelf is a Folder in memory. It is killed at its n-th change, which then has happened or not.
type shelf struct {
	files map[string][]byte
	left  int  // changes until it is killed; negative: never
	done  bool // the change at which it is killed happens
	dead  bool
}

var _ Folder = (*state.Folder)(nil)

func newShelf() *shelf { return &shelf{files: map[string][]byte{}, left: -1} }

// change counts a change and reports whether it happens, and how the call ends.
func (s *shelf) change(what func()) error {
	if s.dead {
		return errKilled
	}
	if s.left == 0 {
		if s.dead = true; s.done {
			what()
		}
		return errKilled
	}
	s.left--
	what()
	return nil
}

func (s *shelf) ReadFile(name string) ([]byte, error) {
	b, ok := s.files[name]
	switch {
	case s.dead:
		return nil, errKilled
	case !ok:
		return nil, fmt.Errorf("shelf: %s: %w", name, fs.ErrNotExist)
	}
	return bytes.Clone(b), nil
}

func (s *shelf) WriteFile(name string, data []byte) error {
	return s.change(func() { s.files[name] = bytes.Clone(data) })
}

func (s *shelf) Remove(name string) error { return s.change(func() { delete(s.files, name) }) }

var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func found(s *shelf, network string) (*Member, *keys.Authority, error) {
	m, a, _, err := Vault{s}.Found(network, "first", keys.DefaultIPRange(), now)
	return m, a, err
}

func TestFound(t *testing.T) {
	s := newShelf()
	m, a, err := found(s, "lab")
	if err != nil {
		t.Fatal(err)
	}
	got, log, err := Vault{s}.Load()
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	if got.Identity.ID() != m.Identity.ID() || got.WG != m.WG || !bytes.Equal(got.Own.DER, m.Own.DER) || log.Head != a.Head {
		t.Error("what was loaded is not what was written")
	}
	if got.Root == nil || got.CA == nil || len(a.Signers) != 1 || got.CA.Key() != a.Signers[0].Key {
		t.Error("the founder's root key or signer is missing")
	}
	if err := a.Verify(m.Own, now); err != nil || m.Own.Name != "first" || len(m.Own.Addrs) != 2 {
		t.Errorf("certificate of %q with addresses %v: %v", m.Own.Name, m.Own.Addrs, err)
	}
	if !a.IPRange.Contains(m.Own.IPv4()) || m.Own.ULA() != m.Identity.ID().Addr(a.Network) {
		t.Errorf("addresses %v are not of the network", m.Own.Addrs)
	}
	if _, err := (Vault{s}).MakeKeys(); err == nil {
		t.Error("MakeKeys of a member succeeded")
	}
}

// TestFoundWithoutIPv4: a range in which every address is taken by others gives a member with IPv6 only.
func TestFoundWithoutIPv4(t *testing.T) {
	m, _, _, err := Vault{newShelf()}.Found("lab", "first", netip.MustParsePrefix("100.115.92.0/24"), now)
	if err != nil || len(m.Own.Addrs) != 1 {
		t.Errorf("Found: %v, %v", m, err)
	}
}

// TestNames: the folder must know which files are keys, or it would not protect and wipe them.
func TestNames(t *testing.T) {
	got := []string{identityFile, wireGuardFile, rootFile, signerFile, certificateFile, authorityFile}
	want := []string{
		state.IdentityFile, state.WireGuardFile, state.RootFile, state.SignerFile, state.CertificateFile, state.AuthorityFile,
	}
	if !slices.Equal(got, want) {
		t.Errorf("files %q here, %q in package state", got, want)
	}
}

func TestNoMembership(t *testing.T) {
	if _, _, err := (Vault{newShelf()}).Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of nothing: %v, want fs.ErrNotExist", err)
	}
}

// TestKilled: whenever an agent is killed while it founds a network, it is afterwards a member or not, and a second try
// succeeds with the same keys.
func TestKilled(t *testing.T) {
	for _, done := range []bool{false, true} {
		finished := false
		for step := 0; !finished; step++ {
			s := newShelf()
			s.left, s.done = step, done
			_, _, err := found(s, "lab")
			finished = !s.dead
			if s.dead && !errors.Is(err, errKilled) {
				t.Errorf("killed at change %d: Found = %v", step, err)
			}
			s.left, s.dead = -1, false
			_, _, err = Vault{s}.Load()
			switch {
			case err == nil:
				continue // it is a member
			case !errors.Is(err, fs.ErrNotExist):
				t.Errorf("killed at change %d (done: %v): Load = %v, want a member or none", step, done, err)
			}
			before := maps.Clone(s.files)
			// It joins another network instead.
			m, err := Vault{s}.MakeKeys()
			if err != nil {
				t.Fatalf("killed at change %d: MakeKeys = %v", step, err)
			}
			for _, name := range []string{state.IdentityFile, state.WireGuardFile} {
				if old := before[name]; old != nil && !bytes.Equal(old, s.files[name]) {
					t.Errorf("killed at change %d: %s was replaced", step, name)
				}
			}
			own, authority := joined(t, m)
			if err := (Vault{s}).Establish(own, authority); err != nil {
				t.Fatal(err)
			}
			got, _, err := Vault{s}.Load()
			if err != nil || got.CA != nil || got.Root != nil {
				t.Errorf("killed at change %d, then joined: %+v, %v; want a member that signs nothing", step, got, err)
			}
		}
	}
}

// joined is what another network's signer gives to m.
func joined(t *testing.T, m *Member) (*keys.Certificate, *keys.Authority) {
	t.Helper()
	founder, authority, err := found(newShelf(), "other")
	if err != nil {
		t.Fatal(err)
	}
	der, err := founder.CA.Issue(keys.Profile{
		Name: "second", WG: m.WG.Public(), Since: now, NotBefore: now, NotAfter: now.Add(time.Hour),
	}, m.Identity.Public())
	if err != nil {
		t.Fatal(err)
	}
	own, err := keys.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return own, authority
}

// TestMakeKeysIsRepeatable: a host that is killed while it makes its keys, or before it joined, comes back as itself.
func TestMakeKeysIsRepeatable(t *testing.T) {
	s := newShelf()
	for step := range 6 {
		s.left, s.done, s.dead = step, step%2 == 1, false
		_, _ = Vault{s}.MakeKeys()
	}
	s.left, s.dead = -1, false
	first, err := Vault{s}.MakeKeys()
	if err != nil {
		t.Fatal(err)
	}
	second, err := Vault{s}.MakeKeys()
	if err != nil || first.Identity.ID() != second.Identity.ID() || first.WG != second.WG {
		t.Errorf("MakeKeys gave %s, then %s, %v", first.Identity.ID(), second.Identity.ID(), err)
	}
}

// TestDamage: a file that is missing, cut or of another host makes the membership unreadable, by name; it is never taken
// for none, and no key is replaced.
func TestDamage(t *testing.T) {
	whole, other := newShelf(), newShelf()
	for _, s := range []*shelf{whole, other} {
		if _, _, err := found(s, "lab"); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{
		state.IdentityFile, state.WireGuardFile, state.CertificateFile, state.AuthorityFile, state.SignerFile, state.RootFile,
	}
	for _, name := range names {
		for damage, content := range map[string][]byte{
			"missing": nil, "empty": {}, "cut": whole.files[name][:len(whole.files[name])/2],
			"another host's": other.files[name], "garbage": []byte("hello\n"),
		} {
			s := newShelf()
			s.files = maps.Clone(whole.files)
			if s.files[name] = content; content == nil {
				delete(s.files, name)
			}
			_, _, err := Vault{s}.Load()
			optional := name == state.SignerFile || name == state.RootFile
			switch {
			case damage == "missing" && name == state.CertificateFile:
				if !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s %s: Load = %v, want fs.ErrNotExist", name, damage, err)
				}
			case damage == "missing" && optional, damage == "another host's" && name == state.RootFile:
				if err != nil {
					t.Errorf("%s %s: Load = %v", name, damage, err)
				}
			case err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), name):
				t.Errorf("%s %s: Load = %v, want an error that names the file", name, damage, err)
			}
			if name != state.IdentityFile && name != state.WireGuardFile || damage == "missing" || damage == "another host's" {
				continue
			}
			delete(s.files, state.CertificateFile)
			if _, err := (Vault{s}).MakeKeys(); err == nil || !bytes.Equal(s.files[name], content) {
				t.Errorf("%s %s: MakeKeys = %v, want that the file is left alone", name, damage, err)
			}
		}
	}
}

// TestOnDisk is the same on a real folder.
func TestOnDisk(t *testing.T) {
	dir := t.TempDir()
	f, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, a, _, err := Vault{f}.Found("lab", "first", keys.DefaultIPRange(), now)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := a.SetPolicy(keys.Policy{StrictExpiry: true}, m.Root)
	if err != nil {
		t.Fatal(err)
	}
	if a, err = a.Append(entry); err != nil {
		t.Fatal(err)
	}
	if err := (Vault{f}).WriteLog(a); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if f, err = state.Open(dir); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, log, err := Vault{f}.Load()
	if err != nil || got.Identity.ID() != m.Identity.ID() || log.Head != a.Head || !log.Policy.StrictExpiry {
		t.Errorf("Load after a restart: %v", err)
	}
}
