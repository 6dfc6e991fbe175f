package stun

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	pion "github.com/pion/stun/v3"
)

// Size limits of a message that Parse reads. The longest check is a padded one that probes a path's MTU.
const (
	headerSize = 20
	maxSize    = 1500
	maxAttrs   = 16
)

// ErrMalformed is wrapped by every error of Parse; callers count and drop.
var ErrMalformed = errors.New("malformed message")

// Message is one parsed Binding request or success response. Nothing in it is trusted before Verify said yes.
type Message struct {
	Kind   Kind
	ID     [12]byte       // transaction id
	User   [userSize]byte // USERNAME of a signed request, else zeros
	Signed bool           // has MESSAGE-INTEGRITY; every request and every answer to a check has
	Mapped netip.AddrPort // XOR-MAPPED-ADDRESS of a response: who the answering host saw, IPv4 unmapped

	m *pion.Message // its own copy of the bytes
}

// Parse reads a datagram. It is strict: exactly one message, known attributes at most once and of the right size,
// integrity and fingerprint last, a request either as Request or as PlainRequest writes it, a response with
// XOR-MAPPED-ADDRESS. Unknown optional attributes (RFC 8489 section 14) before the integrity are skipped, unknown
// required ones refused. It keeps no reference to b. The error wraps ErrMalformed.
func Parse(b []byte) (Message, error) {
	if err := shape(b); err != nil {
		return Message{}, fmt.Errorf("stun: parsing: %w: %w", ErrMalformed, err)
	}
	m := &pion.Message{Raw: slices.Clone(b)}
	if err := m.Decode(); err != nil {
		return Message{}, fmt.Errorf("stun: parsing: %w: %w", ErrMalformed, err)
	}
	out := Message{ID: m.TransactionID, m: m}
	switch m.Type {
	case pion.BindingRequest:
		out.Kind = RequestKind
	case pion.BindingSuccess:
		out.Kind = SuccessKind
	default:
		return Message{}, fmt.Errorf("stun: parsing: %w: type %s", ErrMalformed, m.Type)
	}
	if err := out.read(); err != nil {
		return Message{}, fmt.Errorf("stun: parsing: %w: %w", ErrMalformed, err)
	}
	return out, nil
}

// shape checks what pion's decoder leaves to its caller: limits, padding, exact length, order of the last attributes.
func shape(b []byte) error {
	if len(b) < headerSize || len(b) > maxSize || len(b)%4 != 0 {
		return fmt.Errorf("%d bytes", len(b))
	}
	if b[0]&0xC0 != 0 || int(binary.BigEndian.Uint16(b[2:])) != len(b)-headerSize {
		return errors.New("not one whole message")
	}
	var seen []pion.AttrType
	for rest := b[headerSize:]; len(rest) > 0; {
		if len(rest) < 4 {
			return errors.New("cut attribute")
		}
		kind, size := pion.AttrType(binary.BigEndian.Uint16(rest)), int(binary.BigEndian.Uint16(rest[2:]))
		padded := (size + 3) &^ 3
		if len(rest) < 4+padded {
			return fmt.Errorf("cut attribute %s", kind)
		}
		if slices.Contains(seen, kind) || len(seen) == maxAttrs {
			return fmt.Errorf("attribute %s again, or too many", kind)
		}
		if slices.Contains(seen, pion.AttrFingerprint) ||
			slices.Contains(seen, pion.AttrMessageIntegrity) && kind != pion.AttrFingerprint {
			return fmt.Errorf("attribute %s after the last", kind)
		}
		seen = append(seen, kind)
		rest = rest[4+padded:]
	}
	return nil
}

// read takes the attributes out of the decoded message.
func (m *Message) read() error {
	hasUser, hasMapped, hasPrint := false, false, false
	for _, a := range m.m.Attributes {
		switch a.Type {
		case pion.AttrUsername:
			if len(a.Value) != userSize || [8]byte(a.Value) != [8]byte(m.ID[:8]) {
				return errors.New("user name")
			}
			hasUser = true
			m.User = [userSize]byte(a.Value)
		case pion.AttrXORMappedAddress:
			mapped, err := address(m.m)
			if err != nil {
				return err
			}
			hasMapped = true
			m.Mapped = mapped
		case pion.AttrMessageIntegrity:
			if len(a.Value) != 20 {
				return errors.New("integrity")
			}
			m.Signed = true
		case pion.AttrFingerprint:
			if pion.Fingerprint.Check(m.m) != nil {
				return errors.New("fingerprint")
			}
			hasPrint = true
		case pion.AttrMappedAddress, 0x0004, 0x0005:
			// Servers that also speak RFC 3489 add MAPPED-, SOURCE- and CHANGED-ADDRESS.
			if m.Kind != SuccessKind {
				return fmt.Errorf("attribute %s", a.Type)
			}
		default:
			if a.Type.Required() {
				return fmt.Errorf("attribute %s", a.Type)
			}
		}
	}
	switch {
	case m.Signed && !hasPrint:
		return errors.New("signed without fingerprint")
	case m.Kind == RequestKind && (hasUser != m.Signed || hasMapped || !hasPrint):
		return errors.New("not a check")
	case m.Kind == SuccessKind && (!hasMapped || hasUser):
		return errors.New("not an answer")
	}
	return nil
}

// address reads XOR-MAPPED-ADDRESS strictly: pion takes a value that is longer or shorter than its family's.
func address(m *pion.Message) (netip.AddrPort, error) {
	var a pion.XORMappedAddress
	value, err := m.Get(pion.AttrXORMappedAddress)
	if err != nil || len(value) != 8 && len(value) != 20 || a.GetFrom(m) != nil || len(a.IP) != len(value)-4 {
		return netip.AddrPort{}, errors.New("mapped address")
	}
	ip, _ := netip.AddrFromSlice(a.IP)
	mapped := netip.AddrPortFrom(ip.Unmap(), uint16(a.Port))
	if !ip.IsValid() || ip.IsUnspecified() || mapped.Port() == 0 {
		return netip.AddrPort{}, errors.New("mapped address")
	}
	return mapped, nil
}

// Verify reports whether the message carries a MESSAGE-INTEGRITY made with key; the comparison takes constant time.
// (Parse has checked the fingerprint already.) It must not be called twice at the same time on one message.
func (m *Message) Verify(key [32]byte) bool {
	return m.Signed && m.m != nil && pion.MessageIntegrity(key[:]).Check(m.m) == nil
}
