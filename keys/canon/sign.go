package canon

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/veraison/go-cose"
)

// ErrSignature is wrapped by errors about a signature that is not of this key over these bytes.
var ErrSignature = errors.New("the signature does not verify")

// Object is a COSE_Sign1: a payload of a kind, signed by one key.
type Object struct {
	// Kind is a media type, such as "warren/record".
	Kind string
	// Key names the signing key where the payload does not; else it is empty.
	Key []byte
	// Payload is what was signed, as the kind defines it.
	Payload []byte

	signature []byte
}

// Sign returns the bytes of o signed by s, an Ed25519 key, and bound to network, which a verifier must name again.
func (o Object) Sign(s crypto.Signer, network []byte) ([]byte, error) {
	signer, err := cose.NewSigner(cose.AlgorithmEdDSA, s)
	if err != nil {
		return nil, fmt.Errorf("canon: signing %s: %w", o.Kind, err)
	}
	m := o.message()
	if err := m.Sign(rand.Reader, network, signer); err != nil {
		return nil, fmt.Errorf("canon: signing %s: %w", o.Kind, err)
	}
	return m.MarshalCBOR()
}

// ParseObject reads an object of this kind of at most limit bytes. Nothing is verified yet. The error wraps ErrForm
// or ErrSize. The result shares no memory with b.
func ParseObject(b []byte, kind string, limit int) (*Object, error) {
	if len(b) > limit {
		return nil, fmt.Errorf("canon: decoding %s: %d bytes, at most %d: %w", kind, len(b), limit, ErrSize)
	}
	var m cose.Sign1Message
	if err := m.UnmarshalCBOR(b); err != nil {
		return nil, fmt.Errorf("canon: decoding %s: %w: %w", kind, err, ErrForm)
	}
	o := &Object{Kind: kind, Payload: m.Payload, signature: m.Signature}
	o.Key, _ = m.Headers.Protected[cose.HeaderLabelKeyID].([]byte)
	again, err := o.message().MarshalCBOR()
	if err != nil || m.Payload == nil || !bytes.Equal(again, b) {
		return nil, fmt.Errorf("canon: decoding %s: another kind or another encoding: %w", kind, ErrForm)
	}
	return o, nil
}

// Verify checks that the object was signed by pub for network. The error wraps ErrSignature.
func (o *Object) Verify(pub ed25519.PublicKey, network []byte) error {
	if len(pub) != ed25519.PublicKeySize {
		return fmt.Errorf("canon: verifying %s: no key: %w", o.Kind, ErrSignature)
	}
	verifier, err := cose.NewVerifier(cose.AlgorithmEdDSA, pub)
	if err != nil {
		return fmt.Errorf("canon: verifying %s: %w: %w", o.Kind, err, ErrSignature)
	}
	if err := o.message().Verify(network, verifier); err != nil {
		return fmt.Errorf("canon: verifying %s: %w: %w", o.Kind, err, ErrSignature)
	}
	return nil
}

// message makes the COSE message from o alone, so that nothing of a parsed header lives on unchecked.
func (o *Object) message() *cose.Sign1Message {
	protected := cose.ProtectedHeader{cose.HeaderLabelAlgorithm: cose.AlgorithmEdDSA, cose.HeaderLabelType: o.Kind}
	if len(o.Key) > 0 {
		protected[cose.HeaderLabelKeyID] = o.Key
	}
	return &cose.Sign1Message{
		Headers:   cose.Headers{Protected: protected, Unprotected: cose.UnprotectedHeader{}},
		Payload:   o.Payload,
		Signature: o.signature,
	}
}

// Joint is a COSE_Sign: a payload of a kind, signed by several keys.
type Joint struct {
	// Kind is a media type, such as "warren/log".
	Kind string
	// Payload is what was signed, as the kind defines it.
	Payload []byte
	// Signatures stand in ascending order of their keys, each key once.
	Signatures []Signature
}

// Signature is one key's word in a Joint.
type Signature struct {
	// Key names the signing key.
	Key [32]byte
	// Bytes is the Ed25519 signature.
	Bytes []byte
}

