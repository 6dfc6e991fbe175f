package simnet_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"warren/keys"
	"warren/nat/simnet"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// box is a host that notes who sent to it.
type box struct {
	*simnet.Host
	from []netip.AddrPort
}

func listen(t *testing.T, h *simnet.Host, port uint16) *box {
	t.Helper()
	b := &box{Host: h}
	if err := h.Listen(port, func(p simnet.Packet) { b.from = append(b.from, p.From) }); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *box) last() netip.AddrPort {
	if len(b.from) == 0 {
		return netip.AddrPort{}
	}
	return b.from[len(b.from)-1]
}

// The four kinds of mapping and filtering, observed as RFC 4787 section 4.1 and 5 define them.
func TestBehaviours(t *testing.T) {
	const any, addr, port = keys.EndpointIndependent, keys.AddressDependent, keys.AddressAndPortDependent
	for _, mapping := range []keys.NATBehaviour{any, addr, port} {
		for _, filtering := range []keys.NATBehaviour{any, addr, port} {
			t.Run(mapping.String()+" "+filtering.String(), func(t *testing.T) {
				n := simnet.New(simnet.Config{Delay: time.Millisecond})
				a, b := n.Internet().Host(ip("198.51.100.1")), n.Internet().Host(ip("198.51.100.2"))
				a1, a2, b1 := listen(t, a, 1), listen(t, a, 2), listen(t, b, 1)
				router := n.Internet().NAT(ip("203.0.113.1"),
					simnet.NATConfig{Mapping: mapping, Filtering: filtering, Ports: simnet.SequentialPorts})
				in := listen(t, router.Inside().Host(ip("10.0.0.2")), 7)
				in.Send(7, at("198.51.100.1:1"), nil)
				n.Run(time.Second)
				outer := a1.last()
				if outer.Addr() != ip("203.0.113.1") {
					t.Fatalf("the packet came from %s", outer)
				}
				a.Send(2, outer, nil)
				b.Send(1, outer, nil)
				a.Send(1, outer, nil)
				n.Run(time.Second)
				want := map[keys.NATBehaviour]int{any: 3, addr: 2, port: 1}[filtering]
				if got := len(in.from); got != want {
					t.Errorf("%d of 3 packets passed inwards, want %d", got, want)
				}
				in.Send(7, at("198.51.100.1:2"), nil)
				in.Send(7, at("198.51.100.2:1"), nil)
				n.Run(time.Second)
				if got, want := a2.last() == outer, mapping != port; got != want {
					t.Errorf("same mapping to another port of the host: %v, want %v", got, want)
				}
				if got, want := b1.last() == outer, mapping == any; got != want {
					t.Errorf("same mapping to another host: %v, want %v", got, want)
				}
			})
		}
	}
}

func TestMappingEnds(t *testing.T) {
	n := simnet.New(simnet.Config{})
	a := listen(t, n.Internet().Host(ip("198.51.100.1")), 1)
	router := n.Internet().NAT(ip("203.0.113.1"), simnet.NATConfig{Ports: simnet.SequentialPorts, Timeout: time.Minute})
	in := listen(t, router.Inside().Host(ip("10.0.0.2")), 7)
	send := func() netip.AddrPort {
		in.Send(7, at("198.51.100.1:1"), nil)
		n.Run(time.Second)
		return a.last()
	}
	first := send()
	n.Run(50 * time.Second)
	if got := send(); got != first {
		t.Errorf("a mapping in use moved from %s to %s", first, got)
	}
	n.Run(2 * time.Minute)
	second := send()
	if second == first {
		t.Errorf("a mapping out of use is still %s", first)
	}
	a.Send(1, first, nil)
	n.Run(time.Second)
	if len(in.from) != 0 {
		t.Error("an old mapping lets packets in")
	}
	router.Reboot()
	if got := send(); got == second {
		t.Errorf("the mapping %s survived a reboot", got)
	}
}

