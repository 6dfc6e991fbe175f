package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"warren/keys/canon"
	"warren/keys/secret"
)

// Limits of an authority log.
const (
	MaxEntry   = canon.MaxEntry // bytes
	MaxEntries = 4096
	MaxRoots   = 16
	MaxSigners = 64
)

var (
	// ErrChain is wrapped by errors about an entry that does not follow the head: it is an old one, one of a fork, or
	// one before it is missing.
	ErrChain = errors.New("the entry does not follow the head of the log")
	// ErrThreshold is wrapped by errors about an entry that is not signed by exactly as many roots as it must be.
	ErrThreshold = errors.New("not signed by as many roots as needed")
	// ErrEntry is wrapped by errors about an entry that makes no sense in its log.
	ErrEntry = errors.New("the entry is not allowed here")
	// ErrEntryVersion is wrapped by errors about an entry of a later version of the program.
	ErrEntryVersion = canon.ErrEntryVersion
)

// Policy is what the roots decided for all members. The zero value is the default.
type Policy struct {
	// StrictExpiry ends memberships, not only introductions, when certificates expire.
	StrictExpiry bool
	// Lifetime is that of new certificates, in seconds; zero: 90 days.
	Lifetime time.Duration
	// FailClosedAfter is how long without news of the network no new peer is accepted, in seconds; zero: never.
	FailClosedAfter time.Duration
}

// DefaultLifetime is that of certificates where the policy names none.
const DefaultLifetime = 90 * 24 * time.Hour

// Authority is the state at the head of a network's log. Nobody changes it: Append makes a new one.
type Authority struct {
	// Network is the SHA-256 of the genesis.
	Network NetworkID
	// Name, IPRange and Created are the founder's choice.
	Name    string
	IPRange netip.Prefix
	Created time.Time
	// Roots are the keys that may sign entries, Threshold of them together.
	Roots     []ed25519.PublicKey
	Threshold int
	// Signers are those who may issue certificates now, in the order in which they were added.
	Signers []Signer
	// Policy is the newest.
	Policy Policy
	// Head is the hash of the newest entry.
	Head [32]byte
	// Entries are all, the genesis first.
	Entries [][]byte

	gone []Signer                           // removed
	keep map[[32]byte]map[[32]byte]struct{} // by signer: hashes of what outlives it
}

// EntryHash returns the hash of an entry, by which the next one names it; of the genesis it is the network id.
func EntryHash(b []byte) [32]byte { return canon.EntryHash(b) }

// PeekEntry returns where in its log an entry claims to stand, before any signature is checked: its index, 0 for the
// genesis, and the hash of the entry before.
func PeekEntry(b []byte) (index uint64, prev [32]byte, err error) {
	e, err := canon.ParseEntry(b)
	if err != nil {
		return 0, prev, fmt.Errorf("keys: %w", err)
	}
	return e.Index, e.Prev, nil
}

// Replay verifies a log from its genesis on and returns the state at its head. Whether it is the log of the wanted network
// is for the caller to see in Network. Errors are as of Append.
func Replay(entries [][]byte) (*Authority, error) {
	if len(entries) == 0 {
		return nil, fmt.Errorf("keys: replaying a log: it is empty: %w", ErrEntry)
	}
	a := &Authority{keep: map[[32]byte]map[[32]byte]struct{}{}}
	for i, b := range entries {
		if err := (ledger{a}).extend(b); err != nil {
			return nil, fmt.Errorf("keys: replaying entry %d: %w", i, err)
		}
	}
	return a, nil
}

// Append verifies one more entry and returns the state after it; a stays as it is. The error wraps ErrChain,
// ErrThreshold, ErrEntryVersion or ErrEntry, and wraps canon.ErrForm or canon.ErrSize if the form is bad already.
func (a *Authority) Append(b []byte) (*Authority, error) {
	next := a.clone()
	if err := (ledger{next}).extend(b); err != nil {
		return nil, fmt.Errorf("keys: appending to the log: %w", err)
	}
	return next, nil
}

func (a *Authority) clone() *Authority {
	next := *a
	next.Roots, next.Signers, next.gone = slices.Clone(a.Roots), slices.Clone(a.Signers), slices.Clone(a.gone)
	next.Entries = slices.Clone(a.Entries)
	next.keep = make(map[[32]byte]map[[32]byte]struct{}, len(a.keep))
	for k, v := range a.keep {
		next.keep[k] = maps.Clone(v)
	}
	return &next
}

// Keep names what outlives a removed signer, by the SHA-256 of certificates in DER and of revocations.
type Keep struct {
	Certificates, Revocations [][32]byte
	// More says that another removal of the same signer follows with a further part of the lists.
	More bool
}

