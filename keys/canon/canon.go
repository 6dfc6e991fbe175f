package canon

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

var (
	// ErrForm is wrapped by errors about bytes that are not CBOR, not in the one allowed form, or not the object
	// that was asked for.
	ErrForm = errors.New("not in the one allowed form")
	// ErrSize is wrapped by errors about bytes beyond the size that the caller allows.
	ErrSize = errors.New("too large")
)

// encoder and decoder are made once and never change; both are safe for use by many goroutines.
var (
	encoder = mode(cbor.EncOptions{
		Sort:          cbor.SortCoreDeterministic,
		ShortestFloat: cbor.ShortestFloat16,
		NaNConvert:    cbor.NaNConvert7e00,
		InfConvert:    cbor.InfConvertFloat16,
		IndefLength:   cbor.IndefLengthForbidden,
		TagsMd:        cbor.TagsForbidden,
		NilContainers: cbor.NilContainerAsEmpty,
	}.EncMode())
	decoder = mode(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
		MaxNestedLevels:   8,
		MaxArrayElements:  1 << 14,
		MaxMapPairs:       1 << 10,
	}.DecMode())
)

func mode[M any](m M, err error) M {
	if err != nil {
		panic("canon: the fixed options of the codec are refused: " + err.Error())
	}
	return m
}

// Marshal returns v in deterministic CBOR. Structs use the tags of fxamacker/cbor, in this project always
// `keyasint` or `toarray`; nil slices and maps are written empty.
func Marshal(v any) ([]byte, error) {
	b, err := encoder.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("canon: encoding %T: %w", v, err)
	}
	return b, nil
}

// Unmarshal reads b, which must be exactly what Marshal writes for the value it holds, into v, a pointer to a zero
// value. Nothing is decoded of more than limit bytes. The error wraps ErrForm or ErrSize, and v is then undefined.
// The result shares no memory with b.
func Unmarshal(b []byte, limit int, v any) error {
	if len(b) > limit {
		return fmt.Errorf("canon: decoding %T: %d bytes, at most %d: %w", v, len(b), limit, ErrSize)
	}
	if err := decoder.Unmarshal(b, v); err != nil {
		return fmt.Errorf("canon: decoding %T: %w: %w", v, err, ErrForm)
	}
	again, err := encoder.Marshal(v)
	if err != nil || !bytes.Equal(again, b) {
		return fmt.Errorf("canon: decoding %T: another encoding of the same value: %w", v, ErrForm)
	}
	return nil
}
