package netlab

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"
)

// probe is a UDP socket somewhere in the lab.
type probe struct {
	t    *testing.T
	conn *net.UDPConn
	addr netip.AddrPort
}

func open(t *testing.T, h *Host, port uint16) probe {
	t.Helper()
	conn := must[*net.UDPConn](t)(h.ListenUDP(netip.AddrPortFrom(h.Addr(), port)))
	t.Cleanup(func() { conn.Close() })
	return probe{t, conn, conn.LocalAddr().(*net.UDPAddr).AddrPort()}
}

func (p probe) send(to netip.AddrPort, text string) {
	p.t.Helper()
	if _, err := p.conn.WriteToUDPAddrPort([]byte(text), to); err != nil {
		p.t.Fatalf("send %q to %s: %v", text, to, err)
	}
}

// receive returns the next packet; none within the time is a failure.
func (p probe) receive() (string, netip.AddrPort) {
	p.t.Helper()
	buf := make([]byte, 1500)
	if err := p.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
	n, from, err := p.conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		p.t.Fatalf("%s waited for a packet: %v", p.addr, err)
	}
	return string(buf[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// silent fails if anything has come in.
func (p probe) silent() {
	p.t.Helper()
	buf := make([]byte, 1500)
	if err := p.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		p.t.Fatal(err)
	}
	if n, from, err := p.conn.ReadFromUDPAddrPort(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Errorf("%s got %q from %s, %v; want silence", p.addr, buf[:n], from, err)
	}
}

// seen sends one packet and returns the source that the other side saw.
func (p probe) seen(by probe) netip.AddrPort {
	p.t.Helper()
	p.send(by.addr, "seen as?")
	_, from := by.receive()
	return from
}

// TestMappingAndFiltering measures every kind of router as RFC 5780 would: one socket inside, two addresses with two
// ports each outside.
func TestMappingAndFiltering(t *testing.T) {
	tests := []struct {
		kind      NAT
		endpoints int // different mappings seen by the four reflectors
		preserves bool
		fresh     bool // another mapping after Flush
	}{
		{PortRestricted, 1, true, false},
		{PortRestrictedRemap, 1, false, true},
		{Symmetric, 4, false, true},
		{EarlyPacket, 1, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.kind.String(), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			r1, r2 := must[*Host](t)(l.Public("r1")), must[*Host](t)(l.Public("r2"))
			router := must[*Router](t)(l.Router("home", tt.kind))
			in := open(t, must[*Host](t)(router.Host("in")), 41641)
			a, a2, b, b2 := open(t, r1, 3478), open(t, r1, 3479), open(t, r2, 3478), open(t, r2, 3479)

			// Filtering first, while the mapping knows only one remote endpoint.
			mapped := in.seen(a)
			if mapped.Addr() != router.Addr() {
				t.Fatalf("mapped to %s, want the router's address %s", mapped, router.Addr())
			}
			a2.send(mapped, "same address, other port")
			b.send(mapped, "other address, same port")
			a.send(mapped, "asked for")
			if got, from := in.receive(); got != "asked for" || from != a.addr {
				t.Errorf("first packet inside is %q from %s: filtering is not by address and port", got, from)
			}
			in.silent()

			// Mapping. The unasked packets above are gone from an EarlyPacket router's way by another remote.
			all := []netip.AddrPort{mapped, in.seen(b2)}
			if tt.kind != EarlyPacket {
				all = append(all, in.seen(a2), in.seen(b))
			}
			different := map[netip.AddrPort]bool{}
			for _, m := range all {
				different[m] = true
			}
			// Random ports may collide by chance; one equal pair of four is not a mapping.
			if got := len(different); got != tt.endpoints && (tt.endpoints != 4 || got != 3) {
				t.Errorf("%d different mappings %v, want %d", got, all, tt.endpoints)
			}
			if got := mapped.Port() == in.addr.Port(); got != tt.preserves {
				t.Errorf("mapped to %s from port %d, port preserved: %v, want %v", mapped, in.addr.Port(), got, tt.preserves)
			}

			if err := router.Flush(); err != nil {
				t.Fatal(err)
			}
			if got := in.seen(a) != mapped; got != tt.fresh {
				t.Errorf("other mapping after Flush: %v, want %v", got, tt.fresh)
			}
		})
	}
}