// entry makes an entry that follows the head, signed by roots. It may have too few signatures for Append, see Cosign.
func (a *Authority) entry(body canon.Body, roots []*Root) ([]byte, error) {
	e, err := canon.NewEntry(canon.Head{Index: uint64(len(a.Entries)), Prev: a.Head}, body)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if err := (ledger{a.clone()}).apply(body); err != nil {
		return nil, fmt.Errorf("keys: making an entry: %w", err)
	}
	for _, r := range roots {
		if err := e.Sign(r.Key(), secret.Hash(r.Public()), a.bound()); err != nil {
			return nil, fmt.Errorf("keys: making an entry: %w", err)
		}
	}
	return e.Marshal()
}

// AddSigner returns the entry that makes the owner of a signer's certificate (CA.Certificate) a signer, to be given to
// Append; so do the methods below. roots must be as many as the threshold, or the entry must be completed by Cosign.
func (a *Authority) AddSigner(certificate []byte, roots ...*Root) ([]byte, error) {
	return a.entry(&canon.SignerAdd{Certificate: certificate}, roots)
}

// RemoveSigner returns the entry that removes the signer with this SPKI hash and all it signed, but for what is kept.
func (a *Authority) RemoveSigner(key [32]byte, keep Keep, roots ...*Root) ([]byte, error) {
	sorted := func(list [][32]byte) (out [][]byte) {
		list = slices.SortedFunc(slices.Values(list), func(x, y [32]byte) int { return bytes.Compare(x[:], y[:]) })
		for _, h := range slices.Compact(list) {
			out = append(out, bytes.Clone(h[:]))
		}
		return out
	}
	return a.entry(&canon.SignerRemove{
		Signer: key[:], Certificates: sorted(keep.Certificates), Revocations: sorted(keep.Revocations), More: keep.More,
	}, roots)
}

// AddRoot returns the entry that adds a root, which signs too.
func (a *Authority) AddRoot(added *Root, roots ...*Root) ([]byte, error) {
	return a.entry(&canon.RootAdd{Key: added.Public()}, append(slices.Clone(roots), added))
}

// RemoveRoot returns the entry that removes a root.
func (a *Authority) RemoveRoot(root ed25519.PublicKey, roots ...*Root) ([]byte, error) {
	return a.entry(&canon.RootRemove{Key: root}, roots)
}

// SetThreshold returns the entry after which k roots must sign.
func (a *Authority) SetThreshold(k int, roots ...*Root) ([]byte, error) {
	return a.entry(&canon.Threshold{K: uint64(max(k, 0))}, roots)
}

// SetPolicy returns the entry that sets the policy.
func (a *Authority) SetPolicy(p Policy, roots ...*Root) ([]byte, error) {
	return a.entry(&canon.Policy{
		StrictExpiry: p.StrictExpiry, Lifetime: uint64(max(p.Lifetime, 0) / time.Second),
		FailClosedAfter: uint64(max(p.FailClosedAfter, 0) / time.Second),
	}, roots)
}

// Cosign adds root's signature to an entry that follows the head and has too few. The caller should know what it says.
func (a *Authority) Cosign(b []byte, root *Root) ([]byte, error) {
	e, err := canon.ParseEntry(b)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if e.Index != uint64(len(a.Entries)) || e.Prev != a.Head {
		return nil, fmt.Errorf("keys: signing an entry: %w", ErrChain)
	}
	if err := e.Sign(root.Key(), secret.Hash(root.Public()), a.bound()); err != nil {
		return nil, fmt.Errorf("keys: signing an entry: %w", err)
	}
	return e.Marshal()
}

// Signer returns the signer at the head whose key has this SPKI hash.
func (a *Authority) Signer(key [32]byte) (Signer, bool) { return signerIn(a.Signers, key) }

func signerIn(list []Signer, key [32]byte) (Signer, bool) {
	i := slices.IndexFunc(list, func(s Signer) bool { return s.Key == key })
	if i < 0 {
		return Signer{}, false
	}
	return list[i], true
}

// IsSigner reports whether a member is a signer at the head.
func (a *Authority) IsSigner(node NodeID) bool {
	return slices.ContainsFunc(a.Signers, func(s Signer) bool { return s.Node == node })
}

// keptBy returns the removed signer with this SPKI hash if the entry that removed it keeps b.
func (a *Authority) keptBy(key [32]byte, b []byte) (Signer, bool) {
	s, ok := signerIn(a.gone, key)
	if !ok {
		return s, false
	}
	_, kept := a.keep[key][sha256.Sum256(b)]
	return s, kept
}

// Prefixes returns the overlay's prefixes: the ULA, then the IPv4 range.
func (a *Authority) Prefixes() []netip.Prefix { return []netip.Prefix{a.Network.ULA(), a.IPRange} }

// Suffix returns the DNS suffix of the members' names, such as home.internal.
func (a *Authority) Suffix() string { return a.Name + topDomain }

// SignerPool returns the certificates of the signers at the head, for TLS.
func (a *Authority) SignerPool() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, s := range a.Signers {
		pool.AddCert(s.Certificate)
	}
	return pool
}
