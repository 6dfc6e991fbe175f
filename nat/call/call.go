// Package call is the signalling by which two members fire at each other at the same time: CALL, ACK and GO. It holds
// the bytes and their sealing; when to send which is the business of nat/path, and how they travel (through a
// neighbour, or on a link between the two) is that of the engine, which cannot read them.
//
// A body is deterministic CBOR, {1: kind, 2: session, 3: [[kind, address, port]...], 4: clock back, 5: age}, sealed by
// XChaCha20-Poly1305 with the "seal" key of the pair and the ids of sender and receiver as associated data:
//
//	nonce 24 | ciphertext | tag 16
package call

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"warren/keys"
	"warren/keys/canon"
)

// Limits of a sealed message: its size in bytes, and how many candidates it carries.
const (
	MaxSize       = 1000
	MaxCandidates = 16
)

// ErrSealed is wrapped by the errors of Open about bytes that this pair did not seal, or that hold no message.
var ErrSealed = errors.New("not a sealed message of this pair")

// Kind is what a Message asks.
type Kind uint8

// The kinds of messages.
const (
	Call Kind = 1 // send checks to my candidates, configure me as a WireGuard peer, and answer
	Ack  Kind = 2 // done; here are mine
	Go   Kind = 3 // fire now
)

// Message is one CALL, ACK or GO.
type Message struct {
	Kind       Kind
	Session    uint64
	Candidates []keys.Candidate
	ClockBack  bool          // the clock of the sender went backwards: forget its last handshake timestamp
	Age        time.Duration // how old sessions with the sender can be, in milliseconds: it has forgotten older ones
}

type body struct {
	Kind       Kind        `cbor:"1,keyasint"`
	Session    uint64      `cbor:"2,keyasint"`
	Candidates []candidate `cbor:"3,keyasint"`
	ClockBack  bool        `cbor:"4,keyasint"`
	Age        uint64      `cbor:"5,keyasint"` // milliseconds
}

type candidate struct {
	_    struct{} `cbor:",toarray"`
	Kind keys.CandidateKind
	Addr []byte
	Port uint16
}

// Marshal returns the bytes of m before sealing. More than MaxCandidates are cut.
func (m Message) Marshal() ([]byte, error) {
	b := body{Kind: m.Kind, Session: m.Session, ClockBack: m.ClockBack, Age: uint64(max(0, m.Age.Milliseconds()))}
	for _, c := range m.Candidates[:min(len(m.Candidates), MaxCandidates)] {
		b.Candidates = append(b.Candidates, candidate{Kind: c.Kind, Addr: c.Addr.Addr().AsSlice(), Port: c.Addr.Port()})
	}
	return canon.Marshal(b)
}

// Parse reads what Marshal wrote. The error wraps ErrSealed.
func Parse(p []byte) (Message, error) {
	var b body
	if err := canon.Unmarshal(p, MaxSize, &b); err != nil {
		return Message{}, fmt.Errorf("call: %w: %w", err, ErrSealed)
	}
	if b.Kind < Call || b.Kind > Go || len(b.Candidates) > MaxCandidates {
		return Message{}, fmt.Errorf("call: kind %d with %d candidates: %w", b.Kind, len(b.Candidates), ErrSealed)
	}
	m := Message{Kind: b.Kind, Session: b.Session, ClockBack: b.ClockBack, Age: Duration(b.Age)}
	for _, c := range b.Candidates {
		addr, ok := netip.AddrFromSlice(c.Addr)
		if !ok || addr.Is4In6() {
			return Message{}, fmt.Errorf("call: a candidate of %d bytes: %w", len(c.Addr), ErrSealed)
		}
		m.Candidates = append(m.Candidates, keys.Candidate{Kind: c.Kind, Addr: netip.AddrPortFrom(addr, c.Port)})
	}
	return m, nil
}

// Seal returns m so that only the other end of the pair whose key this is can read it, and only as sent by from to to.
func (m Message) Seal(key [32]byte, from, to keys.NodeID) ([]byte, error) {
	plain, err := m.Marshal()
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		return nil, fmt.Errorf("call: sealing: %w", err)
	}
	nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(plain)+chacha20poly1305.Overhead)
	_, _ = rand.Read(nonce) // it never fails
	return aead.Seal(nonce, nonce, plain, ends(from, to)), nil
}

// Open reads what Seal wrote for this key and these ends. The error wraps ErrSealed.
func Open(sealed []byte, key [32]byte, from, to keys.NodeID) (Message, error) {
	if len(sealed) > MaxSize || len(sealed) < chacha20poly1305.NonceSizeX {
		return Message{}, fmt.Errorf("call: %d bytes: %w", len(sealed), ErrSealed)
	}
	var aead cipher.AEAD
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		return Message{}, fmt.Errorf("call: opening: %w", err)
	}
	nonce, rest := sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:]
	plain, err := aead.Open(nil, nonce, rest, ends(from, to))
	if err != nil {
		return Message{}, fmt.Errorf("call: opening: %w", ErrSealed)
	}
	return Parse(plain)
}

// Duration is ms milliseconds, at most a century, whatever somebody wrote.
func Duration(ms uint64) time.Duration {
	const century = 100 * 365 * 24 * time.Hour
	return time.Duration(min(ms, uint64(century/time.Millisecond))) * time.Millisecond
}

func ends(from, to keys.NodeID) []byte { return append(from[:len(from):len(from)], to[:]...) }
