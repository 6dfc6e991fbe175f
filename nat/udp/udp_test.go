package udp

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

func TestOpen(t *testing.T) {
	socks, port, err := Open(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range socks {
		if s.Local().Port() != port || !s.Local().Addr().IsUnspecified() {
			t.Errorf("bound to %v, want port %d everywhere", s.Local(), port)
		}
	}
	if len(socks) == 2 && socks[0].Local().Addr().Is4() == socks[1].Local().Addr().Is4() {
		t.Errorf("two sockets of one family: %v and %v", socks[0].Local(), socks[1].Local())
	}
	if _, _, err := Open(port, 0); !errors.Is(err, ErrPortInUse) {
		t.Errorf("opening %d twice: %v, want ErrPortInUse", port, err)
	}
	for _, s := range socks {
		loopback := netip.IPv6Loopback()
		if s.Local().Addr().Is4() {
			loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		to := netip.AddrPortFrom(loopback, port)
		// One write, so that segmentation offload may make one packet of it.
		if err := s.WriteBatch(netip.AddrPort{}, to, [][]byte{make([]byte, 100, 1000), make([]byte, 100), {7}}); err != nil {
			t.Logf("no %v here: %v", loopback, err)
			continue
		}
		var got []int
		bufs, sizes, from := make([][]byte, 128), make([]int, 128), make([]Flow, 128)
		for i := range bufs {
			bufs[i] = make([]byte, 65535)
		}
		for len(got) < 3 {
			n, err := s.ReadBatch(bufs, sizes, from)
			if err != nil {
				t.Fatal(err)
			}
			for i, size := range sizes[:n] {
				if size > 0 {
					got = append(got, size)
					if from[i] != (Flow{Remote: to}) {
						t.Errorf("from %v, want %v", from[i], to)
					}
				}
			}
		}
		if got[0] != 100 || got[1] != 100 || got[2] != 1 {
			t.Errorf("sizes %v", got)
		}
	}
	if err := socks[0].Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := socks[0].ReadBatch(make([][]byte, 128), make([]int, 128), make([]Flow, 128)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
	again, got, err := Open(port, 0)
	if err != nil || got != port {
		t.Errorf("opening %d again: %d, %v", port, got, err)
	} else {
		_ = again[0].Close()
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1:5":          "192.0.2.1:5",
		"[::ffff:192.0.2.1]:5": "192.0.2.1:5",
		"[fe80::1%eth0]:5":     "[fe80::1]:5",
		"[2001:db8::1]:5":      "[2001:db8::1]:5",
	} {
		if got := Plain(netip.MustParseAddrPort(in)); got != netip.MustParseAddrPort(want) {
			t.Errorf("Plain(%s) = %v, want %s", in, got, want)
		}
	}
}
