package keys

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math/big"
	"time"

	"warren/keys/canon"
)

// MaxSigned is the largest record, left, grant, receipt or revocation in bytes, signed.
const MaxSigned = 1024

const (
	kindLeft       = "warren/left"
	kindRevocation = "warren/revocation"
)

// sign encodes w and signs it for network n; kid names the key where w does not.
func sign(kind string, w any, key ed25519.PrivateKey, kid []byte, n NetworkID) ([]byte, error) {
	payload, err := canon.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("keys: signing %s: %w", kind, err)
	}
	b, err := canon.Object{Kind: kind, Key: kid, Payload: payload}.Sign(key, n[:])
	if err != nil {
		return nil, fmt.Errorf("keys: signing %s: %w", kind, err)
	}
	if len(b) > MaxSigned {
		return nil, fmt.Errorf("keys: signing %s: %d bytes, at most %d: %w", kind, len(b), MaxSigned, canon.ErrSize)
	}
	return b, nil
}

// open reads the object and its payload into w, a pointer to a zero value; no signature is checked.
func open(b []byte, kind string, w any) (*canon.Object, error) {
	o, err := canon.ParseObject(b, kind, MaxSigned)
	if err != nil {
		return nil, fmt.Errorf("keys: reading %s: %w", kind, err)
	}
	if err := canon.Unmarshal(o.Payload, MaxSigned, w); err != nil {
		return nil, fmt.Errorf("keys: reading %s: %w", kind, err)
	}
	return o, nil
}

// sign encodes w and signs it as a signer of the network.
func (ca *CA) sign(kind string, w any) ([]byte, error) {
	key := ca.Key()
	return sign(kind, w, ca.secret.Key(), key[:], ca.signer.Network)
}

// verifySigned checks that the signer node signed o, and is a signer at the head of the log.
func (a *Authority) verifySigned(o *canon.Object, node NodeID) error {
	var key [32]byte
	if !array(&key, o.Key) {
		return fmt.Errorf("keys: reading %s: no key is named: %w", o.Kind, ErrObject)
	}
	s, ok := a.Signer(key)
	if !ok || s.Node != node {
		return fmt.Errorf("keys: reading %s: key %x: %w", o.Kind, key[:4], ErrUnknownSigner)
	}
	if err := o.Verify(s.Public(), a.Network[:]); err != nil {
		return fmt.Errorf("keys: reading %s: %w", o.Kind, err)
	}
	return nil
}

// Left is a member's own, final word that it is gone.
type Left struct {
	Node NodeID
}

// wireLeft is the payload of "warren/left".
type wireLeft struct {
	Node []byte `cbor:"1,keyasint"`
}

// SignLeft returns the word of id's owner that it left network n.
func SignLeft(id *Identity, n NetworkID) ([]byte, error) {
	node := id.ID()
	return sign(kindLeft, wireLeft{Node: node[:]}, id.Key(), nil, n)
}

// PeekLeft returns whose word b claims to be, after all checks but the signature.
func PeekLeft(b []byte) (NodeID, error) {
	_, l, err := readLeft(b)
	return l.Node, err
}

// ParseLeft reads the word that pub, the identity key of its member, must have signed for network n.
func ParseLeft(b []byte, pub ed25519.PublicKey, n NetworkID) (*Left, error) {
	o, l, err := readLeft(b)
	if err != nil {
		return nil, err
	}
	if l.Node != NodeIDOf(pub) {
		return nil, fmt.Errorf("keys: reading %s: of another member: %w", kindLeft, ErrObject)
	}
	if err := o.Verify(pub, n[:]); err != nil {
		return nil, fmt.Errorf("keys: reading %s: %w", kindLeft, err)
	}
	return &l, nil
}

func readLeft(b []byte) (*canon.Object, Left, error) {
	var w wireLeft
	o, err := open(b, kindLeft, &w)
	if err != nil {
		return nil, Left{}, err
	}
	var l Left
	if !array(&l.Node, w.Node) || l.Node.IsZero() {
		return nil, Left{}, fmt.Errorf("keys: reading %s: no member: %w", kindLeft, ErrObject)
	}
	return o, l, nil
}

// Revocation ends a membership, one certificate, or an invite, for ever. Exactly one of Node, Serial (with Issuer) and
// Invite is set.
type Revocation struct {
	// Node is the member whose key is revoked: all its certificates, also later ones.
	Node NodeID
	// Serial and Issuer name one certificate by its serial number and the SPKI hash of its signer.
	Serial *big.Int
	Issuer [32]byte
	// Invite is the invite that nobody may use any more.
	Invite InviteID
	// Signer is the member who revokes; SignRevocation sets it.
	Signer NodeID
	// At is the signer's time, in seconds; it decides nothing.
	At time.Time
	// Reason is for people: printable ASCII, at most 200 bytes, or "".
	Reason string
}