// A port that changed hands belongs to the new mapping alone.
func TestPortChangesHands(t *testing.T) {
	n := simnet.New(simnet.Config{})
	far := listen(t, n.Internet().Host(ip("198.51.100.1")), 1)
	cfg := simnet.PortRestricted()
	cfg.Timeout = time.Minute
	router := n.Internet().NAT(ip("203.0.113.1"), cfg)
	a := listen(t, router.Inside().Host(ip("10.0.0.2")), 7)
	b := listen(t, router.Inside().Host(ip("10.0.0.3")), 7)
	for i, step := range []struct {
		from *box
		wait time.Duration
		want uint16
	}{
		{a, 2 * time.Minute, 7},
		{b, time.Second, 7}, // a's mapping is over
		{a, 2 * time.Minute, 8},
		{a, time.Second, 7},
		{b, time.Second, 8},
	} {
		step.from.Send(7, at("198.51.100.1:1"), nil)
		n.Run(step.wait)
		if got := far.last().Port(); got != step.want {
			t.Errorf("step %d came from port %d, want %d", i, got, step.want)
		}
	}
	a.Send(7, at("198.51.100.9:1"), nil) // a's mapping must still know whom else it sent to
	n.Run(time.Second)
	far.Send(1, at("203.0.113.1:7"), nil)
	far.Send(1, at("203.0.113.1:8"), nil)
	n.Run(time.Second)
	if len(a.from) != 1 || len(b.from) != 1 {
		t.Errorf("a got %d answers and b %d, want one each", len(a.from), len(b.from))
	}
}

func TestHairpinAndDoubleNAT(t *testing.T) {
	for _, hairpin := range []bool{false, true} {
		n := simnet.New(simnet.Config{})
		carrier := n.Internet().NAT(ip("203.0.113.1"), simnet.NATConfig{Hairpin: hairpin})
		home := carrier.Inside().NAT(ip("100.64.0.2"), simnet.PortRestricted())
		out := listen(t, n.Internet().Host(ip("198.51.100.1")), 1)
		a := listen(t, home.Inside().Host(ip("10.0.0.2")), 7)
		b := listen(t, carrier.Inside().Host(ip("100.64.0.3")), 8)
		a.Send(7, at("198.51.100.1:1"), nil)
		b.Send(8, at("198.51.100.1:1"), nil)
		n.Run(time.Second)
		if len(out.from) != 2 || out.from[0].Addr() != ip("203.0.113.1") {
			t.Fatalf("out of two NATs came %v", out.from)
		}
		a.Send(7, at("203.0.113.1:8"), nil)
		n.Run(time.Second)
		if got := b.last(); hairpin != (got == at("203.0.113.1:7")) {
			t.Errorf("hairpin %v: a neighbour saw %s", hairpin, got)
		}
	}
}

func TestLossAndTrace(t *testing.T) {
	run := func(seed uint64) (int, uint64) {
		n := simnet.New(simnet.Config{Seed: seed, Loss: 0.3, Delay: time.Millisecond, Jitter: time.Millisecond})
		a, b := n.Internet().Host(ip("198.51.100.1")), listen(t, n.Internet().Host(ip("198.51.100.2")), 1)
		for range 1000 {
			a.Send(1, at("198.51.100.2:1"), []byte("x"))
		}
		n.Run(time.Second)
		return len(b.from), n.Trace()
	}
	got, trace := run(1)
	if got < 650 || got > 750 {
		t.Errorf("%d of 1000 packets came through a loss of 30 %%", got)
	}
	if again, t2 := run(1); again != got || t2 != trace {
		t.Errorf("the same seed gave %d, %x and %d, %x", got, trace, again, t2)
	}
	if _, t2 := run(2); t2 == trace {
		t.Error("another seed gave the same trace")
	}
}

func TestConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{Live: true, Delay: 20 * time.Millisecond})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() { n.Serve(ctx) })
		a, err := n.Internet().Host(ip("198.51.100.1")).ListenPacket(0)
		if err != nil {
			t.Fatal(err)
		}
		host := n.Internet().Host(ip("198.51.100.2"))
		b, err := host.ListenPacket(9)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := host.ListenPacket(9); !errors.Is(err, simnet.ErrPortInUse) {
			t.Errorf("second listener: %v", err)
		}
		start := time.Now()
		if _, err := a.WriteTo([]byte("hello"), b.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		size, from, err := b.ReadFrom(buf)
		if err != nil || string(buf[:size]) != "hello" || from.String() != a.LocalAddr().String() {
			t.Errorf("ReadFrom = %q, %v, %v", buf[:size], from, err)
		}
		if took := time.Since(start); took != 20*time.Millisecond {
			t.Errorf("the packet took %s", took)
		}
		_ = b.SetReadDeadline(time.Now().Add(time.Second))
		if _, _, err := b.ReadFrom(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the deadline: %v", err)
		}
		_ = b.SetReadDeadline(time.Time{})
		wg.Go(func() {
			time.Sleep(time.Second)
			_ = b.Close()
		})
		if _, _, err := b.ReadFrom(buf); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}
