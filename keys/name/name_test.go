package name

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

const patternText = "aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq" // 00 01 .. 1f

func TestIDs(t *testing.T) {
	node, network, invite := pattern[NodeID](0), pattern[NetworkID](0), pattern[InviteID](0)
	for _, got := range []string{node.String(), network.String(), invite.String()} {
		if got != patternText {
			t.Errorf("got %q, want %q", got, patternText)
		}
	}
	b, err := json.Marshal(map[string]any{"node": node, "network": network, "invite": invite})
	if want := fmt.Sprintf(`{"invite":%[1]q,"network":%[1]q,"node":%[1]q}`, patternText); err != nil || string(b) != want {
		t.Errorf("got %s, %v, want %s", b, err, want)
	}
	var back struct {
		Node    NodeID    `json:"node"`
		Network NetworkID `json:"network"`
		Invite  InviteID  `json:"invite"`
	}
	if err := json.Unmarshal(b, &back); err != nil || back.Node != node || back.Network != network || back.Invite != invite {
		t.Errorf("got %v, %v", back, err)
	}
	if node.IsZero() || network.IsZero() || invite.IsZero() || !(NodeID{}).IsZero() || !(NetworkID{}).IsZero() || !(InviteID{}).IsZero() {
		t.Error("IsZero is wrong")
	}
	if low, high := pattern[NodeID](0), pattern[NodeID](1); low.Compare(high) != -1 || high.Compare(low) != 1 || low.Compare(low) != 0 {
		t.Error("NodeID.Compare is wrong")
	}
	if low, high := pattern[NetworkID](0), pattern[NetworkID](1); low.Compare(high) != -1 || high.Compare(low) != 1 || low.Compare(low) != 0 {
		t.Error("NetworkID.Compare is wrong")
	}
}

func TestParseID(t *testing.T) {
	for _, good := range []string{patternText, strings.ToUpper(patternText)} {
		n, err := ParseNodeID(good)
		if err != nil || n != pattern[NodeID](0) {
			t.Errorf("%q: got %v, %v", good, n, err)
		}
	}
	for name, bad := range map[string]string{
		"nothing":      "",
		"short":        patternText[:51],
		"shorter":      patternText[:50],
		"long":         patternText + "a",
		"padded":       patternText + "====",
		"blank before": " " + patternText,
		"line break":   patternText[:20] + "\n" + patternText[20:],
		"line behind":  patternText + "\n",
		"no base32":    "1" + patternText[1:],
		"spare bits":   patternText[:51] + "r", // the last 4 bits of q are zero
		"huge":         strings.Repeat("a", 1<<20),
	} {
		_, node := ParseNodeID(bad)
		_, network := ParseNetworkID(bad)
		_, invite := ParseInviteID(bad)
		for _, err := range []error{node, network, invite} {
			if !errors.Is(err, ErrID) {
				t.Errorf("%s: got %v, want %v", name, err, ErrID)
			} else if len(err.Error()) > 200 {
				t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
			}
		}
		var n NodeID
		if err := n.UnmarshalText([]byte(bad)); !errors.Is(err, ErrID) || !n.IsZero() {
			t.Errorf("%s: got %v, %v", name, n, err)
		}
	}
}

