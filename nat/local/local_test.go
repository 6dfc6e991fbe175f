package local

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"warren/keys"
)

func ips(s ...string) (out []netip.Addr) {
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func texts(v *View) (out []string) {
	for _, c := range v.Candidates {
		out = append(out, c.Kind.String()+" "+c.Addr.String())
	}
	return out
}

func finder(hosts ...string) *Finder {
	f := New()
	f.Port = 7
	f.Overlay = []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10")}
	f.SetHosts(ips(hosts...))
	return f
}

func TestCandidates(t *testing.T) {
	now := time.Unix(0, 0)
	f := finder("192.168.1.2", "100.90.0.1", "fe80::1", "224.0.0.1", "2001:db8::2", "::ffff:192.168.1.2", "0.0.0.0")
	f.Saw(netip.MustParseAddr("198.51.100.9"), netip.MustParseAddrPort("203.0.113.1:4000"), now)
	f.Saw(netip.MustParseAddr("198.51.100.8"), netip.MustParseAddrPort("203.0.113.1:4000"), now)
	f.Saw(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddrPort("203.0.113.2:1"), now)      // no reflector of the Internet
	f.Saw(netip.MustParseAddr("198.51.100.7"), netip.MustParseAddrPort("10.9.9.9:1"), now)     // no address of it
	f.Saw(netip.MustParseAddr("2001:db8::9"), netip.MustParseAddrPort("[2001:db8::2]:7"), now) // no NAT
	want := []string{"host 192.168.1.2:7", "host [2001:db8::2]:7", "server-reflexive 203.0.113.1:4000"}
	if got := texts(f.View(now)); !slices.Equal(got, want) {
		t.Errorf("candidates %q, want %q", got, want)
	}
	if got := texts(f.View(now.Add(time.Hour))); !slices.Equal(got, want[:2]) {
		t.Errorf("an hour later %q, want %q", got, want[:2])
	}
	if f.SetHosts(ips("2001:db8::2", "192.168.1.2", "fe80::1", "224.0.0.1", "100.90.0.1", "0.0.0.0")) {
		t.Error("the same addresses in another order are called a change")
	}
}

// However many interfaces and reflectors there are, a record can hold the candidates.
func TestCandidatesAreBounded(t *testing.T) {
	f, now := New(), time.Unix(0, 0)
	var many []netip.Addr
	for i := range byte(100) {
		many = append(many, netip.AddrFrom4([4]byte{192, 168, 0, i}))
		f.Saw(netip.AddrFrom4([4]byte{198, 51, 100, i}), netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, i}), 9), now)
	}
	f.SetHosts(many)
	v := f.View(now)
	if got := len(v.Candidates); got > keys.MaxCandidates || got != maxHosts+maxReflexive {
		t.Errorf("%d candidates", got)
	}
	if v.NAT.Mapping != keys.AddressAndPortDependent {
		t.Errorf("mapping %v", v.NAT.Mapping)
	}
}

func TestMapping(t *testing.T) {
	type saw struct {
		remote, mapped string
		after          time.Duration
	}
	for _, c := range []struct {
		name string
		saw  []saw
		want keys.NATBehaviour
	}{
		{"nobody", nil, keys.BehaviourUnknown},
		{"one", []saw{{"198.51.100.1", "203.0.113.1:5", 0}}, keys.BehaviourUnknown},
		{"one twice", []saw{{"198.51.100.1", "203.0.113.1:5", 0}, {"198.51.100.1", "203.0.113.1:6", 0}}, keys.BehaviourUnknown},
		{"equal", []saw{{"198.51.100.1", "203.0.113.1:5", 0}, {"198.51.100.2", "203.0.113.1:5", 9}}, keys.EndpointIndependent},
		{"differing", []saw{{"198.51.100.1", "203.0.113.1:5", 0}, {"198.51.100.2", "203.0.113.1:6", 9}}, keys.AddressAndPortDependent},
		{"of two families", []saw{{"198.51.100.1", "203.0.113.1:5", 0}, {"2001:db8::1", "[2001:db8::9]:6", 9}}, keys.BehaviourUnknown},
		{"rebound in between", []saw{{"198.51.100.1", "203.0.113.1:5", 0}, {"198.51.100.2", "203.0.113.1:6", 2 * time.Minute}}, keys.BehaviourUnknown},
	} {
		f, now := New(), time.Unix(0, 0)
		for _, s := range c.saw {
			now = now.Add(s.after)
			f.Saw(netip.MustParseAddr(s.remote), netip.MustParseAddrPort(s.mapped), now)
		}
		if got := f.View(now).NAT.Mapping; got != c.want {
			t.Errorf("%s: mapping %v, want %v", c.name, got, c.want)
		}
	}
}

