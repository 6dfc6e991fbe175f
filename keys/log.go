package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"warren/keys/canon"
	"warren/keys/secret"
)

// Founding is what a founder chooses.
type Founding struct {
	// Name is the network's, a ValidName.
	Name string
	// IPRange is the IPv4 range, a ValidIPRange; the zero Prefix is DefaultIPRange.
	IPRange netip.Prefix
	// Created is the founder's time, in seconds.
	Created time.Time
}

// Found returns the genesis of a new network, the first entry of its log, and the network's id. Its roots are root, which
// signs, and recovery; one of them suffices. The error wraps ErrEntry if spec is not as documented.
func Found(spec Founding, root *Root, recovery ed25519.PublicKey) (genesis []byte, id NetworkID, err error) {
	if !spec.IPRange.IsValid() {
		spec.IPRange = DefaultIPRange()
	}
	var nonce [nonceBytes]byte
	if _, err = rand.Read(nonce[:]); err == nil {
		genesis, err = spec.genesis(root, recovery, nonce)
	}
	if err != nil {
		return nil, id, fmt.Errorf("keys: founding %.70q: %w", spec.Name, err)
	}
	a, err := Replay([][]byte{genesis})
	if err != nil {
		return nil, id, fmt.Errorf("keys: founding %.70q: %w", spec.Name, err)
	}
	return genesis, a.Network, nil
}

func (f Founding) genesis(root *Root, recovery ed25519.PublicKey, nonce [nonceBytes]byte) ([]byte, error) {
	e, err := canon.NewEntry(canon.Head{}, &canon.Genesis{
		Name: f.Name, Range: canon.Prefix{Addr: f.IPRange.Addr().AsSlice(), Bits: uint8(f.IPRange.Bits())},
		Roots: [][]byte{root.Public(), recovery}, Threshold: 1, Created: seconds(f.Created), Nonce: nonce[:],
	})
	if err != nil {
		return nil, err
	}
	if err := e.Sign(root.Key(), secret.Hash(root.Public()), nil); err != nil {
		return nil, err
	}
	return e.Marshal()
}

const nonceBytes = 16

// ledger is an Authority in the making, which may still change.
type ledger struct{ *Authority }

// extend verifies b and changes a, which is undefined after an error.
func (a ledger) extend(b []byte) error {
	e, err := canon.ParseEntry(b)
	if err != nil {
		return err
	}
	if e.Index != uint64(len(a.Entries)) || e.Prev != a.Head {
		return ErrChain
	}
	if len(a.Entries) == MaxEntries {
		return fmt.Errorf("more than %d entries: %w", MaxEntries, ErrEntry)
	}
	if g, ok := e.Body.(*canon.Genesis); ok {
		if err := a.found(g); err != nil {
			return err
		}
	}
	if err := a.signedByRoots(e); err != nil {
		return err
	}
	if err := a.apply(e.Body); err != nil {
		return err
	}
	a.Head = canon.EntryHash(b)
	a.Entries = append(a.Entries, bytes.Clone(b))
	if len(a.Entries) == 1 {
		a.Network = NetworkID(a.Head)
	}
	return nil
}

func (a ledger) found(g *canon.Genesis) error {
	addr, ok := netip.AddrFromSlice(g.Range.Addr)
	a.Name, a.IPRange, a.Created = g.Name, netip.PrefixFrom(addr, int(g.Range.Bits)), instant(g.Created)
	if !ok || !ValidName(g.Name) || !ValidIPRange(a.IPRange) || g.Created > maxSeconds || len(g.Nonce) != nonceBytes {
		return fmt.Errorf("genesis: name, range or nonce: %w", ErrEntry)
	}
	for _, key := range g.Roots {
		if err := a.addRoot(key); err != nil {
			return err
		}
	}
	return a.setThreshold(g.Threshold)
}

// signedByRoots checks that exactly Threshold roots signed, and the new root if one is added.
func (a ledger) signedByRoots(e *canon.Entry) error {
	known := map[[32]byte]ed25519.PublicKey{}
	for _, r := range a.Roots {
		known[secret.Hash(r)] = r
	}
	need := a.Threshold
	if add, ok := e.Body.(*canon.RootAdd); ok && secret.Valid(add.Key) {
		added := secret.Hash(add.Key)
		if !slices.ContainsFunc(e.Joint.Signatures, func(s canon.Signature) bool { return s.Key == added }) {
			return fmt.Errorf("the new root did not sign: %w", ErrThreshold)
		}
		known[added] = add.Key
		need++
	}
	if len(e.Joint.Signatures) != need {
		return fmt.Errorf("%d signatures, not %d: %w", len(e.Joint.Signatures), need, ErrThreshold)
	}
	find := func(key [32]byte) ed25519.PublicKey { return known[key] }
	if err := e.Joint.Verify(find, a.bound()); err != nil {
		return fmt.Errorf("%w: %w", err, ErrThreshold)
	}
	return nil
}