// TestSimultaneousOpen punches between two routers: both sides send to what a reflector saw of the other.
func TestSimultaneousOpen(t *testing.T) {
	tests := []struct {
		a, b NAT
		want bool
	}{
		{PortRestricted, PortRestricted, true},
		{PortRestricted, PortRestrictedRemap, true},
		{PortRestrictedRemap, PortRestrictedRemap, true},
		{PortRestricted, Symmetric, false},
		{Symmetric, Symmetric, false},
		// The first packet of a is early at b's router: b's flow gets another port, and a filters that.
		{PortRestricted, EarlyPacket, false},
	}
	for _, tt := range tests {
		t.Run(tt.a.String()+" to "+tt.b.String(), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			reflector := open(t, must[*Host](t)(l.Public("reflector")), 3478)
			// Equal local ports would hide a router that gives its own.
			a := open(t, must[*Host](t)(must[*Router](t)(l.Router("ra", tt.a)).Host("a")), 41001)
			b := open(t, must[*Host](t)(must[*Router](t)(l.Router("rb", tt.b)).Host("b")), 41002)
			ma, mb := a.seen(reflector), b.seen(reflector)

			a.send(mb, "from a, opens a's router")
			b.send(ma, "from b")
			a.send(mb, "from a again")
			if !tt.want {
				a.silent()
				b.silent()
				return
			}
			if got, from := a.receive(); got != "from b" || from != mb {
				t.Errorf("a got %q from %s, want %s", got, from, mb)
			}
			if got, from := b.receive(); got != "from a again" || from != ma {
				t.Errorf("b got %q from %s, want %s", got, from, ma)
			}
		})
	}
}

// TestMappingLifetime shortens the router's memory by a setting of its namespace alone.
func TestMappingLifetime(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	out := open(t, must[*Host](t)(l.Public("out")), 3478)
	router := must[*Router](t)(l.Router("home", PortRestricted))
	in := open(t, must[*Host](t)(router.Host("in")), 41641)
	for _, key := range []string{"udp_timeout", "udp_timeout_stream"} {
		if err := router.Sysctl("net.netfilter.nf_conntrack_"+key, "1"); err != nil {
			t.Fatal(err)
		}
	}
	mapped := in.seen(out)
	out.send(mapped, "in time")
	if got, _ := in.receive(); got != "in time" {
		t.Errorf("got %q", got)
	}
	// A packet that comes in would lengthen the mapping's life, so look from time to time and less and less often.
	for wait := 1500 * time.Millisecond; ; wait *= 2 {
		if wait > 10*time.Second {
			t.Fatal("the mapping does not expire")
		}
		time.Sleep(wait)
		out.send(mapped, "late")
		if err := in.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := in.conn.ReadFromUDPAddrPort(make([]byte, 100)); err != nil {
			return
		}
	}
}

// TestTwoClientsOneNetwork holds that hosts of one private network reach each other without the router, and that the
// router keeps their flows apart when both use one port.
func TestTwoClientsOneNetwork(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	out := open(t, must[*Host](t)(l.Public("out")), 3478)
	router := must[*Router](t)(l.Router("home", PortRestricted))
	a := open(t, must[*Host](t)(router.Host("a")), 41641)
	b := open(t, must[*Host](t)(router.Host("b")), 41641)
	if got := a.seen(b); got != a.addr {
		t.Errorf("on the own network seen as %s, want %s", got, a.addr)
	}
	ma, mb := a.seen(out), b.seen(out)
	if ma == mb {
		t.Fatalf("two hosts share the mapping %s", ma)
	}
	out.send(ma, "to a")
	out.send(mb, "to b")
	got := []string{}
	for _, p := range []probe{a, b} {
		text, _ := p.receive()
		got = append(got, text)
	}
	if want := []string{"to a", "to b"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
