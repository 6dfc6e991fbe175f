package gossip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// The types of messages.
const (
	typePush    = 1
	typeRoot    = 2
	typeBuckets = 3
	typeHave    = 4
	typeWant    = 5
)

var (
	errMalformed = errors.New("malformed message")
	errType      = errors.New("unknown type of message")
)

// message is any of the messages; kind tells which fields count.
type message struct {
	kind    uint8
	items   []*Item    // push
	root    [32]byte   // root
	sums    []byte     // buckets: 256 x 8
	listed  []byte     // have: buckets of which entries holds all, ascending
	entries []haveLine // have: ascending by key
	wants   []shortKey // want
}

// haveLine says that the sender has an item.
type haveLine struct {
	key shortKey
	version
}

func (h haveLine) compare(o haveLine) int { return bytes.Compare(h.key[:], o.key[:]) }

type (
	wireItem struct {
		_       struct{} `cbor:",toarray"`
		Kind    Kind
		Subject []byte
		Seq     uint64
		Body    []byte
	}
	wirePush struct {
		_     struct{} `cbor:",toarray"`
		Type  uint8
		Items []wireItem
	}
	wireBytes struct { // root, buckets, want
		_    struct{} `cbor:",toarray"`
		Type uint8
		Data []byte
	}
	wireHave struct {
		_       struct{} `cbor:",toarray"`
		Type    uint8
		Listed  []byte
		Entries []byte
	}
)

// codec is CBOR in one form only, so that a message has one encoding.
type codec struct {
	enc cbor.EncMode
	dec cbor.DecMode
}

func newCodec() codec {
	opts := cbor.CoreDetEncOptions()
	opts.NilContainers = cbor.NilContainerAsEmpty // so that null is not another form of an empty string
	enc, err := opts.EncMode()
	if err != nil {
		panic("gossip: CBOR encoding options: " + err.Error())
	}
	dec, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: 4, MaxArrayElements: MaxMessage / 36,
	}.DecMode()
	if err != nil {
		panic("gossip: CBOR decoding options: " + err.Error())
	}
	return codec{enc, dec}
}

// encode writes a message; the caller keeps it within MaxMessage.
func (c codec) encode(m *message) []byte {
	var v any
	switch m.kind {
	case typePush:
		w := wirePush{Type: typePush, Items: make([]wireItem, len(m.items))}
		for i, it := range m.items {
			w.Items[i] = wireItem{Kind: it.Kind, Subject: it.Subject[:], Seq: it.Seq, Body: it.Body}
		}
		v = w
	case typeRoot:
		v = wireBytes{Type: typeRoot, Data: m.root[:]}
	case typeBuckets:
		v = wireBytes{Type: typeBuckets, Data: m.sums}
	case typeHave:
		data := make([]byte, 0, len(m.entries)*entrySize)
		for i := range m.entries {
			e := &m.entries[i]
			data = append(data, e.key[:]...)
			data = binary.BigEndian.AppendUint64(data, e.seq)
			data = append(data, e.hash[:]...)
		}
		v = wireHave{Type: typeHave, Listed: m.listed, Entries: data}
	case typeWant:
		data := make([]byte, 0, len(m.wants)*16)
		for i := range m.wants {
			data = append(data, m.wants[i][:]...)
		}
		v = wireBytes{Type: typeWant, Data: data}
	default:
		panic("gossip: encoding a message without a type")
	}
	b, err := c.enc.Marshal(v)
	if err != nil {
		panic("gossip: encoding a message: " + err.Error())
	}
	return b
}

// pushes encodes items as push messages.
func (c codec) pushes(items []*Item) (bodies [][]byte) {
	const head, each = 8, 56 // of the message, of an item beside its body; rounded up
	start, size := 0, head
	for i, it := range items {
		n := each + len(it.Body)
		if size+n > MaxMessage {
			bodies = append(bodies, c.encode(&message{kind: typePush, items: items[start:i]}))
			start, size = i, head
		}
		size += n
	}
	return append(bodies, c.encode(&message{kind: typePush, items: items[start:]}))
}

// decode reads a message and keeps no part of b. The error wraps errType for a type of the future, else errMalformed.
func (c codec) decode(b []byte) (*message, error) {
	if len(b) < 3 || len(b) > MaxMessage || b[0]>>5 != 4 || b[1] >= 24 {
		return nil, fmt.Errorf("gossip: decoding %d bytes: %w", len(b), errMalformed)
	}
	m := &message{kind: b[1]}
	var ok bool
	switch m.kind {
	case typePush:
		ok = c.decodePush(m, b)
	case typeRoot, typeBuckets, typeWant:
		ok = c.decodeBytes(m, b)
	case typeHave:
		ok = c.decodeHave(m, b)
	default:
		return nil, fmt.Errorf("gossip: decoding type %d: %w", m.kind, errType)
	}
	if !ok {
		return nil, fmt.Errorf("gossip: decoding type %d, %d bytes: %w", m.kind, len(b), errMalformed)
	}
	return m, nil
}

// read decodes into v and checks that b is v's only encoding.
func (c codec) read(b []byte, v any) bool {
	if err := c.dec.Unmarshal(b, v); err != nil {
		return false
	}
	again, err := c.enc.Marshal(v)
	return err == nil && bytes.Equal(again, b)
}

func (c codec) decodePush(m *message, b []byte) bool {
	var w wirePush
	if !c.read(b, &w) || len(w.Items) == 0 {
		return false
	}
	items := make([]Item, len(w.Items))
	m.items = make([]*Item, len(w.Items))
	for i := range w.Items {
		wi := &w.Items[i]
		if len(wi.Subject) != 32 {
			return false
		}
		items[i] = Item{Key: Key{wi.Kind, [32]byte(wi.Subject)}, Seq: wi.Seq, Body: wi.Body}
		if !items[i].Valid() {
			return false
		}
		m.items[i] = &items[i]
	}
	return true
}

func (c codec) decodeBytes(m *message, b []byte) bool {
	var w wireBytes
	if !c.read(b, &w) {
		return false
	}
	switch m.kind {
	case typeRoot:
		return len(w.Data) == 32 && copy(m.root[:], w.Data) == 32
	case typeBuckets:
		m.sums = w.Data
		return len(w.Data) == 256*8
	}
	if len(w.Data) == 0 || len(w.Data)%16 != 0 {
		return false
	}
	m.wants = make([]shortKey, len(w.Data)/16)
	for i := range m.wants {
		m.wants[i] = shortKey(w.Data[i*16:])
	}
	return true
}

func (c codec) decodeHave(m *message, b []byte) bool {
	var w wireHave
	if !c.read(b, &w) || len(w.Entries)%entrySize != 0 {
		return false
	}
	for i := 1; i < len(w.Listed); i++ {
		if w.Listed[i-1] >= w.Listed[i] {
			return false
		}
	}
	m.listed = w.Listed
	m.entries = make([]haveLine, len(w.Entries)/entrySize)
	for i := range m.entries {
		line, e := w.Entries[i*entrySize:], &m.entries[i]
		e.key, e.seq, e.hash = shortKey(line), binary.BigEndian.Uint64(line[16:]), [16]byte(line[24:])
		if i > 0 && bytes.Compare(m.entries[i-1].key[:], e.key[:]) >= 0 {
			return false
		}
	}
	return true
}
