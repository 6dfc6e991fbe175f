// Package entry is the byte form of the authority log: what an entry says and who signed it. It knows nothing of the
// state that entries make; package keys replays them.
//
// An entry is a canon.Joint (COSE_Sign) of the kind "warren/log" over this deterministic CBOR, at most 4096 bytes in
// all:
//
//	{1: version (1), 2: kind, 3: index, ?4: SHA-256 of the entry before (all its bytes), 5: body}
//
//	kind 1  genesis        {1: name, 2: [IPv4 address, bits], 3: [+ root key], 4: threshold, 5: created, 6: nonce (16)}
//	kind 2  signer added   {1: certificate of the signer}
//	kind 3  signer removed {1: SHA-256 of its SPKI, ?2: [kept certificates], ?3: [kept revocations], ?4: more}
//	kind 4  root added     {1: root key}
//	kind 5  root removed   {1: root key}
//	kind 6  threshold      {1: k}
//	kind 7  policy         {?1: strict expiry, ?2: certificate lifetime, ?3: fail closed after}
//
// Index counts from 0, the genesis, which alone has no 4 and is signed without external data; all others are bound to
// the network id, the SHA-256 of the genesis. Kept objects are named by the SHA-256 of their bytes, ascending. "more"
// says that another entry of kind 3 for the same signer follows with a further part of the lists; the signer goes with
// the one that does not say so. Times are seconds since 1970, durations seconds. Roots are named in signatures by the
// SHA-256 of their SPKI. There are exactly as many signatures as the threshold before the entry asks for (of the
// genesis: its own threshold), and for kind 4 one more, by the new root. So nobody but roots can make a second form of
// an entry, not even by leaving a signature out.
package entry

import (
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"warren/keys/canon"
)

// Limits of an entry; what is beyond is refused.
const (
	Limit         = 4096 // bytes
	MaxSignatures = 17   // all roots and a new one
	version       = 1
)

const joint = "warren/log"

var (
	// ErrForm is wrapped by errors about bytes that are no entry.
	ErrForm = errors.New("not an entry of an authority log")
	// ErrVersion is wrapped by errors about entries of a later version of the program.
	ErrVersion = errors.New("an entry of a later version")
)

// Kind says what an entry does.
type Kind uint8

// The kinds of entries.
const (
	KindGenesis      Kind = 1
	KindSignerAdd    Kind = 2
	KindSignerRemove Kind = 3
	KindRootAdd      Kind = 4
	KindRootRemove   Kind = 5
	KindThreshold    Kind = 6
	KindPolicy       Kind = 7
)

// Head is where an entry stands in its log.
type Head struct {
	Index uint64
	// Prev is the hash of the entry before; zero for the genesis.
	Prev [32]byte
}

// Body is what an entry says: a pointer to one of the types below.
type Body interface{ kind() Kind }

// The bodies of entries; see the package doc.
type (
	Genesis struct {
		Name      string   `cbor:"1,keyasint"`
		Range     Prefix   `cbor:"2,keyasint"`
		Roots     [][]byte `cbor:"3,keyasint"`
		Threshold uint64   `cbor:"4,keyasint"`
		Created   uint64   `cbor:"5,keyasint"`
		Nonce     []byte   `cbor:"6,keyasint"`
	}
	SignerAdd struct {
		Certificate []byte `cbor:"1,keyasint"`
	}
	SignerRemove struct {
		Signer       []byte   `cbor:"1,keyasint"`
		Certificates [][]byte `cbor:"2,keyasint,omitempty"`
		Revocations  [][]byte `cbor:"3,keyasint,omitempty"`
		More         bool     `cbor:"4,keyasint,omitempty"`
	}
	RootAdd struct {
		Key []byte `cbor:"1,keyasint"`
	}
	RootRemove struct {
		Key []byte `cbor:"1,keyasint"`
	}
	Threshold struct {
		K uint64 `cbor:"1,keyasint"`
	}
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

func (*Genesis) kind() Kind      { return KindGenesis }
func (*SignerAdd) kind() Kind    { return KindSignerAdd }
func (*SignerRemove) kind() Kind { return KindSignerRemove }
func (*RootAdd) kind() Kind      { return KindRootAdd }
func (*RootRemove) kind() Kind   { return KindRootRemove }
func (*Threshold) kind() Kind    { return KindThreshold }
func (*Policy) kind() Kind       { return KindPolicy }

func bodyOf(k Kind) Body {
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

type wire struct {
	Version uint64          `cbor:"1,keyasint"`
	Kind    Kind            `cbor:"2,keyasint"`
	Index   uint64          `cbor:"3,keyasint"`
	Prev    []byte          `cbor:"4,keyasint,omitempty"`
	Body    cbor.RawMessage `cbor:"5,keyasint"`
}

// Entry is one entry of a log, parsed or in the making.
type Entry struct {
	Head
	Body Body
	// Joint has the payload and the signatures.
	Joint *canon.Joint
}

// Hash returns the hash of an entry's bytes, by which the next names it; of the genesis it is the network id.
func Hash(entry []byte) [32]byte { return sha256.Sum256(entry) }

// New returns an entry without signatures.
func New(h Head, body Body) (*Entry, error) {
	b, err := canon.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("entry: writing: %w", err)
	}
	w := wire{Version: version, Kind: body.kind(), Index: h.Index, Body: b}
	if h.Index > 0 {
		w.Prev = h.Prev[:]
	}
	payload, err := canon.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("entry: writing: %w", err)
	}
	return &Entry{Head: h, Body: body, Joint: &canon.Joint{Kind: joint, Payload: payload}}, nil
}

