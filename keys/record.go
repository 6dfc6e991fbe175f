package keys

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"unicode/utf8"

	"warren/keys/canon"
	"warren/keys/name"
)

// Limits of a record; SignRecord and ParseRecord refuse more.
const (
	MaxRecord     = MaxSigned // bytes, signed
	MaxCandidates = 16
	MaxRelays     = 2
	MaxContacts   = 2
	maxVersion    = 32  // bytes of Record.Version
	maxExtra      = 256 // bytes of Record.Extra
)

// ErrObject is wrapped by errors about a signed object whose content is not allowed. Its form may be bad too; then
// the error wraps canon.ErrForm, canon.ErrSize or canon.ErrSignature instead.
var ErrObject = errors.New("content not allowed")

// CandidateKind says how a candidate was found, RFC 8445 section 5.1.1.
type CandidateKind uint8

// The kinds of candidates.
const (
	Host            CandidateKind = 1 // an address of an own interface
	ServerReflexive CandidateKind = 2 // seen by a reflector
	PeerReflexive   CandidateKind = 3 // seen by the other side of a check
	Mapped          CandidateKind = 4 // a port mapping, or an address that the operator advertises
	Relayed         CandidateKind = 5 // on a relay
)

// String returns the kind in the words of RFC 8445, or "unknown".
func (k CandidateKind) String() string {
	switch k {
	case Host:
		return "host"
	case ServerReflexive:
		return "server-reflexive"
	case PeerReflexive:
		return "peer-reflexive"
	case Mapped:
		return "mapped"
	case Relayed:
		return "relayed"
	}
	return "unknown"
}

// Candidate is an address at which a member might be reached over UDP.
type Candidate struct {
	Kind CandidateKind
	Addr netip.AddrPort
}

// RelaySlot is a place on a relay where a member can be reached.
type RelaySlot struct {
	Node NodeID
	Slot uint32
}

// NATBehaviour is how a NAT maps or filters, RFC 4787 sections 4.1 and 5.
type NATBehaviour uint8

// The behaviours of NATs.
const (
	BehaviourUnknown        NATBehaviour = 0
	EndpointIndependent     NATBehaviour = 1
	AddressDependent        NATBehaviour = 2
	AddressAndPortDependent NATBehaviour = 3
)

// String returns the behaviour in the words of RFC 4787, such as "endpoint-independent"; "" for unknown.
func (b NATBehaviour) String() string {
	switch b {
	case EndpointIndependent:
		return "endpoint-independent"
	case AddressDependent:
		return "address-dependent"
	case AddressAndPortDependent:
		return "address-and-port-dependent"
	case BehaviourUnknown:
	}
	return ""
}

// NAT is what a member found out about the NAT in front of it.
type NAT struct {
	Mapping, Filtering NATBehaviour
}

// Record is what a member says of itself; the highest Seq wins. A parsed Record is not changed by anybody.
type Record struct {
	// Node is the member.
	Node NodeID
	// Seq counts the member's records; it is no clock.
	Seq uint64
	// Candidates are at most MaxCandidates, no two alike, the best first.
	Candidates []Candidate
	// Relays are at most MaxRelays: the member's homes.
	Relays []RelaySlot
	// Contacts are at most MaxContacts members through which the member can be called.
	Contacts []NodeID
	// NAT is what the member knows about its NAT.
	NAT NAT
	// ReachableUDP and ReachableTCP say that somebody got through from outside unasked.
	ReachableUDP, ReachableTCP bool
	// Version is the program's, at most 32 bytes of printable text.
	Version string
	// Extra is room for later versions, at most 256 bytes; readers of today keep it unread.
	Extra []byte
}

// wireRecord is the payload of "warren/record".
type wireRecord struct {
	Node       []byte          `cbor:"1,keyasint"`
	Seq        uint64          `cbor:"2,keyasint"`
	Candidates []wireCandidate `cbor:"3,keyasint,omitempty"`
	Relays     []wireRelay     `cbor:"4,keyasint,omitempty"`
	Contacts   [][]byte        `cbor:"5,keyasint,omitempty"`
	Mapping    uint8           `cbor:"6,keyasint,omitempty"`
	Filtering  uint8           `cbor:"7,keyasint,omitempty"`
	Reachable  uint8           `cbor:"8,keyasint,omitempty"` // 1 UDP, 2 TCP
	Version    string          `cbor:"9,keyasint,omitempty"`
	Extra      []byte          `cbor:"15,keyasint,omitempty"`
}

type wireCandidate struct {
	_    struct{} `cbor:",toarray"`
	Kind uint8
	Addr []byte
	Port uint16
}

type wireRelay struct {
	_    struct{} `cbor:",toarray"`
	Node []byte
	Slot uint32
}

const kindRecord = "warren/record"

// SignRecord returns r signed by id for network n. r.Node must be id's, and r within the limits: else the error
// wraps ErrObject.
func SignRecord(r Record, id *Identity, n NetworkID) ([]byte, error) {
	if r.Node != id.ID() {
		return nil, fmt.Errorf("keys: signing a record: of another member: %w", ErrObject)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("keys: signing a record: %w", err)
	}
	return sign(kindRecord, r.wire(), id.Key(), nil, n)
}

