package main

import (
	"strings"
	"testing"
	"time"

	"warren/mesh/control"
)

func TestMillis(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0.0 ms"},
		{449 * time.Microsecond, "0.4 ms"},
		{12345 * time.Microsecond, "12.3 ms"},
		{140_400 * time.Microsecond, "140 ms"},
	} {
		if got := millis(control.Millis(test.d)); got != test.want {
			t.Errorf("%v: got %q, want %q", test.d, got, test.want)
		}
	}
	if got := millis(nil); got != "-" {
		t.Errorf("unknown: got %q, want -", got)
	}
}

func TestSize(t *testing.T) {
	for _, test := range []struct {
		n    uint64
		want string
	}{
		{0, "0 B"},
		{1023, "1023 B"},
		{1024, "1.0 KiB"},
		{10 << 10, "10 KiB"},
		{1023 << 10, "1.0 MiB"},
		{5 << 30, "5.0 GiB"},
		{1<<64 - 1, "16 EiB"},
	} {
		if got := size(test.n); got != test.want {
			t.Errorf("%d: got %q, want %q", test.n, got, test.want)
		}
	}
}

func TestClean(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"plain, ünïcode", "plain, ünïcode"},
		{"\x1b[31mred\a", "\uFFFD[31mred\uFFFD"},
		{"a\nb", "a\uFFFDb"},
		{"a\u202eb", "a\uFFFDb"}, // turns the direction of writing
	} {
		if got := clean(test.in); got != test.want {
			t.Errorf("%q: got %q, want %q", test.in, got, test.want)
		}
	}
	if got, want := cleanLines(" a\n\tb\x1b\n"), "a\n    b\uFFFD"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPrintTable(t *testing.T) {
	var b strings.Builder
	if err := printTable(&b, [][]string{{"A", "LONG", "C"}, {"ü1", "b", ""}, {"a", "bbbbb", "cccccccc"}}); err != nil {
		t.Fatal(err)
	}
	want := "A   LONG   C\nü1  b\na   bbbbb  cccccccc\n"
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
