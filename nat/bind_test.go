package nat

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"warren/keys"
	"warren/nat/demux"
	"warren/nat/peers"
)

// opened returns a Stack with its bind open on l at ip, without a running loop.
func opened(t testing.TB, l *lan, ip string) (*Stack, []conn.ReceiveFunc) {
	t.Helper()
	s := New(Config{Open: l.open(ip), Hosts: func() []netip.Addr { return nil }, Seed: 1})
	if _, err := s.Open(); err != nil {
		t.Fatal(err)
	}
	fns, port, err := s.ConnBind().Open(0)
	if err != nil || port != 41641 || len(fns) != 2 {
		t.Fatalf("Open: %d functions, port %d, %v", len(fns), port, err)
	}
	t.Cleanup(func() { s.bind.stop() })
	return s, fns
}

type batch struct {
	bufs  [][]byte
	sizes []int
	eps   []conn.Endpoint
}

func newBatch() *batch {
	b := &batch{sizes: make([]int, conn.IdealBatchSize), eps: make([]conn.Endpoint, conn.IdealBatchSize)}
	for range conn.IdealBatchSize {
		b.bufs = append(b.bufs, make([]byte, 2048))
	}
	return b
}

func TestReceiveSorts(t *testing.T) {
	l := newLAN()
	s, fns := opened(t, l, "10.0.0.1")
	far := l.socket(addr("10.0.0.2:1"))
	for _, data := range [][]byte{wg(t, 4), {0x40, 1}, {0xc0, 1}, {0x80, 0, 0, 0, 0, 0, 0, 0}, {9}, wg(t, 1)} {
		_ = far.WriteBatch(netip.AddrPort{}, addr("10.0.0.1:41641"), [][]byte{data})
	}
	b := newBatch()
	n, err := fns[0](b.bufs, b.sizes, b.eps)
	if err != nil || n != 6 {
		t.Fatalf("received %d, %v", n, err)
	}
	for i, want := range []int{demux.SizeTransport, 0, 0, 0, 0, demux.SizeInitiation} {
		if b.sizes[i] != want {
			t.Errorf("packet %d: size %d, want %d", i, b.sizes[i], want)
		}
	}
	if b.eps[0] != b.eps[5] || b.eps[0].DstToString() != "10.0.0.2:1" {
		t.Errorf("endpoints %v and %v of one flow, want the same", b.eps[0], b.eps[5])
	}
	stats := s.Stats()
	for _, name := range []string{"quic_stranger", "rx_relay", "rx_unknown"} {
		if stats[name] == 0 {
			t.Errorf("%s is not counted: %v", name, stats)
		}
	}
}

// The device closes and opens its bind when the port or the mark changes.
func TestBindSurvivesCloseAndOpen(t *testing.T) {
	l := newLAN()
	s, fns := opened(t, l, "10.0.0.1")
	bind := s.ConnBind()
	if _, _, err := bind.Open(0); !errors.Is(err, conn.ErrBindAlreadyOpen) {
		t.Errorf("second Open: %v", err)
	}
	if err := bind.Close(); err != nil {
		t.Fatal(err)
	}
	b := newBatch()
	if _, err := fns[0](b.bufs, b.sizes, b.eps); !errors.Is(err, net.ErrClosed) {
		t.Errorf("receive after Close: %v, want net.ErrClosed", err)
	}
	fns, port, err := bind.Open(41641)
	if err != nil || port != 41641 {
		t.Fatalf("Open again: port %d, %v", port, err)
	}
	_ = l.socket(addr("10.0.0.2:1")).WriteBatch(netip.AddrPort{}, addr("10.0.0.1:41641"), [][]byte{wg(t, 4)})
	if n, err := fns[0](b.bufs, b.sizes, b.eps); n != 1 || err != nil {
		t.Errorf("receive after Open: %d, %v", n, err)
	}
}