// bound is what signatures of the next entry are bound to: the network, once it has an id.
func (a *Authority) bound() []byte {
	if len(a.Entries) == 0 {
		return nil
	}
	return a.Network[:]
}

// apply does what a verified entry says.
func (a ledger) apply(body canon.Body) error {
	switch b := body.(type) {
	case *canon.Genesis: // found did it
	case *canon.SignerAdd:
		return a.addSigner(b.Certificate)
	case *canon.SignerRemove:
		return a.removeSigner(b)
	case *canon.RootAdd:
		return a.addRoot(b.Key)
	case *canon.RootRemove:
		i := slices.IndexFunc(a.Roots, func(r ed25519.PublicKey) bool { return bytes.Equal(r, b.Key) })
		if i < 0 || len(a.Roots)-1 < a.Threshold {
			return fmt.Errorf("removing a root: unknown, or too few would be left: %w", ErrEntry)
		}
		a.Roots = slices.Delete(a.Roots, i, i+1)
	case *canon.Threshold:
		return a.setThreshold(b.K)
	case *canon.Policy:
		if b.Lifetime > maxPolicy || b.FailClosedAfter > maxPolicy {
			return fmt.Errorf("policy: longer than %d s: %w", maxPolicy, ErrEntry)
		}
		a.Policy = Policy{
			StrictExpiry: b.StrictExpiry, Lifetime: time.Duration(b.Lifetime) * time.Second,
			FailClosedAfter: time.Duration(b.FailClosedAfter) * time.Second,
		}
	}
	return nil
}

const maxPolicy = 100 * 365 * 24 * 60 * 60 // seconds

func (a ledger) addRoot(key []byte) error {
	pub := ed25519.PublicKey(key)
	if !secret.Valid(pub) || len(a.Roots) == MaxRoots || slices.ContainsFunc(a.Roots, func(r ed25519.PublicKey) bool { return r.Equal(pub) }) {
		return fmt.Errorf("adding a root: bad, known, or one too many: %w", ErrEntry)
	}
	a.Roots = append(a.Roots, pub)
	return nil
}

func (a ledger) setThreshold(k uint64) error {
	if k < 1 || k > uint64(len(a.Roots)) {
		return fmt.Errorf("threshold %d of %d: %w", k, len(a.Roots), ErrEntry)
	}
	a.Threshold = int(k)
	return nil
}

func (a ledger) addSigner(certificate []byte) error {
	s, err := parseSigner(certificate)
	if err != nil {
		return fmt.Errorf("adding a signer: %w: %w", err, ErrEntry)
	}
	same := func(o Signer) bool { return o.Key == s.Key }
	if s.Network != a.Network || s.Domain != a.Suffix() || !slices.Equal(s.Prefixes, a.Prefixes()) {
		return fmt.Errorf("adding a signer: of another network: %w", ErrEntry)
	}
	if len(a.Signers) == MaxSigners || slices.ContainsFunc(a.Signers, same) || slices.ContainsFunc(a.gone, same) {
		return fmt.Errorf("adding a signer: known, removed, or one too many: %w", ErrEntry)
	}
	a.Signers = append(a.Signers, *s)
	return nil
}

func (a ledger) removeSigner(b *canon.SignerRemove) error {
	i := slices.IndexFunc(a.Signers, func(s Signer) bool { return bytes.Equal(s.Key[:], b.Signer) })
	if i < 0 {
		return fmt.Errorf("removing a signer: unknown: %w", ErrEntry)
	}
	s := a.Signers[i]
	if a.keep[s.Key] == nil {
		a.keep[s.Key] = map[[32]byte]struct{}{}
	}
	for _, list := range [][][]byte{b.Certificates, b.Revocations} {
		hashes, err := canon.Hashes(list)
		if err != nil {
			return fmt.Errorf("removing a signer: %w: %w", err, ErrEntry)
		}
		for _, h := range hashes {
			a.keep[s.Key][h] = struct{}{}
		}
	}
	if !b.More {
		a.Signers = slices.Delete(a.Signers, i, i+1)
		a.gone = append(a.gone, s)
	}
	return nil
}