func TestReachable(t *testing.T) {
	now := time.Unix(0, 0)
	far, near := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("192.168.1.9")
	for _, c := range []struct {
		name string
		do   func(f *Finder)
		want bool
	}{
		{"from the LAN", func(f *Finder) { f.Asked(near, now) }, false},
		{"after we sent", func(f *Finder) { f.Sent(far, now); f.Asked(far, now.Add(time.Minute)) }, false},
		{"long after", func(f *Finder) { f.Sent(far, now); f.Asked(far, now.Add(time.Hour)) }, true},
		{"unasked", func(f *Finder) { f.Asked(far, now) }, true},
		{"before a change of network", func(f *Finder) { f.Asked(far, now); f.Reset() }, false},
	} {
		f := New()
		c.do(f)
		if got := f.View(now).NAT.Reachable; got != c.want {
			t.Errorf("%s: reachable %v, want %v", c.name, got, c.want)
		}
	}
	f := New()
	for i := range maxSentTo * 2 {
		f.Sent(netip.AddrFrom4([4]byte{1, 2, byte(i >> 8), byte(i)}), now)
	}
	if len(f.sentTo) > maxSentTo {
		t.Errorf("%d addresses remembered", len(f.sentTo))
	}
}

func TestUsable(t *testing.T) {
	f := finder("192.168.1.2")
	for a, want := range map[string]bool{
		"192.168.1.3:7":     true,
		"192.168.1.2:8":     true,
		"192.168.1.2:7":     false, // this host
		"100.90.0.3:7":      false, // inside the overlay
		"127.0.0.1:7":       false,
		"224.0.0.5:7":       false,
		"255.255.255.255:7": false,
		"0.0.0.0:7":         false,
		"198.51.100.1:0":    false,
		"[fe80::3]:7":       false,
		"[2001:db8::3]:7":   true,
	} {
		if got := f.Usable(netip.MustParseAddrPort(a)); got != want {
			t.Errorf("Usable(%s) = %v, want %v", a, got, want)
		}
	}
}

func TestReason(t *testing.T) {
	const hard, soft = keys.AddressAndPortDependent, keys.EndpointIndependent
	one := []keys.Candidate{{Kind: keys.ServerReflexive, Addr: netip.MustParseAddrPort("203.0.113.1:5")}}
	public := []keys.Candidate{{Kind: keys.Host, Addr: netip.MustParseAddrPort("203.0.113.1:5")}}
	for _, c := range []struct {
		here       NAT
		there      keys.NAT
		candidates []keys.Candidate
		want       string
	}{
		{NAT{}, keys.NAT{}, nil, "no candidate of b is known"},
		{NAT{Mapping: hard}, keys.NAT{Mapping: hard}, one, "symmetric NAT at both ends: needs a relay"},
		{NAT{Mapping: hard}, keys.NAT{Mapping: soft}, one, "the NAT here maps address-and-port-dependent and b's filters: needs a relay"},
		{NAT{Mapping: soft}, keys.NAT{Mapping: hard}, one, "b's NAT maps address-and-port-dependent and the one here filters: needs a relay"},
		{NAT{Mapping: hard}, keys.NAT{}, public, "no answer from the one address of b"},
		{NAT{Mapping: soft}, keys.NAT{Mapping: soft}, append(one, public...), "no answer from any of b's 2 addresses"},
	} {
		if got := Reason(c.here, "b", c.there, c.candidates); got != c.want {
			t.Errorf("here %v, there %v: %q, want %q", c.here, c.there, got, c.want)
		}
	}
}

func TestHosts(t *testing.T) {
	for _, a := range Hosts() {
		if a.IsLoopback() || a.IsLinkLocalUnicast() || a.Is4In6() {
			t.Errorf("%v is a host address", a)
		}
	}
}
