package neighbours

import (
	"strings"
	"testing"
	"time"

	"warren/keys/canon"
)

func TestHello(t *testing.T) {
	h := Hello{Run: [8]byte{1, 2, 3}, Release: "1.2.3"}
	got, err := ParseHello(h.Encode(now.Add(90*time.Minute)), now)
	if h.Skew = 90 * time.Minute; err != nil || got != h {
		t.Errorf("ParseHello = %+v, %v; want %+v", got, err, h)
	}
	later, err := canon.Marshal(wireHello{Version: 2, Run: make([]byte, 8), Unix: 0, Release: "9", Extra: []byte("more")})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseHello(later, now); err != nil || got.Release != "9" {
		t.Errorf("a hello of a later version: %+v, %v", got, err)
	}
}

func TestHelloRefuses(t *testing.T) {
	for name, w := range map[string]wireHello{
		"version 0":      {Version: 0, Run: make([]byte, 8)},
		"short run":      {Version: 1, Run: make([]byte, 7)},
		"long run":       {Version: 1, Run: make([]byte, 9)},
		"long release":   {Version: 1, Run: make([]byte, 8), Release: strings.Repeat("a", 65)},
		"escape codes":   {Version: 1, Run: make([]byte, 8), Release: "\x1b[2J"},
		"too much extra": {Version: 1, Run: make([]byte, 8), Extra: make([]byte, maxHello)},
	} {
		b, err := canon.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		if h, err := ParseHello(b, now); err == nil {
			t.Errorf("%s: ParseHello = %+v, want an error", name, h)
		}
	}
}

// TestMedian: which time the members agree on, when some clocks were never set or run ahead.
func TestMedian(t *testing.T) {
	const never, ahead = -56 * 365 * 24 * time.Hour, 365 * 24 * time.Hour
	all := func(time.Duration) bool { return true }
	for name, tt := range map[string]struct {
		skews      []time.Duration
		more       []time.Duration
		believable func(time.Duration) bool
		want       time.Duration
	}{
		"alone":                          {want: 0},
		"all agree":                      {skews: []time.Duration{time.Second, -time.Minute, time.Hour}, want: 0},
		"a little off":                   {skews: []time.Duration{time.Hour, time.Hour, time.Hour}, want: 0},
		"one never set":                  {skews: []time.Duration{never, 0, time.Second}, want: 0},
		"the only neighbour was never":   {skews: []time.Duration{never}, want: 0},
		"we were never set":              {skews: []time.Duration{-never}, want: -never},
		"we were never set, nor another": {skews: []time.Duration{0, -never, -never}, want: -never},
		"one a year ahead, of three":     {skews: []time.Duration{ahead, time.Second}, want: 0},
		"two a year ahead, of four":      {skews: []time.Duration{ahead, ahead, 0}, want: ahead},
		"two a year ahead, of five":      {skews: []time.Duration{ahead, ahead, 0, 0}, want: 0},
		"we are a year ahead":            {skews: []time.Duration{-ahead, -ahead}, want: -ahead},
		"who let us in counts":           {more: []time.Duration{ahead}, want: ahead},
		"the earlier one fits our certificate": {
			skews: []time.Duration{ahead}, believable: func(d time.Duration) bool { return d == 0 }, want: 0,
		},
		"neither fits our certificate": {
			skews: []time.Duration{ahead}, believable: func(time.Duration) bool { return false }, want: ahead,
		},
		"the end of time": {skews: []time.Duration{1<<63 - 1, -1 << 63}, want: 0},
	} {
		t.Run(name, func(t *testing.T) {
			tab := New(node(1), nobody)
			for i, s := range tt.skews {
				if _, err := tab.Add(&wire{peer: node(byte(i + 2))}, Hello{Skew: s}); err != nil {
					t.Fatal(err)
				}
			}
			if tt.believable == nil {
				tt.believable = all
			}
			if got := tab.Median(tt.believable, tt.more...); got != tt.want {
				t.Errorf("Median of %v and %v = %s, want %s", tt.skews, tt.more, got, tt.want)
			}
		})
	}
}

// FuzzHello: what can be read is written back with the same meaning.
func FuzzHello(f *testing.F) {
	f.Add(Hello{Run: [8]byte{1}, Release: "1.0"}.Encode(now))
	f.Add(Hello{Release: ""}.Encode(time.Unix(0, 0)))
	f.Add(Hello{Release: "0.1.0-dev"}.Encode(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := ParseHello(in, now)
		if err != nil {
			return
		}
		if h.Skew.Abs() > 290*365*24*time.Hour {
			return // beyond what a Duration holds
		}
		again, err := ParseHello(h.Encode(now.Add(h.Skew)), now)
		if err != nil || again != h {
			t.Errorf("%x was read as %+v, and again as %+v, %v", in, h, again, err)
		}
	})
}
