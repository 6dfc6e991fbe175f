package join

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"warren/keys"
	"warren/keys/canon"
	"warren/mesh/link"
)

// Limits of what the other side may send.
const (
	maxItems = 64
	maxName  = 63
	maxLog   = 4 << 20 // bytes of the authority log
	maxText  = 300     // bytes of a text for people
)

// partBytes is how much of the log fits into a frame with the rest of a welcome.
const partBytes = 48 << 10

type prove struct {
	Invite    keys.InviteID `cbor:"1,keyasint"`
	Signature []byte        `cbor:"2,keyasint"`
}

type welcome struct {
	Log         [][]byte      `cbor:"1,keyasint"` // the authority log, genesis first; its end if parts came before
	Certificate []byte        `cbor:"2,keyasint"` // the member's, DER
	Signature   []byte        `cbor:"3,keyasint"` // by the member's identity key over the exporter
	Signer      keys.NodeID   `cbor:"4,keyasint"` // who will decide
	SignerKey   keys.WGPublic `cbor:"5,keyasint"` // its WireGuard key, for the proof of possession
}

// part is a piece of a log that is too long for one frame. Parts come before the welcome.
type part struct {
	Log [][]byte `cbor:"1,keyasint"`
}

type ask struct {
	CSR       []byte   `cbor:"1,keyasint"`
	Explicit  bool     `cbor:"2,keyasint"` // the name in the CSR was asked for: refuse it rather than change it
	Signature []byte   `cbor:"3,keyasint"` // by the invite key
	Proof     [32]byte `cbor:"4,keyasint"` // possession of the WireGuard key
}

// Redemption is what a member passes on to a signer: everything that the signer needs to check by itself.
type Redemption struct {
	Invite    keys.InviteID `cbor:"1,keyasint"`
	CSR       []byte        `cbor:"2,keyasint"`
	Explicit  bool          `cbor:"3,keyasint"`
	Signature []byte        `cbor:"4,keyasint"`
	Proof     [32]byte      `cbor:"5,keyasint"`
	Exporter  []byte        `cbor:"6,keyasint"`
	Member    keys.NodeID   `cbor:"7,keyasint"` // at whose door the joiner stands
}

// Item is one entry of the record store as it travels with a certificate.
type Item struct {
	Kind    uint8    `cbor:"1,keyasint"`
	Subject [32]byte `cbor:"2,keyasint"`
	Seq     uint64   `cbor:"3,keyasint"`
	Body    []byte   `cbor:"4,keyasint"`
}

// Issued is a signer's yes.
type Issued struct {
	Certificate []byte `cbor:"1,keyasint"` // DER
	Items       []Item `cbor:"2,keyasint"` // what helps the newcomer to find others: certificates, then records
	Unix        int64  `cbor:"3,keyasint"` // the signer's net time, seconds
}

// Time is the signer's net time.
func (i *Issued) Time() time.Time { return time.Unix(i.Unix, 0) }

// Code says why a joiner was turned away.
type Code string

// The codes. Whoever did not prove the invite only ever sees CodeRefused.
const (
	CodeRefused  Code = "refused"
	CodeExpired  Code = "expired"
	CodeUsed     Code = "used"
	CodeRevoked  Code = "revoked"
	CodePending  Code = "pending"
	CodeName     Code = "name-taken"
	CodeBadName  Code = "bad-name"
	CodeNoSigner Code = "no-signer"
	CodeFailed   Code = "failed"
)

// Refusal is a no, with a text and a hint for the person at the joiner's keyboard.
type Refusal struct {
	Code Code   `cbor:"1,keyasint"`
	Text string `cbor:"2,keyasint"`
	Hint string `cbor:"3,keyasint"`
}

// Error returns the text without the hint.
func (r *Refusal) Error() string { return r.Text }

