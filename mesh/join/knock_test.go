package join

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"warren/keys"
)

// TestKnock: everybody who shows life is asked until one says a no that all others would say too.
func TestKnock(t *testing.T) {
	one, two, three := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2"), netip.MustParseAddrPort("192.0.2.3:3")
	silent := errors.New("silence")
	broken := errors.New("connection lost")
	for _, test := range []struct {
		name    string
		says    map[netip.AddrPort]error // silent: no sign of life
		dialled int
		want    error
	}{
		{"all silent", map[netip.AddrPort]error{one: silent, two: silent, three: silent}, 0, ErrNobody},
		{"no endpoint", nil, 0, ErrNobody},
		{"one breaks", map[netip.AddrPort]error{one: silent, two: broken, three: silent}, 1, broken},
		{"all break", map[netip.AddrPort]error{one: broken, two: broken, three: broken}, 3, broken},
		{"no signer here", map[netip.AddrPort]error{one: &Refusal{Code: CodeNoSigner}, two: &Refusal{Code: CodeNoSigner}}, 2, &Refusal{Code: CodeNoSigner}},
		{"a no", map[netip.AddrPort]error{one: &Refusal{Code: CodeExpired}, two: &Refusal{Code: CodeExpired}}, 1, &Refusal{Code: CodeExpired}},
	} {
		var code keys.JoinCode
		for at := range test.says {
			code.Endpoints = append(code.Endpoints, at)
		}
		dialled := 0
		door := Door{
			Check: func(_ context.Context, _ keys.NetworkID, at netip.AddrPort) (net.Addr, error) {
				if errors.Is(test.says[at], silent) {
					return nil, silent
				}
				return net.UDPAddrFromAddrPort(at), nil
			},
			Dial: func(_ context.Context, addr net.Addr, _ *keys.Identity) (Conn, error) {
				dialled++
				ua, ok := addr.(*net.UDPAddr)
				if !ok {
					t.Fatalf("dialled %v", addr)
				}
				return nil, test.says[ua.AddrPort()]
			},
		}
		_, _, err := Knock(t.Context(), door, code, Applicant{})
		var want, got *Refusal
		if errors.As(test.want, &want) {
			if !errors.As(err, &got) || got.Code != want.Code {
				t.Errorf("%s: %v, want a refusal of code %v", test.name, err, want.Code)
			}
		} else if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if dialled != test.dialled {
			t.Errorf("%s: %d dialled, want %d", test.name, dialled, test.dialled)
		}
	}
}
