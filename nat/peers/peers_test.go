package peers

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"warren/keys"
	"warren/nat/count"
	"warren/nat/demux"
	"warren/nat/udp"
)

// way is the direct way to an address.
func way(addr string) Way { return Direct(udp.Flow{Remote: netip.MustParseAddrPort(addr)}) }

// message is one of WireGuard's type typ, of that size.
func message(typ byte, size int) []byte {
	b := make([]byte, size)
	b[0] = typ
	return b
}

// raised returns the signs of p and takes all down.
func raised(in *Inbox, p *Peer) (signs Signs) {
	in.Each(func(of *Peer, got Signs) {
		if of == p {
			signs = got
		}
	})
	return signs
}

func TestTableIsBounded(t *testing.T) {
	table := NewTable(100)
	peer := New(keys.NodeID{1}, NewInbox())
	bound := table.Intern(way("10.0.0.1:1"))
	bound.Bind(peer)
	peer.Choose(bound)
	var first *Source
	for i := range 10_000 {
		remote := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 1)
		s := table.Intern(Direct(udp.Flow{Remote: remote}))
		if i == 0 {
			first = s
		}
	}
	if got := len(table.byWay); got > 100 {
		t.Errorf("%d sources, want at most 100", got)
	}
	if table.Get(bound.Way()) != bound {
		t.Error("the source in use was shed for strangers")
	}
	if !first.gone.Load() {
		t.Error("a shed source does not say so")
	}
}

func TestUnbind(t *testing.T) {
	table, in := NewTable(10), NewInbox()
	a, b := New(keys.NodeID{1}, in), New(keys.NodeID{2}, in)
	ofA, ofB := table.Intern(way("10.0.0.1:1")), table.Intern(way("10.0.0.2:1"))
	ofA.Checked(a, 1)
	ofB.Checked(b, 1)
	table.Unbind(a)
	if ofA.Peer() != nil || ofA.Known() || ofB.Peer() != b {
		t.Errorf("bound to %v and %v, want nobody and b", ofA.Peer(), ofB.Peer())
	}
}

// A cache shows what the table holds, also after the table shed it.
func TestCache(t *testing.T) {
	table := NewTable(2)
	c := NewCache(table)
	flow := way("10.0.0.1:1").Flow
	if got := c.Get(flow); got != nil {
		t.Errorf("%v of a flow that nobody interned", got)
	}
	src := c.Intern(flow)
	if src != table.Get(Direct(flow)) || c.Get(flow) != src || NewCache(table).Get(flow) != src {
		t.Error("a cache and its table differ")
	}
	other := c.Intern(way("10.0.0.2:1").Flow)
	if other == src || c.Get(flow) != src {
		t.Error("two flows are mixed up")
	}
	for i := range byte(20) { // shed by others
		table.Intern(Direct(udp.Flow{Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, i}), 1)}))
	}
	if got := c.Get(flow); got != table.Get(Direct(flow)) {
		t.Errorf("%v is no longer in the table", got)
	}
}

func TestInbox(t *testing.T) {
	in := NewInbox()
	a, b := New(keys.NodeID{1}, in), New(keys.NodeID{2}, in)
	a.Raise(Traffic)
	b.Raise(Proven)
	a.Raise(Proven)
	select {
	case <-in.Wake():
	default:
		t.Error("nobody is woken")
	}
	got := map[*Peer]Signs{}
	in.Each(func(p *Peer, signs Signs) {
		got[p] |= signs
		if p == a && signs&Traffic != 0 {
			p.Raise(Initiation) // while it is handled
		}
	})
	if got[a] != Traffic|Proven || got[b] != Proven {
		t.Errorf("signs %v", got)
	}
	if got := raised(in, a); got != Initiation {
		t.Errorf("the sign raised meanwhile is lost: %b", got)
	}
}

// Whither a message goes, and what that tells the loop.
func TestRoute(t *testing.T) {
	chosen, from, back := &Source{way: way("10.0.0.1:1")}, &Source{way: way("10.0.0.2:1")}, &Source{way: way("10.0.0.3:1")}
	for _, c := range []struct {
		name         string
		msg          []byte
		src          *Source // nil: the endpoint of the peer
		chosen, back *Source
		want         *Source
		signs        Signs
	}{
		{"no way", message(demux.TypeTransport, 100), nil, nil, nil, nil, Traffic},
		{"asked before", message(demux.TypeTransport, 100), nil, nil, back, back, Traffic},
		{"chosen", message(demux.TypeTransport, 100), nil, chosen, back, chosen, Traffic},
		{"keepalive", message(demux.TypeTransport, demux.SizeTransport), nil, chosen, nil, chosen, 0},
		{"initiation", message(demux.TypeInitiation, demux.SizeInitiation), nil, chosen, nil, chosen, Initiation},
		{"cookie, as it came", message(demux.TypeCookie, demux.SizeCookie), from, chosen, nil, from, 0},
		{"response", message(demux.TypeResponse, demux.SizeResponse), from, chosen, nil, chosen, Proven},
		{"response, none chosen", message(demux.TypeResponse, demux.SizeResponse), from, nil, back, from, Proven},
	} {
		in := NewInbox()
		p := New(keys.NodeID{1}, in)
		p.Choose(c.chosen)
		p.Asked(c.back)
		src := p.Endpoint()
		if c.src != nil {
			src = &Source{way: c.src.way}
			src.Bind(p)
			src.Heard(5)
		}
		got := p.Route(src, [][]byte{c.msg}, 7)
		if want := c.want; got != want && (want != c.src || got != src) {
			t.Errorf("%s: sent by %+v, want %+v", c.name, got, want)
		}
		if got := raised(in, p); got != c.signs {
			t.Errorf("%s: signs %b, want %b", c.name, got, c.signs)
		}
	}
}

