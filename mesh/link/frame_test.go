package link

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestFrameRoundTrip(t *testing.T) {
	var stream bytes.Buffer
	want := []Frame{{Kind: KindHello, Body: []byte("a")}, {Kind: 99, Body: nil}, {Kind: KindGossip, Body: make([]byte, 60<<10)}}
	for _, f := range want {
		if err := WriteFrame(&stream, f); err != nil {
			t.Fatalf("WriteFrame(kind %d): %v", f.Kind, err)
		}
	}
	for _, w := range want {
		got, err := ReadFrame(&stream)
		if err != nil || got.Kind != w.Kind || !bytes.Equal(got.Body, w.Body) {
			t.Fatalf("ReadFrame = kind %d with %d bytes, %v; want kind %d with %d", got.Kind, len(got.Body), err, w.Kind, len(w.Body))
		}
	}
	if _, err := ReadFrame(&stream); !errors.Is(err, io.EOF) {
		t.Errorf("ReadFrame at the end: %v, want io.EOF", err)
	}
}

func TestReadFrameRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"empty":            "\x00\x00\x00",
		"too long":         "\x01\x00\x01" + strings.Repeat("x", 0x10001),
		"cut":              "\x00\x00\x05\x82\x01",
		"no array":         "\x00\x00\x01\x01",
		"three elements":   "\x00\x00\x05\x83\x01\x41a\x01",
		"trailing bytes":   "\x00\x00\x05\x82\x01\x41a\x01",
		"long form of 1":   "\x00\x00\x05\x82\x18\x01\x41a",
		"indefinite body":  "\x00\x00\x06\x82\x01\x5f\x41a\xff",
		"text body":        "\x00\x00\x04\x82\x01\x61a",
		"length of 2^32":   "\x00\x00\x07\x82\x01\x5a\xff\xff\xff\xff",
		"indefinite array": "\x00\x00\x05\x9f\x01\x41a\xff",
	} {
		if f, err := ReadFrame(strings.NewReader(in)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: ReadFrame = %+v, %v; want a refusal", name, f, err)
		}
	}
}

func TestWriteFrameRefusesTooMuch(t *testing.T) {
	if err := WriteFrame(io.Discard, Frame{Kind: 1, Body: make([]byte, MaxFrame)}); !errors.Is(err, ErrFrame) {
		t.Errorf("WriteFrame of a body of %d bytes: %v, want ErrFrame", MaxFrame, err)
	}
}

// FuzzFrame: what can be read is written back as the same bytes.
func FuzzFrame(f *testing.F) {
	seed, _ := AppendFrame(nil, Frame{Kind: KindHello, Body: []byte("hello")})
	f.Add(seed)
	f.Add([]byte("\x00\x00\x05\x82\x18\x01\x41a"))
	f.Fuzz(func(t *testing.T, in []byte) {
		frame, err := ReadFrame(bytes.NewReader(in))
		if err != nil {
			return
		}
		again, err := AppendFrame(nil, frame)
		if err != nil || !bytes.HasPrefix(in, again) {
			t.Errorf("read %x, written again %x, %v", in, again, err)
		}
	})
}