// Add signs j by s, an Ed25519 key known by the name key, and puts the signature into its place; an older one of the
// same key is replaced. network is as for [Object.Sign].
func (j *Joint) Add(s crypto.Signer, key [32]byte, network []byte) error {
	signer, err := cose.NewSigner(cose.AlgorithmEdDSA, s)
	if err != nil {
		return fmt.Errorf("canon: signing %s: %w", j.Kind, err)
	}
	one := Joint{Kind: j.Kind, Payload: j.Payload, Signatures: []Signature{{Key: key}}}
	m := one.message()
	if err := m.Sign(rand.Reader, network, signer); err != nil {
		return fmt.Errorf("canon: signing %s: %w", j.Kind, err)
	}
	j.Signatures = slices.DeleteFunc(j.Signatures, func(s Signature) bool { return s.Key == key })
	j.Signatures = append(j.Signatures, Signature{Key: key, Bytes: m.Signatures[0].Signature})
	slices.SortFunc(j.Signatures, func(a, b Signature) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	return nil
}

// Marshal returns the bytes of j; it needs at least one signature.
func (j *Joint) Marshal() ([]byte, error) { return j.message().MarshalCBOR() }

// ParseJoint reads a joint of this kind of at most limit bytes and at most most signatures. Nothing is verified yet.
// The error wraps ErrForm or ErrSize. The result shares no memory with b.
func ParseJoint(b []byte, kind string, limit, most int) (*Joint, error) {
	if len(b) > limit {
		return nil, fmt.Errorf("canon: decoding %s: %d bytes, at most %d: %w", kind, len(b), limit, ErrSize)
	}
	var m cose.SignMessage
	if err := m.UnmarshalCBOR(b); err != nil {
		return nil, fmt.Errorf("canon: decoding %s: %w: %w", kind, err, ErrForm)
	}
	if len(m.Signatures) > most {
		return nil, fmt.Errorf("canon: decoding %s: %d signatures, at most %d: %w", kind, len(m.Signatures), most, ErrSize)
	}
	j := &Joint{Kind: kind, Payload: m.Payload}
	for i, s := range m.Signatures {
		id, _ := s.Headers.Protected[cose.HeaderLabelKeyID].([]byte)
		if len(id) != len(Signature{}.Key) || i > 0 && bytes.Compare(j.Signatures[i-1].Key[:], id) >= 0 {
			return nil, fmt.Errorf("canon: decoding %s: keys of the signatures: %w", kind, ErrForm)
		}
		j.Signatures = append(j.Signatures, Signature{Key: [32]byte(id), Bytes: s.Signature})
	}
	again, err := j.Marshal()
	if err != nil || m.Payload == nil || !bytes.Equal(again, b) {
		return nil, fmt.Errorf("canon: decoding %s: another kind or another encoding: %w", kind, ErrForm)
	}
	return j, nil
}

// Verify checks that every signature is good for the key that find returns for its name (nil: unknown). The error
// wraps ErrSignature. How many signatures must be there, and whose, is the caller's to check.
func (j *Joint) Verify(find func(key [32]byte) ed25519.PublicKey, network []byte) error {
	verifiers := make([]cose.Verifier, len(j.Signatures))
	for i, s := range j.Signatures {
		pub := find(s.Key)
		if len(pub) != ed25519.PublicKeySize {
			return fmt.Errorf("canon: verifying %s: unknown key %x: %w", j.Kind, s.Key[:4], ErrSignature)
		}
		v, err := cose.NewVerifier(cose.AlgorithmEdDSA, pub)
		if err != nil {
			return fmt.Errorf("canon: verifying %s: %w: %w", j.Kind, err, ErrSignature)
		}
		verifiers[i] = v
	}
	if err := j.message().Verify(network, verifiers...); err != nil {
		return fmt.Errorf("canon: verifying %s: %w: %w", j.Kind, err, ErrSignature)
	}
	return nil
}

func (j *Joint) message() *cose.SignMessage {
	m := &cose.SignMessage{
		Headers: cose.Headers{
			Protected:   cose.ProtectedHeader{cose.HeaderLabelType: j.Kind},
			Unprotected: cose.UnprotectedHeader{},
		},
		Payload: j.Payload,
	}
	for _, s := range j.Signatures {
		protected := cose.ProtectedHeader{
			cose.HeaderLabelAlgorithm: cose.AlgorithmEdDSA, cose.HeaderLabelKeyID: s.Key[:],
		}
		m.Signatures = append(m.Signatures, &cose.Signature{
			Headers:   cose.Headers{Protected: protected, Unprotected: cose.UnprotectedHeader{}},
			Signature: s.Bytes,
		})
	}
	return m
}