// A source is proven once a second, and only by packets that came since.
func TestProven(t *testing.T) {
	in := NewInbox()
	p := New(keys.NodeID{1}, in)
	src := &Source{way: way("10.0.0.1:1")}
	src.Bind(p)
	second := int64(time.Second)
	for _, c := range []struct {
		rx, tx int64
		want   Signs
	}{{0, 1, 0}, {2, 3, Proven}, {4, 5, 0}, {4, 3 + second, Proven}, {4, 5 + 2*second, 0}} {
		src.Heard(c.rx)
		p.Route(src, [][]byte{message(demux.TypeTransport, demux.SizeTransport)}, c.tx)
		if got := raised(in, p); got != c.want {
			t.Errorf("heard at %d, sent at %d: signs %b, want %b", c.rx, c.tx, got, c.want)
		}
	}
}

// While the loop watches, traffic costs no sign.
func TestTraffic(t *testing.T) {
	in := NewInbox()
	p := New(keys.NodeID{1}, in)
	src := &Source{way: way("10.0.0.1:1")}
	for _, watched := range []bool{false, true} {
		p.Watch(watched)
		src.Heard(9)
		p.Received(message(demux.TypeTransport, 100), src)
		p.Route(p.Endpoint(), [][]byte{message(demux.TypeTransport, 100)}, 7)
		if tx, rx, from := p.Traffic(); tx != 7 || rx != 9 || from != src.way {
			t.Errorf("traffic %d, %d, %v", tx, rx, from)
		}
		if got := raised(in, p) != 0; got == watched {
			t.Errorf("watched %v: signs raised %v", watched, got)
		}
	}
}

func TestEndpoint(t *testing.T) {
	p := New(keys.NodeID{1}, NewInbox())
	self := p.Endpoint()
	if got := self.DstIP(); got != netip.IPv6Unspecified() || self.DstToString() != p.ID().String() {
		t.Errorf("endpoint of a peer at %v, %s", got, self.DstToString())
	}
	p.SetOverlay(netip.MustParseAddr("100.64.0.1"))
	if got := self.DstIP().String(); got != "100.64.0.1" || self.Direct() {
		t.Errorf("endpoint of a peer at %v, direct %v", got, self.Direct())
	}
	src := NewTable(1).Intern(way("10.0.0.1:1"))
	if !src.Direct() || src.DstToString() != "10.0.0.1:1" || len(src.DstToBytes()) != 6 || src.Addr() != (Addr{Remote: src.way.Remote}) {
		t.Errorf("a source at %s, %x, %v", src.DstToString(), src.DstToBytes(), src.Addr())
	}
}

func TestKnocks(t *testing.T) {
	var counts count.Set
	in := NewInbox()
	p, ks, src := New(keys.NodeID{1}, in), NewKnocks(1, &counts), &Source{}
	msg := message(demux.TypeInitiation, demux.SizeInitiation)
	ks.Keep(p, append(msg, 0), src)
	if p.TakeKnock() != nil {
		t.Error("an initiation too long is kept")
	}
	for i := range byte(3) {
		msg[4] = i
		ks.Keep(p, msg, src)
	}
	if got := raised(in, p); got != Knocked {
		t.Errorf("signs %b", got)
	}
	ks.Admit(p.TakeKnock())
	if p.TakeKnock() != nil {
		t.Error("an older initiation is kept too")
	}
	ks.Keep(p, msg, src)
	ks.Admit(p.TakeKnock()) // one too many
	if got := counts.All()["knocks_refused"]; got != 2 {
		t.Errorf("%d refused, want 2", got)
	}
	ended := make(chan struct{})
	receive := ks.Receiver(ended)
	bufs, sizes, eps := [][]byte{make([]byte, 2000)}, make([]int, 1), make([]conn.Endpoint, 1)
	if n, err := receive(bufs, sizes, eps); n != 1 || err != nil || sizes[0] != len(msg) || bufs[0][4] != 2 || eps[0] != src {
		t.Errorf("received %d of %d bytes from %v: %v", n, sizes[0], eps[0], err)
	}
	close(ended)
	if _, err := receive(bufs, sizes, eps); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

func TestClock(t *testing.T) {
	base := time.Unix(1000, 0)
	c := NewClock(func() time.Time { return base.Add(time.Second) }, base)
	if got := c.Stamp(c.Now()); got != int64(time.Second)+1 || !c.Time(got).Equal(c.Now()) {
		t.Errorf("stamp %d is %v", got, c.Time(got))
	}
	if got := c.Stamp(base); got == 0 {
		t.Error("the base is never")
	}
	if got := c.Time(0); !got.IsZero() {
		t.Errorf("never is %v", got)
	}
}