// wireRevocation is the payload of "warren/revocation".
type wireRevocation struct {
	Node   []byte `cbor:"1,keyasint,omitempty"`
	Serial []byte `cbor:"2,keyasint,omitempty"`
	Issuer []byte `cbor:"3,keyasint,omitempty"`
	Invite []byte `cbor:"4,keyasint,omitempty"`
	Signer []byte `cbor:"5,keyasint"`
	At     uint64 `cbor:"6,keyasint"`
	Reason string `cbor:"7,keyasint,omitempty"`
}

// SignRevocation returns r signed by ca. The error wraps ErrObject if r does not name exactly one thing.
func SignRevocation(r Revocation, ca *CA) ([]byte, error) {
	r.Signer = ca.Node()
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("keys: signing %s: %w", kindRevocation, err)
	}
	return ca.sign(kindRevocation, r.wire())
}

func (r *Revocation) wire() wireRevocation {
	w := wireRevocation{Signer: r.Signer[:], At: seconds(r.At), Reason: r.Reason}
	switch {
	case !r.Node.IsZero():
		w.Node = r.Node[:]
	case r.Serial != nil:
		w.Serial, w.Issuer = r.Serial.Bytes(), r.Issuer[:]
	default:
		w.Invite = r.Invite[:]
	}
	return w
}

// PeekRevocation returns what b claims to say, after all checks but the signature.
func PeekRevocation(b []byte) (*Revocation, error) {
	_, r, err := readRevocation(b)
	return r, err
}

// ParseRevocation reads a revocation that a signer at the head of a must have signed, or one that the log entry which
// removed its signer keeps. The error wraps ErrUnknownSigner if the signer is none any more.
func ParseRevocation(b []byte, a *Authority) (*Revocation, error) {
	o, r, err := readRevocation(b)
	if err != nil {
		return nil, err
	}
	var key [32]byte
	copy(key[:], o.Key)
	if s, ok := a.keptBy(key, b); ok && s.Node == r.Signer {
		if err := o.Verify(s.Public(), a.Network[:]); err != nil {
			return nil, fmt.Errorf("keys: reading %s: %w", kindRevocation, err)
		}
		return r, nil
	}
	if err := a.verifySigned(o, r.Signer); err != nil {
		return nil, err
	}
	return r, nil
}

func readRevocation(b []byte) (*canon.Object, *Revocation, error) {
	var w wireRevocation
	o, err := open(b, kindRevocation, &w)
	if err != nil {
		return nil, nil, err
	}
	r := &Revocation{At: instant(w.At), Reason: w.Reason}
	ok := array(&r.Signer, w.Signer) && w.At <= maxSeconds
	ok = ok && (w.Node == nil || array(&r.Node, w.Node) && !r.Node.IsZero())
	ok = ok && (w.Issuer == nil || array(&r.Issuer, w.Issuer))
	ok = ok && (w.Invite == nil || array(&r.Invite, w.Invite) && !r.Invite.IsZero())
	ok = ok && (w.Serial == nil) == (w.Issuer == nil)
	if w.Serial != nil {
		r.Serial = new(big.Int).SetBytes(w.Serial)
		ok = ok && bytes.Equal(r.Serial.Bytes(), w.Serial)
	}
	if !ok {
		return nil, nil, fmt.Errorf("keys: reading %s: %w", kindRevocation, ErrObject)
	}
	if err := r.check(); err != nil {
		return nil, nil, fmt.Errorf("keys: reading %s: %w", kindRevocation, err)
	}
	return o, r, nil
}

func (r *Revocation) check() error {
	named := 0
	for _, is := range []bool{!r.Node.IsZero(), r.Serial != nil, !r.Invite.IsZero()} {
		if is {
			named++
		}
	}
	const maxReason = 200
	if named != 1 || r.Signer.IsZero() || !printable(r.Reason, maxReason) {
		return ErrObject
	}
	if r.Serial != nil && !validSerial(r.Serial) {
		return ErrObject
	}
	return nil
}

// maxSeconds is the last second of the year 9999, the largest time in any object.
const maxSeconds = 253402300799

// seconds is the form of every time in CBOR: seconds since 1970, never negative.
func seconds(t time.Time) uint64 { return uint64(min(max(t.Unix(), 0), maxSeconds)) }

func instant(s uint64) time.Time { return time.Unix(int64(min(s, maxSeconds)), 0).UTC() }
