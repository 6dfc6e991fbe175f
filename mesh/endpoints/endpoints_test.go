package endpoints

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"warren/keys"
	"warren/mesh/control"
)

func TestPublic(t *testing.T) {
	for addr, want := range map[string]bool{
		"198.51.100.7":        true, // documentation
		"192.0.2.1":           true,
		"203.0.113.255":       true,
		"2001:db8::1":         true,
		"8.8.8.8":             true,
		"2a00:1450::1":        true,
		"::ffff:198.51.100.7": true,
		"10.1.2.3":            false,
		"172.16.0.1":          false,
		"172.32.0.1":          true,
		"192.168.1.1":         false,
		"100.64.0.1":          false, // carriers' NATs
		"100.127.255.255":     false,
		"100.128.0.1":         true,
		"::ffff:100.64.0.1":   false,
		"::ffff:192.168.1.1":  false,
		"127.0.0.1":           false,
		"169.254.1.1":         false,
		"0.0.0.0":             false,
		"0.1.2.3":             false,
		"224.0.0.1":           false,
		"240.0.0.1":           false,
		"255.255.255.255":     false,
		"::":                  false,
		"::1":                 false,
		"fe80::1":             false,
		"fec0::1":             false, // site-local, deprecated
		"fd12:3456::1":        false,
		"ff02::1":             false,
		"64:ff9b::c633:6407":  false, // NAT64
		"fe80::1%eth0":        false,
	} {
		if got := Public(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Public(%s) = %v, want %v", addr, got, want)
		}
	}
	if Public(netip.Addr{}) {
		t.Error("the zero address is public")
	}
}

func ports(texts ...string) (all []netip.AddrPort) {
	for _, s := range texts {
		all = append(all, netip.MustParseAddrPort(s))
	}
	return all
}

func TestOutside(t *testing.T) {
	var all []keys.Candidate
	add := func(kind keys.CandidateKind, addr string) {
		all = append(all, keys.Candidate{Kind: kind, Addr: netip.MustParseAddrPort(addr)})
	}
	add(keys.Host, "192.168.1.2:1")
	add(keys.Host, "198.51.100.7:2")
	add(keys.ServerReflexive, "203.0.113.9:3")
	add(keys.Mapped, "10.0.0.1:4") // advertised by a person, who knows
	add(keys.Relayed, "203.0.113.10:5")
	add(keys.Host, "[fd00::1]:6")
	want := ports("198.51.100.7:2", "203.0.113.9:3", "10.0.0.1:4")
	if got := Outside(all); !slices.Equal(got, want) {
		t.Errorf("Outside = %v, want %v", got, want)
	}
}

func TestFit(t *testing.T) {
	for name, tt := range map[string]struct{ all, want []netip.AddrPort }{
		"none":              {nil, nil},
		"one":               {ports("192.0.2.1:1"), ports("192.0.2.1:1")},
		"IPv4 alone":        {ports("192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "192.0.2.4:1"), ports("192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1")},
		"a place for IPv6":  {ports("192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "[2001:db8::1]:1", "[2001:db8::2]:1"), ports("192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1")},
		"IPv4 first":        {ports("[2001:db8::1]:1", "[2001:db8::2]:1", "192.0.2.1:1"), ports("192.0.2.1:1", "[2001:db8::1]:1", "[2001:db8::2]:1")},
		"IPv6 alone":        {ports("[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1"), ports("[2001:db8::1]:1", "[2001:db8::2]:1")},
		"repeated":          {ports("192.0.2.1:1", "192.0.2.1:1", "192.0.2.1:2"), ports("192.0.2.1:1", "192.0.2.1:2")},
		"IPv4 as IPv6":      {ports("[::ffff:192.0.2.1]:1", "192.0.2.1:1"), ports("192.0.2.1:1")},
		"nothing one sends": {ports("0.0.0.0:1", "224.0.0.1:1", "192.0.2.1:0", "[fe80::1%eth0]:1", "192.0.2.9:1"), ports("192.0.2.9:1")},
	} {
		got := Fit(tt.all)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: Fit(%v) = %v, want %v", name, tt.all, got, tt.want)
		}
		code := keys.JoinCode{Endpoints: got}
		read, err := keys.ParseJoinCode(code.String())
		if err != nil || !slices.Equal(read.Endpoints, got) {
			t.Errorf("%s: a join code holds %v of %v, %v", name, read.Endpoints, got, err)
		}
	}
}

func TestResolve(t *testing.T) {
	texts := []string{"192.0.2.1:41641", "[2001:db8::1]:1", "[::ffff:192.0.2.2]:65535"}
	got, err := Resolve(t.Context(), texts)
	if want := ports("192.0.2.1:41641", "[2001:db8::1]:1", "192.0.2.2:65535"); err != nil || !slices.Equal(got, want) {
		t.Errorf("Resolve = %v, %v; want %v", got, err, want)
	}
	if got, err := Resolve(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("Resolve of nothing = %v, %v", got, err)
	}
}

func TestResolveRefuses(t *testing.T) {
	for _, text := range []string{
		"", "host", "192.0.2.1", ":41641", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:-1", "192.0.2.1:ssh",
		"2001:db8::1:41641", "[2001:db8::1]", "a:b:c", "0.0.0.0:1", "[::]:1", "224.0.0.1:1", "255.255.255.255:1",
		"[fe80::1%lo]:1", "[2001:db8::1]x:1", strings.Repeat("x", 1<<16),
	} {
		got, err := Resolve(t.Context(), []string{"192.0.2.1:1", text})
		e, ok := errors.AsType[*control.Error](err)
		if !ok || e.Exit != control.ExitUsage || e.Hint == "" || len(e.Message) > 1000 && len(text) < 1000 {
			t.Errorf("Resolve(%.40q) = %v, %v; want a usage error with a hint", text, got, err)
		}
	}
	// A name that nobody can look up is no mistake in writing.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Resolve(ctx, []string{"nobody.invalid:1"})
	if e, ok := errors.AsType[*control.Error](err); !ok || e.Exit != control.ExitFailed {
		t.Errorf("a name that is not found: %v, want exit code %d", err, control.ExitFailed)
	}
}

func TestLeftOut(t *testing.T) {
	var given []netip.AddrPort
	for _, text := range []string{"198.51.100.1:1", "198.51.100.2:1", "198.51.100.3:1", "198.51.100.4:1"} {
		given = append(given, netip.MustParseAddrPort(text))
	}
	if got := LeftOut(given[:3], Fit(given[:3])); len(got) != 0 {
		t.Errorf("three fit, got %+v", got)
	}
	if got := LeftOut(given, Fit(given)); len(got) != 1 || !strings.HasSuffix(got[0].Text, "it does not name 198.51.100.4:1") {
		t.Errorf("of four: got %+v", got)
	}
}
