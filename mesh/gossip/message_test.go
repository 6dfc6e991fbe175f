package gossip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"
)

func item(k Kind, subject byte, seq uint64, body string) *Item {
	it := &Item{Key: Key{Kind: k}, Seq: seq, Body: []byte(body)}
	for i := range it.Subject {
		it.Subject[i] = subject
	}
	return it
}

func line(k Kind, subject byte, seq uint64) haveLine {
	return haveLine{item(k, subject, 0, "").short(), version{seq: seq, hash: [16]byte{1, 2}}}
}

func messages() []*message {
	return []*message{
		{kind: typePush, items: []*Item{item(KindRecord, 7, 1<<40, "body"), item(KindLeft, 8, 0, "x")}},
		{kind: typeRoot, root: [32]byte{1, 31: 9}},
		{kind: typeBuckets, sums: make([]byte, 256*8)},
		{kind: typeHave, listed: []byte{}, entries: []haveLine{}},
		{kind: typeHave, listed: []byte{0, 7, 255}, entries: []haveLine{line(KindCertificate, 7, 2), line(KindRecord, 7, 1)}},
		{kind: typeWant, wants: []shortKey{{1}, {2, 15: 5}}},
	}
}

func TestCodecRoundTrip(t *testing.T) {
	c := newCodec()
	for _, want := range messages() {
		b := c.encode(want)
		got, err := c.decode(b)
		if err != nil {
			t.Errorf("decode(%x): %v", b, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("decode(%x): got %+v, want %+v", b, got, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	c := newCodec()
	push := func(items ...*Item) []byte { return c.encode(&message{kind: typePush, items: items}) }
	tests := []struct {
		name string
		b    []byte
		want error
	}{
		{"nothing", nil, errMalformed},
		{"a map", []byte{0xa1, 0x01, 0x02}, errMalformed},
		{"unknown type", []byte{0x82, 0x17, 0x00}, errType},
		{"array without end", []byte{0x9f, 0x01, 0xff}, errMalformed},
		{"huge array", []byte{0x82, 0x01, 0x9b, 0, 0, 0, 1, 0, 0, 0, 0}, errMalformed},
		{"trailing byte", append(c.encode(&message{kind: typeRoot}), 0), errMalformed},
		{"number not in its shortest form", []byte{0x82, 0x18, 0x02, 0x40}, errMalformed},
		{"short root", []byte{0x82, 0x02, 0x41, 0x00}, errMalformed},
		{"push of nothing", push(), errMalformed},
		{"kind that does not exist", push(item(9, 1, 0, "x")), errMalformed},
		{"empty body", push(item(KindRecord, 1, 0, "")), errMalformed},
		{"large body", push(item(KindRecord, 1, 0, string(make([]byte, 1025)))), errMalformed},
		{"seq of a kind that only grows", push(item(KindLeft, 1, 1, "x")), errMalformed},
		{"too long", make([]byte, MaxMessage+1), errMalformed},
		{"unsorted lines", c.encode(&message{kind: typeHave, entries: []haveLine{line(5, 2, 1), line(5, 1, 1)}}), errMalformed},
		{"unsorted buckets", c.encode(&message{kind: typeHave, listed: []byte{2, 1}}), errMalformed},
		{"null for bytes", []byte{0x83, 0x04, 0xf6, 0xf6}, errMalformed},
		{"want of nothing", c.encode(&message{kind: typeWant}), errMalformed},
		{"odd want", []byte{0x82, 0x05, 0x41, 0x00}, errMalformed},
	}
	for _, tt := range tests {
		if _, err := c.decode(tt.b); !errors.Is(err, tt.want) {
			t.Errorf("%s: decode(%.40x): got %v, want %v", tt.name, tt.b, err, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	c := newCodec()
	for _, m := range messages() {
		f.Add(c.encode(m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := c.decode(b)
		if err != nil {
			return
		}
		if again := c.encode(m); !bytes.Equal(again, b) {
			t.Errorf("decoded %x, encoded %x", b, again)
		}
	})
}

// FuzzReceived feeds a core with messages, cut out of the input by their lengths: no panic, nothing forged stored, state
// within its bounds, and answers that can be read.
func FuzzReceived(f *testing.F) {
	c := newCodec()
	var all []byte
	for _, m := range messages() {
		b := c.encode(m)
		all = append(binary.BigEndian.AppendUint16(all, uint16(len(b))), b...)
		f.Add(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b)
	}
	f.Add(all, []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		h := newHarness(t, Config{}, item(KindRecord, 7, 1, "old"), item(KindCertificate, 9, 1, "c"))
		h.linked(id(1), id(2))
		for in := slices.Concat(a, b); len(in) > 2; {
			n := min(int(binary.BigEndian.Uint16(in)), len(in)-2)
			h.step(Received{id(1 + in[1]%2), in[2 : 2+n]})
			in = in[2+n:]
			for _, a := range h.acts {
				switch a := a.(type) {
				case Send:
					if _, err := c.decode(a.Body); err != nil {
						t.Errorf("sent %x: %v", a.Body, err)
					}
				case Stored:
					if string(a.Item.Body) == "forged" || string(a.Item.Body) == "unknown" || !a.Item.Valid() {
						t.Errorf("stored %+v", a.Item)
					}
				}
			}
			if st := h.core.Stats(); st.Wants > 2*maxWants || st.Peers > 3 || st.Links > 2 {
				t.Errorf("state out of bounds: %+v", st)
			}
			h.now = h.now.Add(time.Second)
		}
		h.run(time.Minute)
	})
}