// Sign adds the signature of a root, named by the SHA-256 of its SPKI. bound is the network id, or nil for the genesis.
func (e *Entry) Sign(root crypto.Signer, key [32]byte, bound []byte) error {
	return e.Joint.Add(root, key, bound)
}

// Marshal returns the bytes of e, which needs at least one signature.
func (e *Entry) Marshal() ([]byte, error) {
	b, err := e.Joint.Marshal()
	if err != nil {
		return nil, fmt.Errorf("entry: writing: %w", err)
	}
	if len(b) > Limit {
		return nil, fmt.Errorf("entry: writing: %d bytes, at most %d: %w", len(b), Limit, canon.ErrSize)
	}
	return b, nil
}

// Parse reads an entry; no signature is checked, nor whether it makes sense in its log. The error wraps ErrForm, or
// ErrVersion for one of a later version.
func Parse(b []byte) (*Entry, error) {
	j, err := canon.ParseJoint(b, joint, Limit, MaxSignatures)
	if err != nil {
		return nil, fmt.Errorf("entry: reading: %w: %w", err, ErrForm)
	}
	var first struct {
		Version uint64 `cbor:"1,keyasint"`
	}
	if err := cbor.Unmarshal(j.Payload, &first); err == nil && first.Version > version {
		return nil, fmt.Errorf("entry: reading: version %d: %w", first.Version, ErrVersion)
	}
	var w wire
	if err := canon.Unmarshal(j.Payload, Limit, &w); err != nil {
		return nil, fmt.Errorf("entry: reading: %w: %w", err, ErrForm)
	}
	e := &Entry{Head: Head{Index: w.Index}, Body: bodyOf(w.Kind), Joint: j}
	genesis := w.Kind == KindGenesis
	if w.Version != version || e.Body == nil || genesis != (w.Index == 0) || genesis != (w.Prev == nil) {
		return nil, fmt.Errorf("entry: reading: kind or place: %w", ErrForm)
	}
	if !genesis && len(w.Prev) != len(e.Prev) {
		return nil, fmt.Errorf("entry: reading: place: %w", ErrForm)
	}
	copy(e.Prev[:], w.Prev)
	if err := canon.Unmarshal(w.Body, Limit, e.Body); err != nil {
		return nil, fmt.Errorf("entry: reading: %w: %w", err, ErrForm)
	}
	return e, nil
}

// Hashes reads a list of kept objects: hashes in ascending order.
func Hashes(list [][]byte) ([][32]byte, error) {
	out := make([][32]byte, 0, len(list))
	for i, h := range list {
		if len(h) != sha256.Size || i > 0 && slices.Compare(list[i-1], h) >= 0 {
			return nil, fmt.Errorf("entry: reading: a list of hashes: %w", ErrForm)
		}
		out = append(out, [32]byte(h))
	}
	return out, nil
}
