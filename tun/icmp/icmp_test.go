package icmp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	a4, b4 = netip.MustParseAddr("100.90.1.2"), netip.MustParseAddr("100.90.1.3")
	a6, b6 = netip.MustParseAddr("fd01:2:3::a"), netip.MustParseAddr("fd01:2:3::b")
)

func equal(a, b Echo) string {
	return cmp.Diff(a, b, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmpopts.EquateEmpty())
}

func TestEchoBytes(t *testing.T) {
	tests := []struct {
		name string
		echo Echo
		want string
	}{
		{
			"ipv4 request",
			Echo{Src: a4, Dst: b4, ID: 0x1234, Seq: 1, Payload: []byte("hi")},
			"4500001e0000000040010000645a0102645a0103" + "0800000012340001" + "6869",
		},
		{
			"ipv6 reply",
			Echo{Src: a6, Dst: b6, Reply: true, ID: 0x1234, Seq: 1, Payload: []byte("hi!")},
			"60000000000b3a40fd01000200030000000000000000000afd01000200030000000000000000000b" + "8100000012340001" + "686921",
		},
	}
	for _, tt := range tests {
		got := AppendEcho([]byte("before"), tt.echo)[len("before"):]
		parsed, ok := ParseEcho(got)
		if diff := equal(tt.echo, parsed); !ok || diff != "" {
			t.Errorf("%s: ParseEcho(%x) = %v, diff %s", tt.name, got, ok, diff)
		}
		// Layout without the sums, which ParseEcho and the kernel check.
		blank := bytes.Clone(got)
		message := ipv6Header
		if tt.echo.Dst.Is4() {
			message = ipv4Header
			if sum := checksum(got[:ipv4Header], 0); sum != 0 {
				t.Errorf("%s: header sum is off by %x", tt.name, sum)
			}
			blank[10], blank[11] = 0, 0
		}
		blank[message+2], blank[message+3] = 0, 0
		if got := hex.EncodeToString(blank); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestChecksum has the example of RFC 1071 section 3.
func TestChecksum(t *testing.T) {
	got := checksum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}, 0)
	if want := ^uint16(0xddf2); got != want {
		t.Errorf("got %#x, want %#x", got, want)
	}
}

func TestParseEchoRefuses(t *testing.T) {
	v4 := AppendEcho(nil, Echo{Src: a4, Dst: b4, ID: 7, Seq: 8, Payload: []byte("payload")})
	v6 := AppendEcho(nil, Echo{Src: a6, Dst: b6, ID: 7, Seq: 8, Payload: []byte("payload")})
	change := func(b []byte, at int, to byte) []byte {
		c := bytes.Clone(b)
		c[at] = to
		return c
	}
	tests := map[string][]byte{
		"empty":              nil,
		"ipv4 cut":           v4[:len(v4)-1],
		"ipv4 head cut":      v4[:19],
		"ipv4 udp":           change(v4, 9, 17),
		"ipv4 fragment":      change(v4, 6, 0x20),
		"ipv4 header short":  change(v4, 0, 0x44),
		"ipv4 header long":   change(v4, 0, 0x4f),
		"ipv4 bad sum":       change(v4, 22, v4[22]+1),
		"ipv4 length of 0":   change(change(v4, 2, 0), 3, 0),
		"ipv4 timestamp":     change(v4, 20, 13),
		"ipv6 cut":           v6[:len(v6)-1],
		"ipv6 hop-by-hop":    change(v6, 6, 0),
		"ipv6 bad sum":       change(v6, 42, v6[42]+1),
		"ipv6 length beyond": change(v6, 5, v6[5]+1),
		"version 5":          change(v4, 0, 0x55),
	}
	for name, b := range tests {
		if e, ok := ParseEcho(b); ok {
			t.Errorf("%s: ParseEcho(%x) = %+v, want refused", name, b, e)
		}
	}
}

