package canon

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file below testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: the format changed; members of today cannot read it\ngot\n%s\nwant\n%s", file, got, want)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sample has a field of every shape that objects use.
type sample struct {
	Number uint64       `cbor:"1,keyasint"`
	Bytes  []byte       `cbor:"2,keyasint"`
	Text   string       `cbor:"3,keyasint,omitempty"`
	List   [][]byte     `cbor:"4,keyasint,omitempty"`
	Flag   bool         `cbor:"5,keyasint,omitempty"`
	Pairs  []samplePair `cbor:"6,keyasint,omitempty"`
	Small  uint8        `cbor:"24,keyasint,omitempty"`
	Late   uint16       `cbor:"300,keyasint,omitempty"`
}

type samplePair struct {
	_    struct{} `cbor:",toarray"`
	Addr []byte
	Port uint16
}

func TestMarshal(t *testing.T) {
	for name, test := range map[string]struct {
		in   sample
		want string
	}{
		"zero":        {sample{}, "a2 01 00 02 40"},
		"small":       {sample{Number: 23, Bytes: []byte{1}}, "a2 01 17 02 41 01"},
		"one byte":    {sample{Number: 24}, "a2 01 18 18 02 40"},
		"two bytes":   {sample{Number: 256}, "a2 01 19 01 00 02 40"},
		"four bytes":  {sample{Number: 1 << 16}, "a2 01 1a 00 01 00 00 02 40"},
		"eight bytes": {sample{Number: 1 << 32}, "a2 01 1b 00 00 00 01 00 00 00 00 02 40"},
		"everything": {
			sample{7, []byte{0xff}, "ab", [][]byte{{}, {1}}, true, []samplePair{{Addr: []byte{9}, Port: 65535}}, 1, 2},
			"a8 01 07 02 41 ff 03 62 61 62 04 82 40 41 01 05 f5 06 81 82 41 09 19 ff ff 18 18 01 19 01 2c 02",
		},
	} {
		got, err := Marshal(test.in)
		if want := unhex(t, test.want); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, %v, want %x", name, got, err, want)
		}
		var back sample
		if err := Unmarshal(got, 100, &back); err != nil {
			t.Errorf("%s: read back: %v", name, err)
		}
		if again, err := Marshal(back); err != nil || !bytes.Equal(again, got) {
			t.Errorf("%s: written again: %x, %v", name, again, err)
		}
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                            "",
		"cut in the head":                    "a2 01",
		"cut in a string":                    "a2 01 00 02 42 01",
		"a byte behind":                      "a2 01 00 02 40 00",
		"another object behind":              "a2 01 00 02 40 a2 01 00 02 40",
		"a number in a longer head":          "a2 01 18 17 02 40",
		"a number in eight bytes":            "a2 01 1b 00 00 00 00 00 00 00 07 02 40",
		"a length in a longer head":          "a2 01 00 02 58 01 01",
		"a key in a longer head":             "a2 18 01 00 02 40",
		"a map in a longer head":             "b8 02 01 00 02 40",
		"keys in the wrong order":            "a2 02 40 01 00",
		"a key twice":                        "a3 01 00 01 00 02 40",
		"an unknown key":                     "a3 01 00 02 40 07 00",
		"an unknown negative key":            "a3 01 00 02 40 20 00",
		"a key as text":                      "a2 01 00 61 32 40",
		"a field's name as key":              "a3 01 00 02 40 64 54 65 78 74 61 61",
		"a mandatory key missing":            "a1 01 00",
		"an empty optional text":             "a3 01 00 02 40 03 60",
		"an optional false":                  "a3 01 00 02 40 05 f4",
		"an optional zero":                   "a3 01 00 02 40 18 18 00",
		"a map of indefinite length":         "bf 01 00 02 40 ff",
		"a string of indefinite length":      "a2 01 00 02 5f 41 01 ff",
		"a list of indefinite length":        "a3 01 00 02 40 04 9f 40 ff",
		"a tag in front":                     "d9 d9 f7 a2 01 00 02 40",
		"a tag inside":                       "a2 01 c1 00 02 40",
		"a big number":                       "a2 01 c2 41 07 02 40",
		"null for a number":                  "a2 01 f6 02 40",
		"null for bytes":                     "a2 01 00 02 f6",
		"null for an element":                "a3 01 00 02 40 04 81 f6",
		"null for everything":                "f6",
		"undefined for bytes":                "a2 01 00 02 f7",
		"a float for a number":               "a2 01 f9 3c 00 02 40",
		"a negative number":                  "a2 01 20 02 40",
		"text for bytes":                     "a2 01 00 02 61 61",
		"bytes for text":                     "a3 01 00 02 40 03 41 61",
		"a list for bytes":                   "a2 01 00 02 82 01 02",
		"text that is no UTF-8":              "a3 01 00 02 40 03 61 ff",
		"a number above the field's":         "a3 01 00 02 40 18 18 19 01 00",
		"a boolean in two bytes":             "a3 01 00 02 40 05 f8 15",
		"a simple value":                     "a3 01 00 02 40 05 e0",
		"a list for the map":                 "82 00 40",
		"a pair of one":                      "a3 01 00 02 40 06 81 81 41 09",
		"a pair of three":                    "a3 01 00 02 40 06 81 83 41 09 01 01",
		"a pair as a map":                    "a3 01 00 02 40 06 81 a1 01 41 09",
		"a list that claims 2^32 elements":   "a3 01 00 02 40 04 9a ff ff ff ff 40",
		"a string that claims 2^63 bytes":    "a2 01 00 02 5b 7f ff ff ff ff ff ff ff",
		"a map that claims 2^63 pairs":       "bb 7f ff ff ff ff ff ff ff 01 00",
		"lists in lists in lists":            "a3 01 00 02 40 04 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 80",
		"a reserved head":                    "a2 01 1c 02 40",
		"a break without a beginning":        "ff",
		"the same map, floats for its keys":  "a2 f9 3c 00 00 f9 40 00 40",
		"a half-written multi-byte key head": "a2 01 00 19 01",
	} {
		var v sample
		if err := Unmarshal(unhex(t, text), 1000, &v); !errors.Is(err, ErrForm) {
			t.Errorf("%s: got %v, %+v, want %v", name, err, v, ErrForm)
		}
	}
}

