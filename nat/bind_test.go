package nat

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"warren/keys"
	"warren/nat/demux"
	"warren/nat/path"
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
	peer := s.bind.peers.get(id)
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
	if first := peer.first.Load(); first == nil || peer.signs.Load()&signInitiation == 0 {
		t.Errorf("the initiation is not kept, signs %b", peer.signs.Load())
	}
	peer.chosen.Store(s.bind.sources.intern(path.UDP(way)))
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
	if peer.proven.Load() != nil {
		t.Error("an unbound source proved a peer")
	}
	src.peer.Store(peer)
	send(src, demux.TypeCookie)
	count("cookie, as it came", far, 2)
	if peer.proven.Load() != nil {
		t.Error("a cookie reply proves nothing")
	}
	send(src, demux.TypeResponse)
	count("bound, by the chosen path", way, 2)
	if peer.proven.Load() != src || peer.signs.Load()&signProven == 0 {
		t.Errorf("not proven by Send: %v, signs %b", peer.proven.Load(), peer.signs.Load())
	}

	if err := s.ConnBind().Send([][]byte{wg(t, 4)}, &conn.StdNetEndpoint{}); !errors.Is(err, conn.ErrWrongEndpointType) {
		t.Errorf("foreign endpoint: %v", err)
	}
	if _, err := s.ConnBind().ParseEndpoint("10.0.0.1:5"); err == nil {
		t.Error("an address parsed as a node id")
	}
}

// A response stops the resends: it names the sender's index of the initiation.
func TestResponseAnswersInitiation(t *testing.T) {
	peer := newPeer(keys.NodeID{1}, &inbox{wake: make(chan struct{}, 1)})
	first := wg(t, demux.TypeInitiation)
	copy(first[4:8], []byte{1, 2, 3, 4})
	peer.route(&peer.self, [][]byte{first}, time.Now(), 1)
	for _, c := range []struct {
		index [4]byte
		want  bool
	}{{[4]byte{1, 2, 3, 5}, false}, {[4]byte{1, 2, 3, 4}, true}} {
		response := wg(t, demux.TypeResponse)
		copy(response[8:12], c.index[:])
		peer.received(response, &Source{})
		if got := peer.first.Load().answered.Load(); got != c.want {
			t.Errorf("response to %x: answered %v, want %v", c.index, got, c.want)
		}
	}
}

func TestTableIsBounded(t *testing.T) {
	table := newTable(100)
	peer := newPeer(keys.NodeID{1}, &inbox{wake: make(chan struct{}, 1)})
	bound := table.intern(path.UDP(addr("10.0.0.1:1")))
	bound.peer.Store(peer)
	peer.chosen.Store(bound)
	var first *Source
	for i := range 10_000 {
		s := table.intern(path.UDP(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 1)))
		if i == 0 {
			first = s
		}
	}
	if got := len(table.byPath); got > 100 {
		t.Errorf("%d sources, want at most 100", got)
	}
	if table.get(bound.path) != bound {
		t.Error("the source in use was shed for strangers")
	}
	if !first.gone.Load() {
		t.Error("a shed source does not say so")
	}
}

func TestInbox(t *testing.T) {
	in := &inbox{wake: make(chan struct{}, 1)}
	a, b := newPeer(keys.NodeID{1}, in), newPeer(keys.NodeID{2}, in)
	a.raise(signTraffic)
	b.raise(signProven)
	a.raise(signProven)
	got := map[*Peer]uint32{}
	in.each(func(p *Peer, signs uint32) {
		got[p] |= signs
		if p == a && len(got) < 3 && signs&signTraffic != 0 {
			p.raise(signInitiation) // while it is handled
		}
	})
	if got[a] != signTraffic|signProven || got[b] != signProven {
		t.Errorf("signs %v", got)
	}
	in.each(func(p *Peer, signs uint32) { got[p] = signs })
	if got[a] != signInitiation {
		t.Errorf("the sign raised meanwhile is lost: %v", got)
	}
}

func TestPacketConnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{Open: newLAN().open("10.0.0.1")}).PacketConn()
		b := make([]byte, 10)
		start := time.Now()
		for _, wait := range []time.Duration{time.Second, -time.Second, 2 * time.Second} {
			_ = c.SetReadDeadline(time.Now().Add(wait))
			if _, _, err := c.ReadFrom(b); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("deadline in %v: %v", wait, err)
			}
		}
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("waited %v, want 3s", got)
		}
		_ = c.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { _ = c.SetReadDeadline(time.Now()) })
		if _, _, err := c.ReadFrom(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("deadline set while reading: %v", err)
		}
		_ = c.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { _ = c.Close() })
		if _, _, err := c.ReadFrom(b); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed while reading: %v", err)
		}
	})
}

func TestPacketConnNeedsChecks(t *testing.T) {
	l := newLAN()
	s, fns := opened(t, l, "10.0.0.1")
	remote := addr("10.0.0.2:1")
	far := l.socket(remote)
	src := s.bind.sources.intern(path.UDP(remote))
	peer := s.bind.peers.ensure(keys.NodeID{5})
	s.bind.clock.base = s.bind.clock.base.Add(-time.Hour)
	stale := s.bind.clock.nanos() - int64(quicFresh) - 1
	long, short := []byte{0xc0, 1}, []byte{0x40, 1}
	for _, c := range []struct {
		name            string
		peer            *Peer
		checked, joined int64
		data            []byte
		want            net.Addr
	}{
		{"stranger, long", nil, 0, 0, long, nil},
		{"stranger, short", nil, 0, 0, short, nil},
		{"member, long", peer, 1, 0, long, Addr{Node: keys.NodeID{5}}},
		{"member, stale, long", peer, stale, 0, long, nil},
		{"member, stale, short", peer, stale, 0, short, Addr{Node: keys.NodeID{5}}},
		{"joiner, long", nil, 0, 1, long, Addr{Remote: remote}},
		{"joiner where a member was", peer, 1, 2, long, Addr{Remote: remote}},
		{"member where a joiner was", peer, 2, 1, long, Addr{Node: keys.NodeID{5}}},
	} {
		src.peer.Store(c.peer)
		now := s.bind.clock.nanos()
		at := func(n int64) int64 {
			if n > 0 && n < 10 {
				return now + n
			}
			return n
		}
		src.checked.Store(at(c.checked))
		src.joined.Store(at(c.joined))
		_ = far.WriteBatch(netip.AddrPort{}, addr("10.0.0.1:41641"), [][]byte{c.data})
		b := newBatch()
		if _, err := fns[0](b.bufs, b.sizes, b.eps); err != nil {
			t.Fatal(err)
		}
		var got net.Addr
		if len(s.bind.quic) > 0 {
			_, got, _ = s.PacketConn().ReadFrom(b.bufs[0])
		}
		if got != c.want {
			t.Errorf("%s: from %v, want %v", c.name, got, c.want)
		}
	}
}