func udp(src, dst netip.Addr, size int) []byte {
	b := AppendEcho(nil, Echo{Src: src, Dst: dst, Payload: make([]byte, size)})
	if dst.Is4() {
		b[9] = 17
	} else {
		b[6] = 17
	}
	return b
}

func TestUnreachable(t *testing.T) {
	fragment := udp(a4, b4, 100)
	binary.BigEndian.PutUint16(fragment[6:], 5)
	chatter := refusal(a4, b4)
	tests := []struct {
		name   string
		packet []byte
		want   int // size of the answer
	}{
		{"ipv4", udp(a4, b4, 100), 28 + 128},
		{"ipv4 large", udp(a4, b4, 1200), 576},
		{"ipv6", udp(a6, b6, 100), 48 + 148},
		{"ipv6 large", udp(a6, b6, 1400), 1280},
		{"echo request", AppendEcho(nil, Echo{Src: a6, Dst: b6}), 48 + 48},
		{"echo reply", AppendEcho(nil, Echo{Src: a6, Dst: b6, Reply: true}), 0},
		{"error", chatter, 0},
		{"later fragment", fragment, 0},
		{"multicast", udp(a6, netip.MustParseAddr("ff02::16"), 10), 0},
		{"link-local", udp(netip.MustParseAddr("fe80::1"), b6, 10), 0},
		{"broadcast", udp(a4, netip.MustParseAddr("255.255.255.255"), 10), 0},
		{"from nowhere", udp(netip.IPv4Unspecified(), b4, 10), 0},
		{"no ip", []byte("hello"), 0},
	}
	for _, tt := range tests {
		got, ok := AppendUnreachable(nil, tt.packet)
		if ok != (tt.want > 0) || len(got) != tt.want {
			t.Errorf("%s: got %d bytes and %v, want %d", tt.name, len(got), ok, tt.want)
		}
		if ok {
			checkAnswer(t, tt.packet, got)
		}
	}
}

// refusal is an "unreachable" from src to dst.
func refusal(src, dst netip.Addr) []byte {
	b, _ := AppendUnreachable(nil, udp(dst, src, 10))
	return b
}

func checkAnswer(t *testing.T, packet, answer []byte) {
	t.Helper()
	dst, _ := Destination(packet)
	got, ok := Destination(answer)
	if !ok || got != Source(packet) || Source(answer) != dst || len(answer) > MaxAnswer {
		t.Errorf("answer to %x is %x", packet, answer)
	}
	message, ok := icmpMessage(answer)
	if !ok {
		t.Fatalf("answer to %x is no ICMP: %x", packet, answer)
	}
	var sum uint32
	if dst.Is6() {
		sum = pseudo(dst, Source(packet), len(message))
	}
	if checksum(message, sum) != 0 || !bytes.HasPrefix(packet, message[icmpHeader:]) {
		t.Errorf("answer to %x has a wrong sum or quote: %x", packet, answer)
	}
}

// FuzzPacket holds that what is parsed is written again as the same echo, and that an answer goes back to
// where the packet came from.
func FuzzPacket(f *testing.F) {
	f.Add(AppendEcho(nil, Echo{Src: a4, Dst: b4, ID: 1, Seq: 2, Payload: []byte("0123456789abcdef")}))
	f.Add(AppendEcho(nil, Echo{Src: a6, Dst: b6, Reply: true, ID: 1, Seq: 2, Payload: []byte("0123456789abcdef")}))
	f.Add(udp(a4, b4, 600))
	f.Add(udp(a6, b6, 1300))
	f.Add(refusal(a4, b4))
	f.Add([]byte{0x45})
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, ok := ParseEcho(b); ok {
			written := AppendEcho(nil, e)
			again, ok := ParseEcho(written)
			if diff := equal(e, again); !ok || diff != "" {
				t.Errorf("%x written as %x: %s", b, written, diff)
			}
		}
		if answer, ok := AppendUnreachable(nil, b); ok {
			checkAnswer(t, b, answer)
		}
	})
}
