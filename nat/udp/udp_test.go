package udp

import (
	"bytes"
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
	for _, s := range socks {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := socks[0].ReadBatch(make([][]byte, 128), make([]int, 128), make([]Flow, 128)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
	again, got, err := Open(port, 0)
	if err != nil || got != port {
		t.Errorf("opening %d again: %d, %v", port, got, err)
	}
	for _, s := range again {
		_ = s.Close()
	}
}

// batch is room for what a read may bring.
type batch struct {
	bufs  [][]byte
	sizes []int
	from  []Flow
}

func newBatch(n int) *batch {
	b := &batch{bufs: make([][]byte, n), sizes: make([]int, n), from: make([]Flow, n)}
	for i := range b.bufs {
		b.bufs[i] = make([]byte, maxDatagram)
	}
	return b
}

// TestRows: whatever the lengths of datagrams, they arrive whole, in order and one by one, with offload and without,
// whether the reader has room for all of them or for three.
func TestRows(t *testing.T) {
	socks, port, err := Open(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, ok := socks[0].(*socket)
	if !ok || !s.local.Addr().Is4() {
		t.Skip("no IPv4 here")
	}
	defer func() {
		for _, s := range socks {
			_ = s.Close()
		}
	}()
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	same := func(n, size int) (all []int) {
		for range n {
			all = append(all, size)
		}
		return all
	}
	for name, lengths := range map[string][]int{
		"one":          {1},
		"equal":        same(128, 1400),
		"many":         same(200, 100),
		"last shorter": append(same(40, 1400), 30),
		"last longer":  append(same(3, 100), 1200),
		"mixed":        {100, 100, 90, 100, 1400, 1400, 1, 1, 2},
		"large":        {60000, 60000, 5000},
	} {
		for _, segments := range []bool{true, false} {
			for _, room := range []int{128, 3} {
				s.segments.Store(segments)
				var bufs [][]byte
				for i, n := range lengths {
					bufs = append(bufs, bytes.Repeat([]byte{byte(i)}, n))
				}
				if err := s.WriteBatch(netip.AddrPort{}, to, bufs); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				b := newBatch(room)
				for i := 0; i < len(lengths); {
					n, err := s.ReadBatch(b.bufs, b.sizes, b.from)
					if err != nil {
						t.Fatal(err)
					}
					for j := range n {
						if got := b.bufs[j][:b.sizes[j]]; !bytes.Equal(got, bufs[i]) || b.from[j].Remote != to {
							t.Fatalf("%s, segments %v, room %d: datagram %d has %d bytes from %v, want %d",
								name, segments, room, i, len(got), b.from[j].Remote, len(bufs[i]))
						}
						i++
					}
				}
			}
		}
	}
}

// TestRefused: what the kernel refuses does not hold up the rest.
func TestRefused(t *testing.T) {
	socks, port, err := Open(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, s := range socks {
			_ = s.Close()
		}
	}()
	loopback := netip.IPv6Loopback()
	if socks[0].Local().Addr().Is4() {
		loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	to := netip.AddrPortFrom(loopback, port)
	bufs := [][]byte{{1}, make([]byte, maxDatagram+1), {3}}
	if err := socks[0].WriteBatch(netip.AddrPort{}, to, bufs); err == nil {
		t.Error("a datagram that is too long was no error")
	}
	b := newBatch(8)
	for _, want := range []byte{1, 3} {
		n, err := socks[0].ReadBatch(b.bufs[:1], b.sizes[:1], b.from[:1])
		if err != nil || n != 1 || b.sizes[0] != 1 || b.bufs[0][0] != want {
			t.Fatalf("%d datagrams, %v, %v; want %d", n, b.bufs[0][:b.sizes[0]], err, want)
		}
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
