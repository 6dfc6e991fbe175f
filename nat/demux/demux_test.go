package demux

import (
	"net/netip"
	"slices"
	"testing"

	"warren/nat/stun"
)

func TestClassify(t *testing.T) {
	check := stun.Request([12]byte{1, 2, 3}, stun.User([32]byte{}, [12]byte{1, 2, 3}, [32]byte{9}), [32]byte{7})
	answer := stun.Response([12]byte{1}, netip.MustParseAddrPort("192.0.2.1:7"), [32]byte{7})
	with := func(n int, head ...byte) []byte { return append(head, make([]byte, n-len(head))...) }
	for _, c := range []struct {
		name string
		in   []byte
		want Class
	}{
		{"empty", nil, Unknown},
		{"zero", []byte{0}, Unknown},
		{"initiation", wg(t, 1), WireGuard},
		{"response", wg(t, 2), WireGuard},
		{"cookie", wg(t, 3), WireGuard},
		{"keepalive", wg(t, 4), WireGuard},
		{"transport of no multiple of 16", with(47, 4), WireGuard},
		{"short initiation", wg(t, 1)[:147], Unknown},
		{"short transport", wg(t, 4)[:31], Unknown},
		{"type 5", with(200, 5), Unknown},
		{"reserved bytes", with(200, 4, 0, 1), Unknown},
		{"transport whose nonce is the cookie", with(64, 4, 0, 0, 0, 0x21, 0x12, 0xa4, 0x42), WireGuard},
		{"check", check, STUN},
		{"answer", answer, STUN},
		{"cut check", check[:len(check)-1], Unknown},
		{"check and more", append(slices.Clip(check), 0, 0, 0, 0), Unknown},
		{"cookie alone", with(8, 0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42), Unknown},
		{"bad length", with(23, 0, 1, 0, 3, 0x21, 0x12, 0xa4, 0x42), Unknown},
		{"QUIC short", []byte{0x40}, QUIC},
		{"QUIC long", []byte{0xc3, 0, 0, 0, 1}, QUIC},
		{"relay", with(8, 0x80, 1), Relay},
		{"cut relay", with(7, 0x80, 1), Unknown},
	} {
		if got := Classify(c.in); got != c.want {
			t.Errorf("%s: Classify(%x) = %v, want %v", c.name, c.in, got, c.want)
		}
	}
}

// FuzzClassify holds that the classes follow the first two bits as they must, and that nothing shorter than the least
// message of a class passes for it.
func FuzzClassify(f *testing.F) {
	for typ := byte(1); typ <= 4; typ++ {
		f.Add(wg(f, typ))
	}
	f.Add(stun.Response([12]byte{1}, netip.MustParseAddrPort("192.0.2.1:7"), [32]byte{7}))
	f.Add([]byte{0xc0})
	f.Add([]byte{0x80, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		class := Classify(b)
		bits := byte(0)
		if len(b) > 0 {
			bits = b[0] >> 6
		}
		ok := true
		switch class {
		case WireGuard:
			ok = bits == 0 && len(b) >= SizeTransport && b[0] >= 1 && b[0] <= 4
		case STUN:
			ok = bits == 0 && len(b) >= SizeSTUN && len(b)%4 == 0
		case QUIC:
			ok = bits&1 == 1
		case Relay:
			ok = bits == 2 && len(b) >= SizeRelay
		case Unknown:
			ok = bits&1 == 0
		}
		if !ok {
			t.Errorf("Classify(%x) = %v", b, class)
		}
		if m, err := stun.Parse(b); err == nil && class != STUN {
			t.Errorf("Classify(%x) = %v, but it parses as STUN %v", b, class, m.Kind)
		}
	})
}

// wg returns a message of WireGuard's type typ and its least size.
func wg(t testing.TB, typ byte) []byte {
	t.Helper()
	size := map[byte]int{TypeInitiation: SizeInitiation, TypeResponse: SizeResponse, TypeCookie: SizeCookie, TypeTransport: SizeTransport}[typ]
	b := make([]byte, size)
	b[0] = typ
	return b
}