// plain is the refusal as it may be shown to a person, whoever sent it: a code that exists, and short, printable texts.
func (r *Refusal) plain() *Refusal {
	codes := []Code{
		CodeRefused, CodeExpired, CodeUsed, CodeRevoked, CodePending, CodeName, CodeBadName, CodeNoSigner, CodeFailed,
	}
	if !slices.Contains(codes, r.Code) {
		return refused()
	}
	clean := func(s string) string {
		s = strings.Map(func(c rune) rune {
			if !unicode.IsPrint(c) {
				return -1
			}
			return c
		}, s)
		return strings.ToValidUTF8(s[:min(len(s), maxText)], "")
	}
	plain := &Refusal{Code: r.Code, Text: clean(r.Text), Hint: clean(r.Hint)}
	if plain.Text == "" {
		plain.Text = "the network refused: " + string(r.Code)
	}
	return plain
}

// refused is what everybody gets who did not prove the invite: the same bytes in every case.
func refused() *Refusal {
	return &Refusal{Code: CodeRefused, Text: "the network refused this join code", Hint: "ask for a new one: warren invite"}
}

func encode(v any) []byte {
	b, err := canon.Marshal(v)
	if err != nil {
		panic("join: a message of ours cannot be encoded: " + err.Error())
	}
	return b
}

func decode(b []byte, v any) error {
	if err := canon.Unmarshal(b, link.MaxFrame, v); err != nil {
		return fmt.Errorf("join: reading a message: %w", err)
	}
	return nil
}

// EncodeRedemption and the three functions after it carry a redemption and its answer over a call between members.
func EncodeRedemption(r *Redemption) []byte { return encode(r) }

// DecodeRedemption reads what EncodeRedemption wrote.
func DecodeRedemption(b []byte) (*Redemption, error) {
	r := new(Redemption)
	return r, decode(b, r)
}

type answer struct {
	Issued  *Issued  `cbor:"1,keyasint"`
	Refusal *Refusal `cbor:"2,keyasint"`
}

// EncodeAnswer writes a signer's decision: exactly one of the two is set.
func EncodeAnswer(issued *Issued, refusal *Refusal) []byte { return encode(answer{issued, refusal}) }

// DecodeAnswer reads what EncodeAnswer wrote. A refusal is returned as error.
func DecodeAnswer(b []byte) (*Issued, error) {
	var a answer
	if err := decode(b, &a); err != nil {
		return nil, err
	}
	switch {
	case a.Refusal != nil:
		return nil, a.Refusal
	case a.Issued == nil || len(a.Issued.Items) > maxItems:
		return nil, fmt.Errorf("join: reading a decision: it holds none")
	}
	return a.Issued, nil
}

// proveBytes is what the invite key signs first.
func proveBytes(exporter []byte, network keys.NetworkID) []byte {
	return signed("warren join prove", exporter, network[:])
}

// askBytes is what the invite key signs for the certificate request.
func askBytes(network keys.NetworkID, invite keys.InviteID, csr, exporter []byte, member keys.NodeID) []byte {
	hash := sha256.Sum256(csr)
	return signed("warren join ask", network[:], invite[:], hash[:], exporter, member[:])
}

// welcomeBytes is what the member's identity key signs.
func welcomeBytes(exporter []byte, network keys.NetworkID) []byte {
	return signed("warren join welcome", exporter, network[:])
}

// proofContext binds the proof of possession of a WireGuard key to one request on one connection.
func proofContext(csr, exporter []byte) []byte {
	hash := sha256.Sum256(csr)
	return signed("warren join wireguard", hash[:], exporter)
}

// signed joins a label and parts of fixed length, each with its length, so that no two lists give the same bytes.
func signed(label string, parts ...[]byte) []byte {
	b := append([]byte{byte(len(label))}, label...)
	for _, p := range parts {
		b = append(append(b, byte(len(p))), p...)
	}
	return b
}

func send(w io.Writer, kind link.Kind, v any) error {
	return link.WriteFrame(w, link.Frame{Kind: kind, Body: encode(v)})
}

// receive reads the next frame, skipping unknown kinds, into the value that belongs to its kind.
func receive(r io.Reader, into map[link.Kind]any) (link.Kind, error) {
	for range 16 {
		f, err := link.ReadFrame(r)
		if err != nil {
			return 0, err
		}
		if v, ok := into[f.Kind]; ok {
			return f.Kind, decode(f.Body, v)
		}
	}
	return 0, fmt.Errorf("join: too many frames of unknown kinds")
}