func TestUnmarshalLimit(t *testing.T) {
	b, err := Marshal(sample{Bytes: make([]byte, 100)})
	if err != nil {
		t.Fatal(err)
	}
	var v sample
	if err := Unmarshal(b, len(b)-1, &v); !errors.Is(err, ErrSize) || !reflect.DeepEqual(v, sample{}) {
		t.Errorf("beyond the limit: got %v, %+v", err, v)
	}
	if err := Unmarshal(b, len(b), &v); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if err := Unmarshal(nil, -1, &v); !errors.Is(err, ErrSize) {
		t.Errorf("a negative limit: %v", err)
	}
}

func TestUnmarshalSharesNothing(t *testing.T) {
	b, err := Marshal(sample{Bytes: []byte("abc"), List: [][]byte{[]byte("def")}, Pairs: []samplePair{{Addr: []byte("ghi")}}})
	if err != nil {
		t.Fatal(err)
	}
	var v sample
	if err := Unmarshal(b, 100, &v); err != nil {
		t.Fatal(err)
	}
	clear(b)
	if got := fmt.Sprintf("%s %s %s", v.Bytes, v.List, v.Pairs[0].Addr); got != "abc [def] ghi" {
		t.Errorf("after the input was overwritten: %q", got)
	}
}

func TestMarshalRefusesWhatHasNoForm(t *testing.T) {
	if b, err := Marshal(func() {}); err == nil {
		t.Errorf("a function is %x", b)
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, v := range []sample{{}, {7, []byte{0xff}, "ab", [][]byte{{}, {1}}, true, []samplePair{{Addr: []byte{9}, Port: 65535}}, 1, 2}} {
		b, err := Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v sample
		if err := Unmarshal(b, 1000, &v); err != nil {
			if !errors.Is(err, ErrForm) && !errors.Is(err, ErrSize) {
				t.Errorf("an error that nobody tells apart: %v", err)
			}
			return
		}
		if again, err := Marshal(v); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x is written again as %x, %v", b, again, err)
		}
	})
}