func (r *Record) wire() wireRecord {
	w := wireRecord{
		Node: r.Node[:], Seq: r.Seq, Version: r.Version, Extra: r.Extra,
		Mapping: uint8(r.NAT.Mapping), Filtering: uint8(r.NAT.Filtering),
	}
	for _, c := range r.Candidates {
		w.Candidates = append(w.Candidates, wireCandidate{Kind: uint8(c.Kind), Addr: c.Addr.Addr().AsSlice(), Port: c.Addr.Port()})
	}
	for _, s := range r.Relays {
		w.Relays = append(w.Relays, wireRelay{Node: s.Node[:], Slot: s.Slot})
	}
	for _, c := range r.Contacts {
		w.Contacts = append(w.Contacts, c[:])
	}
	if r.ReachableUDP {
		w.Reachable |= 1
	}
	if r.ReachableTCP {
		w.Reachable |= 2
	}
	return w
}

// PeekRecord returns whose record b claims to be and its sequence number, after all checks but the signature.
func PeekRecord(b []byte) (node NodeID, seq uint64, err error) {
	_, r, err := readRecord(b)
	if err != nil {
		return NodeID{}, 0, err
	}
	return r.Node, r.Seq, nil
}

// ParseRecord reads a record for network n that pub, the identity key of its member, must have signed.
func ParseRecord(b []byte, pub ed25519.PublicKey, n NetworkID) (*Record, error) {
	o, r, err := readRecord(b)
	if err != nil {
		return nil, err
	}
	if r.Node != NodeIDOf(pub) {
		return nil, fmt.Errorf("keys: reading a record: of another member: %w", ErrObject)
	}
	if err := o.Verify(pub, n[:]); err != nil {
		return nil, fmt.Errorf("keys: reading a record: %w", err)
	}
	return r, nil
}

func readRecord(b []byte) (*canon.Object, *Record, error) {
	var w wireRecord
	o, err := open(b, kindRecord, &w)
	if err != nil {
		return nil, nil, err
	}
	r := &Record{
		Seq: w.Seq, Version: w.Version, Extra: w.Extra,
		NAT:          NAT{Mapping: NATBehaviour(w.Mapping), Filtering: NATBehaviour(w.Filtering)},
		ReachableUDP: w.Reachable&1 != 0, ReachableTCP: w.Reachable&2 != 0,
	}
	ok := w.Reachable <= 3 && array(&r.Node, w.Node)
	for _, c := range w.Candidates {
		a, good := netip.AddrFromSlice(c.Addr)
		ok = ok && good
		r.Candidates = append(r.Candidates, Candidate{Kind: CandidateKind(c.Kind), Addr: netip.AddrPortFrom(a, c.Port)})
	}
	for _, s := range w.Relays {
		var node NodeID
		ok = ok && array(&node, s.Node)
		r.Relays = append(r.Relays, RelaySlot{Node: node, Slot: s.Slot})
	}
	for _, c := range w.Contacts {
		var node NodeID
		ok = ok && array(&node, c)
		r.Contacts = append(r.Contacts, node)
	}
	if !ok {
		return nil, nil, fmt.Errorf("keys: reading a record: %w", ErrObject)
	}
	if err := r.check(); err != nil {
		return nil, nil, fmt.Errorf("keys: reading a record: %w", err)
	}
	return o, r, nil
}

func (r *Record) check() error {
	switch {
	case r.Node.IsZero():
		return fmt.Errorf("no member: %w", ErrObject)
	case len(r.Candidates) > MaxCandidates || len(r.Relays) > MaxRelays || len(r.Contacts) > MaxContacts:
		return fmt.Errorf("too many addresses, relays or contacts: %w", ErrObject)
	case len(r.Extra) > maxExtra || !printable(r.Version, maxVersion):
		return fmt.Errorf("version or extra: %w", ErrObject)
	case r.NAT.Mapping > AddressAndPortDependent || r.NAT.Filtering > AddressAndPortDependent:
		return fmt.Errorf("unknown NAT behaviour: %w", ErrObject)
	}
	for i, c := range r.Candidates {
		if c.Kind < Host || c.Kind > Relayed || !name.ValidEndpoint(c.Addr) || slices.Contains(r.Candidates[:i], c) {
			return fmt.Errorf("candidate %s: %w", c.Addr, ErrObject)
		}
	}
	for i, s := range r.Relays {
		if s.Node.IsZero() || slices.Contains(r.Relays[:i], s) {
			return fmt.Errorf("relay %d: %w", i, ErrObject)
		}
	}
	for i, c := range r.Contacts {
		if c.IsZero() || slices.Contains(r.Contacts[:i], c) {
			return fmt.Errorf("contact %d: %w", i, ErrObject)
		}
	}
	return nil
}

func printable(s string, most int) bool {
	if len(s) > most || !utf8.ValidString(s) {
		return false
	}
	return !slices.ContainsFunc([]byte(s), func(b byte) bool { return b < 0x20 || b > 0x7e })
}

// array copies b into a, or says that the lengths differ.
func array[A ~[32]byte](a *A, b []byte) bool {
	if len(b) != 32 {
		return false
	}
	*a = A(b)
	return true
}
