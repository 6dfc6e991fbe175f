package canon

import (
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// MaxEntry is the largest entry in bytes.
const MaxEntry = 4096

const (
	kindLog       = "warren/log"
	entryVersion  = 1
	maxSignatures = 17 // all roots and a new one
)

// ErrEntryVersion is wrapped by errors about entries of a later version of the program.
var ErrEntryVersion = errors.New("an entry of a later version")

// EntryKind says what an entry does.
type EntryKind uint8

// The kinds of entries.
const (
	KindGenesis      EntryKind = 1
	KindSignerAdd    EntryKind = 2
	KindSignerRemove EntryKind = 3
	KindRootAdd      EntryKind = 4
	KindRootRemove   EntryKind = 5
	KindThreshold    EntryKind = 6
	KindPolicy       EntryKind = 7
)

// Head is where an entry stands in its log.
type Head struct {
	Index uint64
	// Prev is the hash of the entry before; zero for the genesis.
	Prev [32]byte
}

// Body is what an entry says: a pointer to one of the types below.
type Body interface{ kind() EntryKind }

// The bodies of entries; the package doc has their fields.
type (
	// Genesis is the body of the first entry.
	Genesis struct {
		Name      string   `cbor:"1,keyasint"`
		Range     Prefix   `cbor:"2,keyasint"`
		Roots     [][]byte `cbor:"3,keyasint"`
		Threshold uint64   `cbor:"4,keyasint"`
		Created   uint64   `cbor:"5,keyasint"`
		Nonce     []byte   `cbor:"6,keyasint"`
	}
	// SignerAdd makes the owner of a signer's certificate a signer.
	SignerAdd struct {
		Certificate []byte `cbor:"1,keyasint"`
	}
	// SignerRemove removes the signer with this SPKI hash, but for what it signed and the lists name.
	SignerRemove struct {
		Signer       []byte   `cbor:"1,keyasint"`
		Certificates [][]byte `cbor:"2,keyasint,omitempty"`
		Revocations  [][]byte `cbor:"3,keyasint,omitempty"`
		More         bool     `cbor:"4,keyasint,omitempty"`
	}
	// RootAdd adds a root key.
	RootAdd struct {
		Key []byte `cbor:"1,keyasint"`
	}
	// RootRemove removes a root key.
	RootRemove struct {
		Key []byte `cbor:"1,keyasint"`
	}
	// Threshold says how many roots must sign from now on.
	Threshold struct {
		K uint64 `cbor:"1,keyasint"`
	}
	// Policy replaces the policy; times are in seconds.
	Policy struct {
		StrictExpiry    bool   `cbor:"1,keyasint,omitempty"`
		Lifetime        uint64 `cbor:"2,keyasint,omitempty"`
		FailClosedAfter uint64 `cbor:"3,keyasint,omitempty"`
	}
)

// Prefix is an address prefix.
type Prefix struct {
	_    struct{} `cbor:",toarray"`
	Addr []byte
	Bits uint8
}

func (*Genesis) kind() EntryKind      { return KindGenesis }
func (*SignerAdd) kind() EntryKind    { return KindSignerAdd }
func (*SignerRemove) kind() EntryKind { return KindSignerRemove }
func (*RootAdd) kind() EntryKind      { return KindRootAdd }
func (*RootRemove) kind() EntryKind   { return KindRootRemove }
func (*Threshold) kind() EntryKind    { return KindThreshold }
func (*Policy) kind() EntryKind       { return KindPolicy }

func bodyOf(k EntryKind) Body {
	switch k {
	case KindGenesis:
		return &Genesis{}
	case KindSignerAdd:
		return &SignerAdd{}
	case KindSignerRemove:
		return &SignerRemove{}
	case KindRootAdd:
		return &RootAdd{}
	case KindRootRemove:
		return &RootRemove{}
	case KindThreshold:
		return &Threshold{}
	case KindPolicy:
		return &Policy{}
	}
	return nil
}

type wireEntry struct {
	Version uint64          `cbor:"1,keyasint"`
	Kind    EntryKind       `cbor:"2,keyasint"`
	Index   uint64          `cbor:"3,keyasint"`
	Prev    []byte          `cbor:"4,keyasint,omitempty"`
	Body    cbor.RawMessage `cbor:"5,keyasint"`
}

// Entry is one entry of a log, parsed or in the making.
type Entry struct {
	Head
	Body Body
	// Joint has the payload and the signatures.
	Joint *Joint
}

// EntryHash returns the hash of an entry's bytes, by which the next names it; of the genesis it is the network id.
func EntryHash(entry []byte) [32]byte { return sha256.Sum256(entry) }

// NewEntry returns an entry without signatures.
func NewEntry(h Head, body Body) (*Entry, error) {
	b, err := Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("canon: writing an entry: %w", err)
	}
	w := wireEntry{Version: entryVersion, Kind: body.kind(), Index: h.Index, Body: b}
	if h.Index > 0 {
		w.Prev = h.Prev[:]
	}
	payload, err := Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("canon: writing an entry: %w", err)
	}
	return &Entry{Head: h, Body: body, Joint: &Joint{Kind: kindLog, Payload: payload}}, nil
}

