package nat

import (
	"testing"

	"warren/nat/stun"
)

func TestClassify(t *testing.T) {
	check := stun.Request([12]byte{1, 2, 3}, stun.User([32]byte{}, [12]byte{1, 2, 3}, [32]byte{9}), [32]byte{7})
	answer := stun.Response([12]byte{1}, addr("192.0.2.1:7"), [32]byte{7})
	with := func(n int, head ...byte) []byte { return append(head, make([]byte, n-len(head))...) }
	for _, c := range []struct {
		name string
		in   []byte
		want Class
	}{
		{"empty", nil, ClassUnknown},
		{"zero", []byte{0}, ClassUnknown},
		{"initiation", wg(t, 1), ClassWireGuard},
		{"response", wg(t, 2), ClassWireGuard},
		{"cookie", wg(t, 3), ClassWireGuard},
		{"keepalive", wg(t, 4), ClassWireGuard},
		{"transport of no multiple of 16", with(47, 4), ClassWireGuard},
		{"short initiation", wg(t, 1)[:147], ClassUnknown},
		{"short transport", wg(t, 4)[:31], ClassUnknown},
		{"type 5", with(200, 5), ClassUnknown},
		{"reserved bytes", with(200, 4, 0, 1), ClassUnknown},
		{"transport whose nonce is the cookie", with(64, 4, 0, 0, 0, 0x21, 0x12, 0xa4, 0x42), ClassWireGuard},
		{"check", check, ClassSTUN},
		{"answer", answer, ClassSTUN},
		{"cut check", check[:len(check)-1], ClassUnknown},
		{"check and more", append(check[:len(check):len(check)], 0, 0, 0, 0), ClassUnknown},
		{"cookie alone", with(8, 0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42), ClassUnknown},
		{"bad length", with(23, 0, 1, 0, 3, 0x21, 0x12, 0xa4, 0x42), ClassUnknown},
		{"QUIC short", []byte{0x40}, ClassQUIC},
		{"QUIC long", []byte{0xc3, 0, 0, 0, 1}, ClassQUIC},
		{"relay", with(8, 0x80, 1), ClassRelay},
		{"cut relay", with(7, 0x80, 1), ClassUnknown},
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
	f.Add(stun.Response([12]byte{1}, addr("192.0.2.1:7"), [32]byte{7}))
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
		case ClassWireGuard:
			ok = bits == 0 && len(b) >= sizeTransport && b[0] >= 1 && b[0] <= 4
		case ClassSTUN:
			ok = bits == 0 && len(b) >= sizeSTUN && len(b)%4 == 0
		case ClassQUIC:
			ok = bits&1 == 1
		case ClassRelay:
			ok = bits == 2 && len(b) >= sizeRelay
		case ClassUnknown:
			ok = bits&1 == 0
		}
		if !ok {
			t.Errorf("Classify(%x) = %v", b, class)
		}
		if m, err := stun.Parse(b); err == nil && class != ClassSTUN {
			t.Errorf("Classify(%x) = %v, but it parses as STUN %v", b, class, m.Kind)
		}
	})
}