func TestSend(t *testing.T) {
	l := newLAN()
	s, fns := opened(t, l, "10.0.0.1")
	id := keys.NodeID{7}
	ep, err := s.ConnBind().ParseEndpoint(id.String())
	if err != nil {
		t.Fatal(err)
	}
	peer := s.bind.roster.get(id)
	way, far := addr("10.0.0.2:1"), addr("10.0.0.3:3")
	send := func(ep conn.Endpoint, typ byte) {
		t.Helper()
		if err := s.ConnBind().Send([][]byte{wg(t, typ)}, ep); err != nil {
			t.Fatal(err)
		}
	}
	count := func(step string, to netip.AddrPort, want int) {
		t.Helper()
		if got := len(l.to(to)); got != want {
			t.Errorf("%s: %d packets to %v, want %d", step, got, to, want)
		}
	}

	send(ep, demux.TypeInitiation)
	count("no path", way, 0)
	if got := raised(s, peer); !peer.Handshake.Began() || got&peers.Initiation == 0 {
		t.Errorf("the initiation is not kept, signs %b", got)
	}
	peer.Choose(s.bind.sources.Intern(peers.Direct(Flow{Remote: way})))
	send(ep, demux.TypeTransport)
	count("chosen", way, 1)

	_ = l.socket(far).WriteBatch(netip.AddrPort{}, addr("10.0.0.1:41641"), [][]byte{wg(t, demux.TypeInitiation)})
	b := newBatch()
	if _, err := fns[0](b.bufs, b.sizes, b.eps); err != nil {
		t.Fatal(err)
	}
	src := b.eps[0].(*Source)
	send(src, demux.TypeResponse)
	count("of nobody, as it came", far, 1)
	if peer.Proven() != nil {
		t.Error("an unbound source proved a peer")
	}
	src.Bind(peer.Peer)
	send(src, demux.TypeCookie)
	count("cookie, as it came", far, 2)
	if peer.Proven() != nil {
		t.Error("a cookie reply proves nothing")
	}
	send(src, demux.TypeResponse)
	count("bound, by the chosen path", way, 2)
	if got := raised(s, peer); peer.Proven() != src || got&peers.Proven == 0 {
		t.Errorf("not proven by Send: %v, signs %b", peer.Proven(), got)
	}

	if err := s.ConnBind().Send([][]byte{wg(t, 4)}, &conn.StdNetEndpoint{}); !errors.Is(err, conn.ErrWrongEndpointType) {
		t.Errorf("foreign endpoint: %v", err)
	}
	if _, err := s.ConnBind().ParseEndpoint("10.0.0.1:5"); err == nil {
		t.Error("an address parsed as a node id")
	}
}

func TestPacketConnNeedsChecks(t *testing.T) {
	l := newLAN()
	s, fns := opened(t, l, "10.0.0.1")
	s.bind.clock = peers.NewClock(time.Now, time.Now().Add(-time.Hour))
	peer := s.bind.roster.ensure(keys.NodeID{5})
	const never, stale, recent, latest = 0, -quicFresh - time.Second, -2 * time.Second, -time.Second
	long, short := []byte{0xc0, 1}, []byte{0x40, 1}
	for i, c := range []struct {
		name            string
		checked, joined time.Duration // from now
		data            []byte
		want            bool
		node            keys.NodeID // zero: the address
	}{
		{"stranger, long", never, never, long, false, keys.NodeID{}},
		{"stranger, short", never, never, short, false, keys.NodeID{}},
		{"member, long", recent, never, long, true, keys.NodeID{5}},
		{"member, stale, long", stale, never, long, false, keys.NodeID{}},
		{"member, stale, short", stale, never, short, true, keys.NodeID{5}},
		{"joiner, long", never, recent, long, true, keys.NodeID{}},
		{"joiner where a member was", recent, latest, long, true, keys.NodeID{}},
		{"member where a joiner was", latest, recent, long, true, keys.NodeID{5}},
	} {
		remote := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 2}), uint16(i+1))
		src := s.bind.sources.Intern(peers.Direct(Flow{Remote: remote}))
		now := s.bind.clock.Stamp(time.Now())
		if c.checked != never {
			src.Checked(peer.Peer, now+int64(c.checked))
		}
		if c.joined != never {
			src.Joined(now + int64(c.joined))
		}
		_ = l.socket(remote).WriteBatch(netip.AddrPort{}, addr("10.0.0.1:41641"), [][]byte{c.data})
		b := newBatch()
		if _, err := fns[0](b.bufs, b.sizes, b.eps); err != nil {
			t.Fatal(err)
		}
		var got, want net.Addr
		if c.want {
			want = Addr{Remote: remote}
			if !c.node.IsZero() {
				want = Addr{Node: c.node}
			}
		}
		if len(s.bind.quic.Packets()) > 0 {
			_, got, _ = s.PacketConn().ReadFrom(b.bufs[0])
		}
		if got != want {
			t.Errorf("%s: from %v, want %v", c.name, got, want)
		}
	}
}

// raised returns the signs that p has raised, and takes all signs down.
func raised(s *Stack, p *peer) (signs peers.Signs) {
	s.bind.roster.inbox.Each(func(of *peers.Peer, got peers.Signs) {
		if of == p.Peer {
			signs = got
		}
	})
	return signs
}