// Sign adds the signature of a root, named by the SHA-256 of its SPKI. bound is the network id, or nil for the genesis.
func (e *Entry) Sign(root crypto.Signer, key [32]byte, bound []byte) error {
	return e.Joint.Add(root, key, bound)
}

// Marshal returns the bytes of e, which needs at least one signature.
func (e *Entry) Marshal() ([]byte, error) {
	b, err := e.Joint.Marshal()
	if err != nil {
		return nil, fmt.Errorf("canon: writing an entry: %w", err)
	}
	if len(b) > MaxEntry {
		return nil, fmt.Errorf("canon: writing an entry: %d bytes, at most %d: %w", len(b), MaxEntry, ErrSize)
	}
	return b, nil
}

// ParseEntry reads an entry; no signature is checked, nor whether it makes sense in its log. The error wraps ErrForm, or
// ErrEntryVersion for one of a later version.
func ParseEntry(b []byte) (*Entry, error) {
	j, err := ParseJoint(b, kindLog, MaxEntry, maxSignatures)
	if err != nil {
		return nil, fmt.Errorf("canon: reading an entry: %w", err)
	}
	var first struct {
		Version uint64 `cbor:"1,keyasint"`
	}
	if err := cbor.Unmarshal(j.Payload, &first); err == nil && first.Version > entryVersion {
		return nil, fmt.Errorf("canon: reading an entry: version %d: %w", first.Version, ErrEntryVersion)
	}
	var w wireEntry
	if err := Unmarshal(j.Payload, MaxEntry, &w); err != nil {
		return nil, fmt.Errorf("canon: reading an entry: %w", err)
	}
	e := &Entry{Head: Head{Index: w.Index}, Body: bodyOf(w.Kind), Joint: j}
	genesis := w.Kind == KindGenesis
	if w.Version != entryVersion || e.Body == nil || genesis != (w.Index == 0) || genesis != (w.Prev == nil) {
		return nil, fmt.Errorf("canon: reading an entry: kind or place: %w", ErrForm)
	}
	if !genesis && len(w.Prev) != len(e.Prev) {
		return nil, fmt.Errorf("canon: reading an entry: place: %w", ErrForm)
	}
	copy(e.Prev[:], w.Prev)
	if err := Unmarshal(w.Body, MaxEntry, e.Body); err != nil {
		return nil, fmt.Errorf("canon: reading an entry: %w", err)
	}
	return e, nil
}

// Hashes reads a list of kept objects: hashes in ascending order.
func Hashes(list [][]byte) ([][32]byte, error) {
	out := make([][32]byte, 0, len(list))
	for i, h := range list {
		if len(h) != sha256.Size || i > 0 && slices.Compare(list[i-1], h) >= 0 {
			return nil, fmt.Errorf("canon: reading an entry: a list of hashes: %w", ErrForm)
		}
		out = append(out, [32]byte(h))
	}
	return out, nil
}