func TestOverlayAddresses(t *testing.T) {
	network, node := pattern[NetworkID](0xa0), pattern[NodeID](0x10)
	if got, want := network.ULA().String(), "fda0:a1a2:a3a4::/48"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := node.Addr(network).String(), "fda0:a1a2:a3a4:1011:1213:1415:1617:1819"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestIPv4CandidateGolden(t *testing.T) {
	var b strings.Builder
	for _, in := range []string{"100.64.0.0/10", "10.0.0.0/8", "192.168.7.0/24", "10.1.2.0/30"} {
		for i := range uint32(4) {
			a := IPv4Candidate(pattern[NetworkID](0), pattern[NodeID](0x40), i, netip.MustParsePrefix(in))
			fmt.Fprintf(&b, "%s %d %s\n", in, i, a)
		}
	}
	golden(t, "ipv4.txt", b.String())
}

func TestIPv4CandidateStaysInside(t *testing.T) {
	for _, text := range []string{
		"100.64.0.0/10", "100.100.100.0/24", "100.115.92.0/23", "100.115.92.0/22", "10.9.8.4/30", "203.0.113.0/29",
		"100.100.100.100/30",
	} {
		in := netip.MustParsePrefix(text).Masked()
		seen := map[netip.Addr]bool{}
		for i := range uint32(2000) {
			a := IPv4Candidate(pattern[NetworkID](7), pattern[NodeID](9), i, in)
			if !a.IsValid() {
				continue
			}
			seen[a] = true
			if !in.Contains(a) || a == in.Addr() || !in.Contains(a.Next()) {
				t.Fatalf("%s: candidate %d is %s", in, i, a)
			}
			if a.String() == "100.100.100.100" || netip.MustParsePrefix("100.115.92.0/23").Contains(a) {
				t.Fatalf("%s: candidate %d is %s, which others use", in, i, a)
			}
		}
		if usable := text != "100.115.92.0/23"; usable != (len(seen) > 0) {
			t.Errorf("%s: %d different candidates", in, len(seen))
		}
		if in.Bits() == 30 && text != "100.100.100.100/30" && len(seen) != 2 {
			t.Errorf("%s: %d different candidates, want both hosts", in, len(seen))
		}
	}
	for _, bad := range []netip.Prefix{{}, netip.MustParsePrefix("10.0.0.0/31"), netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("fd00::/48")} {
		if a := IPv4Candidate(NetworkID{}, NodeID{}, 0, bad); a.IsValid() {
			t.Errorf("%s: got %s", bad, a)
		}
	}
}

func TestValidIPRange(t *testing.T) {
	if !ValidIPRange(DefaultIPRange()) || DefaultIPRange().String() != "100.64.0.0/10" {
		t.Errorf("the default is %s", DefaultIPRange())
	}
	for text, want := range map[string]bool{
		"10.0.0.0/8": true, "192.168.1.0/24": true, "10.0.0.4/30": true, "198.18.0.0/15": true,
		"10.0.0.0/7": false, "10.0.0.0/31": false, "10.0.0.1/24": false, "0.0.0.0/8": false, "127.0.0.0/8": false,
		"224.0.0.0/8": false, "240.0.0.0/8": false, "169.254.0.0/16": false, "169.254.3.0/24": false, "169.0.0.0/8": false,
		"fd00::/10": false, "::ffff:10.0.0.0/104": false,
	} {
		if got := ValidIPRange(netip.MustParsePrefix(text)); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
	if ValidIPRange(netip.Prefix{}) {
		t.Error("no prefix is a range")
	}
}

func TestValidName(t *testing.T) {
	long := strings.Repeat("a", 63)
	for s, want := range map[string]bool{
		"a": true, "nas": true, "web-1": true, "1": true, "a1-b2": true, long: true, "a-b--c": true, "ab-c": true,
		"": false, long + "a": false, "-a": false, "a-": false, "a.b": false, "a_b": false, "A": false, "a b": false,
		"a\n": false, "ä": false, "a\x00": false, "xn--abc": false, "ab--c": false, "localhost": false, "wpad": false,
		"isatap": false, "gateway": false, "*": false, "ab--": false,
	} {
		if got := ValidName(s); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	}
	if got, ok := Label(" Nas\n"); got != "nas" || !ok {
		t.Errorf("got %q, %v", got, ok)
	}
	if _, ok := Label("my host"); ok {
		t.Error("a name with a blank inside is taken")
	}
}

func TestMakeLabel(t *testing.T) {
	for in, want := range map[string]string{
		"nas": "nas", "NAS.example.com": "nas", "My MacBook (2)": "my-macbook-2", "": "host", "localhost": "host",
		"localhost.localdomain": "host", "wpad": "wpad-host", "___": "host", "a__b": "a-b", "-a-": "a", "xn--bcher-kva": "xn-bcher-kva",
		"bücher": "b-cher", "..": "host", strings.Repeat("a", 62) + "-bb": strings.Repeat("a", 62),
		strings.Repeat("x", 300): strings.Repeat("x", 63),
	} {
		if got := MakeLabel(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestValidEndpoint(t *testing.T) {
	for text, want := range map[string]bool{
		"192.0.2.1:1": true, "[2001:db8::1]:65535": true, "127.0.0.1:1": true, "10.0.0.1:9": true, "[fe80::1]:9": true,
		"192.0.2.1:0": false, "[fe80::1%eth0]:9": false, "[::ffff:192.0.2.1]:9": false, "0.0.0.0:9": false, "[::]:9": false,
		"224.0.0.251:5353": false, "[ff02::fb]:5353": false, "255.255.255.255:9": false,
	} {
		if got := ValidEndpoint(netip.MustParseAddrPort(text)); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
	if ValidEndpoint(netip.AddrPort{}) {
		t.Error("no address is an endpoint")
	}
}

func FuzzMakeLabel(f *testing.F) {
	for _, s := range []string{"nas.example.com", "My MacBook", "xn--a", "ab--c", "ÄÖ-x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		label := MakeLabel(s)
		if !ValidName(label) {
			t.Errorf("%q becomes %q, which is no name", s, label)
		}
		if again := MakeLabel(label); again != label {
			t.Errorf("%q becomes %q, then %q", s, label, again)
		}
	})
}

func FuzzParseID(f *testing.F) {
	f.Add(patternText)
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseNodeID(s); err == nil && id.String() != strings.ToLower(s) {
			t.Errorf("%q is read as %s", s, id)
		}
	})
}
