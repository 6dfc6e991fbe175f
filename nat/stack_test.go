package nat

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"

	"warren/keys"
	"warren/nat/demux"
	"warren/nat/path"
	"warren/nat/peers"
	"warren/nat/stun"
)

var network = keys.NetworkID{42}

// host is a Stack with a WireGuard device on it.
type host struct {
	t       *testing.T
	stack   *Stack
	info    PeerInfo
	key     keys.WGPrivate
	dev     *device.Device
	tun     *tuntest.ChannelTUN
	overlay netip.Addr

	mu     sync.Mutex
	events []Event
	peers  map[keys.NodeID]*host // whom Signal reaches
	delay  time.Duration         // of Signal
	said   [][]byte              // what Signal was given
}

// newHost starts host n; cfg may name an Open and Hosts. It ends with the test.
func newHost(t *testing.T, n byte, cfg Config) *host {
	t.Helper()
	key, err := keys.NewWGPrivate()
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, key: key, overlay: netip.AddrFrom4([4]byte{100, 90, 0, n}), peers: make(map[keys.NodeID]*host)}
	h.info = PeerInfo{ID: keys.NodeID{n, 1, 2, 3, 4, 5, 6, 7, n}, Name: string('a' + rune(n) - 1), Key: key.Public(), Overlay: h.overlay}
	cfg.Seed = uint64(n)
	cfg.Signal = h.signal
	cfg.Notify = h.notify
	h.stack = New(cfg)
	if _, err := h.stack.Open(); err != nil {
		t.Fatal(err)
	}
	h.tun = tuntest.NewChannelTUN()
	h.dev = device.NewDevice(h.tun.TUN(), h.stack.ConnBind(), device.NewLogger(device.LogLevelSilent, ""))
	h.ipc("private_key=" + hex.EncodeToString(key[:]))
	if err := h.dev.Up(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := h.stack.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		h.dev.Close()
	})
	return h
}

// member makes h a member of the network.
func (h *host) member() *host {
	h.stack.SetSelf(Self{Network: network, ID: h.info.ID, Key: h.key, Overlay: []netip.Prefix{netip.MustParsePrefix("100.90.0.0/16")}})
	return h
}

// knows makes h know o, with its candidates, and reach it by signals.
func (h *host) knows(o *host) {
	info := o.info
	info.Candidates = o.stack.Candidates()
	h.mu.Lock()
	h.peers[o.info.ID] = o
	h.mu.Unlock()
	h.stack.SetPeer(info)
}

func (h *host) ipc(conf string) {
	h.t.Helper()
	if err := h.dev.IpcSet(conf + "\n"); err != nil {
		h.t.Errorf("configuring %s: %v", h.info.Name, err)
	}
}

// kept holds on to the peers of devices: their queues have finalizers, which must not touch channels of a bubble.
var kept sync.Map

// wants makes o a peer of the device.
func (h *host) wants(o *host) {
	h.ipc(fmt.Sprintf("public_key=%s\nendpoint=%v\nallowed_ip=%v/32", hex.EncodeToString(o.info.Key[:]), o.info.ID, o.overlay))
	kept.Store(h.dev.LookupPeer(device.NoisePublicKey(o.info.Key)), true)
	h.stack.SetTunnel(o.info.ID, true)
}

func (h *host) signal(to keys.NodeID, sealed []byte) {
	h.mu.Lock()
	o, delay := h.peers[to], h.delay
	h.said = append(h.said, sealed)
	h.mu.Unlock()
	if o != nil {
		time.AfterFunc(delay, func() { o.stack.Signal(h.info.ID, sealed) })
	}
}

func (h *host) notify(ev Event) {
	h.mu.Lock()
	h.events = append(h.events, ev)
	var o *host
	if called, ok := ev.(Called); ok {
		o = h.peers[called.Peer]
	}
	h.mu.Unlock()
	if o != nil {
		h.wants(o)
	}
}

// ping sends a packet to o and returns how long it took, or an error after wait.
func (h *host) ping(o *host, wait time.Duration) (time.Duration, error) {
	h.t.Helper()
	msg, start := tuntest.Ping(o.overlay, h.overlay), time.Now()
	h.tun.Outbound <- msg
	select {
	case got := <-o.tun.Inbound:
		if !bytes.Equal(got, msg) {
			return 0, fmt.Errorf("got %x, want %x", got, msg)
		}
		return time.Since(start), nil
	case <-time.After(wait):
		return 0, fmt.Errorf("%s did not reach %s in %v: %+v, stats %v", h.info.Name, o.info.Name, wait,
			h.stack.PeerStatus(o.info.ID), h.stack.Stats())
	}
}

// until waits until ok, in steps, at most 10 s.
func (h *host) until(what string, ok func() bool) {
	h.t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	h.t.Fatalf("%s: not within 10 s", what)
}

// onLAN returns members with these numbers at 10.0.0.N on l, who do not know each other yet.
func onLAN(t *testing.T, l *lan, numbers ...byte) (hosts []*host) {
	for _, n := range numbers {
		ip := netip.AddrFrom4([4]byte{10, 0, 0, n})
		h := newHost(t, n, Config{Open: l.open(ip.String()), Hosts: func() []netip.Addr { return []netip.Addr{ip} }})
		hosts = append(hosts, h.member())
	}
	time.Sleep(time.Millisecond) // bubbles only: lets the loops take it in
	return hosts
}

// Two hosts that only know each other's records exchange packets both ways; the called one had no WireGuard peer.
func TestTunnel(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			hosts := onLAN(t, newLAN(), 1, 2)
			testTunnel(t, hosts[0], hosts[1])
		})
	})
	t.Run("loopback", func(t *testing.T) {
		var hosts []*host
		for n := range byte(2) {
			ip := netip.AddrFrom4([4]byte{127, 0, 0, 1})
			h := newHost(t, n+1, Config{Hosts: func() []netip.Addr { return []netip.Addr{ip} }}).member()
			h.until("candidates", func() bool { return len(h.stack.Candidates()) == 1 })
			hosts = append(hosts, h)
		}
		testTunnel(t, hosts[0], hosts[1])
	})
}

func testTunnel(t *testing.T, a, b *host) {
	a.knows(b)
	b.knows(a)
	a.wants(b)
	took, err := a.ping(b, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if took > 1500*time.Millisecond {
		t.Errorf("first packet took %v", took)
	}
	if _, err := b.ping(a, time.Second); err != nil {
		t.Fatal(err)
	}
	a.until("direct", func() bool {
		return a.stack.PeerStatus(b.info.ID).State == path.Direct && b.stack.PeerStatus(a.info.ID).State == path.Direct
	})
	st := a.stack.PeerStatus(b.info.ID)
	if want := b.stack.Candidates()[0].Addr; st.Path.Remote != want || !st.Usable || st.LastTx.IsZero() {
		t.Errorf("status %+v, want a usable path to %v", st, want)
	}
	if !b.called(a) {
		t.Errorf("b was not called: %v", b.events)
	}
}

// called reports whether o called h as one that holds no old session.
func (h *host) called(o *host) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.events, func(ev Event) bool { c, ok := ev.(Called); return ok && c.Peer == o.info.ID && c.Age > 0 })
}

// Where no signal passes, the initiation itself wakes the tunnel at the other end, and is not lost.
func TestKnock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := onLAN(t, newLAN(), 1, 2)
		a, b := hosts[0], hosts[1]
		a.knows(b)
		b.knows(a)
		delete(a.peers, b.info.ID)
		a.wants(b)
		if _, err := a.ping(b, time.Second); err != nil {
			t.Fatal(err)
		}
		if got := a.stack.Stats()["initiations_resent"]; got > 1 {
			t.Errorf("%d initiations resent, want at most that for the new path", got)
		}
	})
}

// Two initiations that cross must not cost the 5 s until the next ones.
func TestCrossing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := onLAN(t, newLAN(), 1, 2)
		a, b := hosts[0], hosts[1]
		a.knows(b)
		b.knows(a)
		a.stack.Connect(b.info.ID)
		b.stack.Connect(a.info.ID)
		usable := func() bool {
			return a.stack.PeerStatus(b.info.ID).Usable && b.stack.PeerStatus(a.info.ID).Usable
		}
		a.until("usable", usable)
		a.wants(b)
		b.wants(a)
		a.tun.Outbound <- tuntest.Ping(b.overlay, a.overlay)
		b.tun.Outbound <- tuntest.Ping(a.overlay, b.overlay)
		for _, h := range hosts {
			select {
			case <-h.tun.Inbound:
			case <-time.After(time.Second):
				t.Errorf("%s got nothing", h.info.Name)
			}
		}
	})
}

// When a core suspects that our NAT has changed, linked members are asked at once how they see us, but not for each core.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		hosts := onLAN(t, l, 1, 2)
		a, b := hosts[0], hosts[1]
		a.knows(b)
		b.knows(a)
		a.stack.Connect(b.info.ID)
		a.until("usable", func() bool { return a.stack.PeerStatus(b.info.ID).Usable })
		a.stack.SetLinked(b.info.ID, true)
		time.Sleep(time.Second)
		var asked atomic.Int32
		l.lose = func(d datagram) bool {
			if Classify(d.data) == demux.STUN && d.data[0] == 0 && d.data[1] == 1 && d.from == a.stack.Candidates()[0].Addr {
				asked.Add(1)
			}
			return false
		}
		for range 5 {
			a.stack.loop.post(func() { a.stack.loop.refresh(time.Now()) })
		}
		time.Sleep(500 * time.Millisecond)
		if got := asked.Load(); got != 1 {
			t.Errorf("%d checks, want one", got)
		}
	})
}

// Who may have no tunnel knocks in vain.
func TestKnockRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := onLAN(t, newLAN(), 1, 2)
		a, b := hosts[0], hosts[1]
		a.knows(b)
		b.knows(a)
		clear(a.peers)
		clear(b.peers) // b takes nobody into its device
		a.wants(b)
		if _, err := a.ping(b, time.Second); err == nil {
			t.Error("answered")
		}
		if b.stack.Stats()["knocks_refused"] == 0 {
			t.Error("no knock was counted")
		}
	})
}

// Upstream makes no second initiation for 5 s, so the first must be sent again when the peer is ready for it.
func TestInitiationAgainAfterAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		hosts := onLAN(t, l, 1, 2)
		a, b := hosts[0], hosts[1]
		a.knows(b)
		b.knows(a)
		a.delay = 2 * time.Second // longer than the resends without an ACK
		l.lose = func(d datagram) bool { return Classify(d.data) == demux.WireGuard && !b.called(a) }
		a.wants(b)
		took, err := a.ping(b, 4*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if took < 2*time.Second || took > 2500*time.Millisecond {
			t.Errorf("took %v, want a little more than the CALL", took)
		}
		if got := a.stack.Stats()["initiations_resent"]; got < 3 {
			t.Errorf("%d initiations resent, want those without an answer and that after the ACK", got)
		}
	})
}

func TestUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		l.lose = func(datagram) bool { return true }
		hosts := onLAN(t, l, 1, 2)
		a, b := hosts[0], hosts[1]
		a.knows(b)
		b.knows(a)
		a.stack.Connect(b.info.ID)
		a.until("unreachable", func() bool { return a.stack.PeerStatus(b.info.ID).State == path.Unreachable })
		if got, want := a.stack.PeerStatus(b.info.ID).Reason, "no answer from the one address of b"; got != want {
			t.Errorf("reason %q, want %q", got, want)
		}
	})
}

func tlsConfig(t *testing.T) *tls.Config {
	t.Helper()
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates:       []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:         []string{"test"},
		InsecureSkipVerify: true, //nolint:gosec // this tests the packets, not the trust
		MinVersion:         tls.VersionTLS13,
	}
}

// speak dials to from h and echoes a text over QUIC; o must see it come from want.
func speak(t *testing.T, h, o *host, to, want Addr) {
	t.Helper()
	server := &quic.Transport{Conn: o.stack.PacketConn()}
	client := &quic.Transport{Conn: h.stack.PacketConn()}
	defer func() { _ = server.Close() }()
	defer func() { _ = client.Close() }()
	conf := &quic.Config{DisablePathMTUDiscovery: true}
	ln, err := server.Listen(tlsConfig(t), conf)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		c, err := ln.Accept(ctx)
		if err != nil {
			t.Errorf("accepting: %v", err)
			return
		}
		if got := c.RemoteAddr(); got != want {
			t.Errorf("accepted from %v, want %v", got, want)
		}
		s, err := c.AcceptStream(ctx)
		if err != nil {
			t.Errorf("accepting: %v", err)
			return
		}
		_, _ = io.Copy(s, s)
		_ = s.Close()
		<-c.Context().Done()
	})
	c, err := client.Dial(ctx, to, tlsConfig(t), conf)
	if err != nil {
		cancel()
		t.Errorf("dialling %v: %v", to, err)
		return
	}
	s, err := c.OpenStream()
	if err != nil {
		t.Error(err)
		return
	}
	text := bytes.Repeat([]byte("warren"), 10_000)
	wg.Go(func() {
		_, _ = s.Write(text)
		_ = s.Close()
	})
	if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, text) {
		t.Errorf("echo of %d bytes: %d, %v", len(text), len(got), err)
	}
	_ = c.CloseWithError(0, "")
}

func TestQUIC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := onLAN(t, newLAN(), 1, 2)
		a, b := hosts[0], hosts[1]
		a.knows(b)
		b.knows(a)
		a.stack.Connect(b.info.ID)
		a.until("usable", func() bool { return a.stack.PeerStatus(b.info.ID).Usable })
		speak(t, a, b, Addr{Node: b.info.ID}, Addr{Node: a.info.ID})
	})
}

func TestJoinCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		b := onLAN(t, l, 2)[0]
		j := newHost(t, 3, Config{Open: l.open("10.0.0.3")})
		remote := addr("10.0.0.2:41641")
		to, err := j.stack.JoinCheck(t.Context(), network, remote)
		if err != nil || to != (Addr{Remote: remote}) {
			t.Fatalf("JoinCheck: %v, %v", to, err)
		}
		speak(t, j, b, to.(Addr), Addr{Remote: addr("10.0.0.3:41641")})

		if _, err := j.stack.JoinCheck(t.Context(), keys.NetworkID{1}, remote); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("for another network: %v, want ErrNoAnswer", err)
		}
		if _, err := j.stack.JoinCheck(t.Context(), network, addr("10.0.0.9:1")); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("where nobody is: %v, want ErrNoAnswer", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := j.stack.JoinCheck(ctx, network, addr("10.0.0.9:1")); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

// Whoever holds no key gets no packet back, whatever he sends.
func TestStrangersGetSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		hosts := onLAN(t, l, 1, 2)
		a, b := hosts[0], hosts[1]
		a.knows(b)
		b.knows(a)
		a.wants(b)
		if _, err := a.ping(b, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		target := addr("10.0.0.2:41641")
		var check, initiation []byte // authentic ones, to be replayed
		for _, d := range l.to(target) {
			switch Classify(d.data) {
			case demux.STUN:
				if m, err := stun.Parse(d.data); err == nil && m.Kind == stun.RequestKind {
					check = d.data
				}
			case demux.WireGuard:
				if d.data[0] == demux.TypeInitiation {
					initiation = d.data
				}
			default:
			}
		}
		if check == nil || initiation == nil {
			t.Fatal("nothing to replay")
		}
		id, user := [12]byte{9}, keys.CheckUserKey(network)
		quicInitial := make([]byte, 1200)
		copy(quicInitial, []byte{0xc3, 0, 0, 0, 1, 8})
		quicVersion := make([]byte, 1200)
		copy(quicVersion, []byte{0xc3, 1, 2, 3, 4, 8})
		packets := map[string][]byte{
			"STUN":                        stun.PlainRequest(id),
			"check with another key":      stun.Request(id, stun.User(user, id, a.info.ID), [32]byte{1}),
			"check of nobody":             stun.Request(id, stun.User(user, id, keys.NodeID{99}), [32]byte{1}),
			"join check, another network": stun.Request(id, stun.User(keys.CheckUserKey(keys.NetworkID{1}), id, keys.NodeID{}), keys.JoinCheckKey(keys.NetworkID{1})),
			"answer to nothing":           stun.Response(id, target, [32]byte{1}),
			"replayed check":              check,
			"replayed initiation":         initiation,
			"garbage":                     bytes.Repeat([]byte{0x2a}, 300),
			"QUIC Initial":                quicInitial,
			"QUIC of another version":     quicVersion,
			"QUIC short":                  bytes.Repeat([]byte{0x41}, 60),
			"relay frame":                 bytes.Repeat([]byte{0x81}, 60),
			"one byte":                    {1},
		}
		for typ := byte(1); typ <= 4; typ++ {
			packets[fmt.Sprintf("WireGuard type %d", typ)] = wg(t, typ)
		}
		i := byte(0)
		for name, data := range packets {
			i++
			from := l.socket(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, i}), 7))
			for range 3 {
				_ = from.WriteBatch(netip.AddrPort{}, target, [][]byte{data})
			}
			time.Sleep(10 * time.Second)
			if got := l.to(from.local); len(got) != 0 {
				t.Errorf("%s got %d packets back, the first %x", name, len(got), got[0].data)
			}
			if src := b.stack.bind.sources.Get(peers.Direct(Flow{Remote: from.local})); src != nil && src.Known() {
				t.Errorf("%s: the source counts as checked", name)
			}
		}
		stats := b.stack.Stats()
		for _, name := range []string{"stun_forged", "stun_replayed", "stun_unasked", "quic_stranger", "rx_relay", "rx_unknown"} {
			if stats[name] == 0 {
				t.Errorf("%s is not counted: %v", name, stats)
			}
		}
	})
}

func TestSignalRefusesForgery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := onLAN(t, newLAN(), 1, 2, 3)
		a, b, c := hosts[0], hosts[1], hosts[2]
		for _, h := range hosts {
			for _, o := range hosts {
				if h != o {
					h.knows(o)
				}
			}
		}
		a.wants(b)
		if _, err := a.ping(b, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		a.mu.Lock()
		sealed := slices.Clone(a.said[0])
		a.mu.Unlock()
		before := b.stack.Stats()["signal_forged"]
		b.stack.Signal(c.info.ID, sealed)                          // said by another
		b.stack.Signal(keys.NodeID{99}, sealed)                    // of nobody
		b.stack.Signal(a.info.ID, append(sealed[:30:30], 1, 2, 3)) // cut
		b.stack.Signal(a.info.ID, nil)
		time.Sleep(time.Second)
		if got := b.stack.Stats()["signal_forged"] - before; got != 4 {
			t.Errorf("%d forgeries counted, want 4", got)
		}
	})
}

func TestRemovePeerForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		hosts := onLAN(t, l, 1, 2)
		a, b := hosts[0], hosts[1]
		a.knows(b)
		b.knows(a)
		a.stack.Connect(b.info.ID)
		a.until("usable", func() bool { return a.stack.PeerStatus(b.info.ID).Usable })
		b.stack.RemovePeer(a.info.ID)
		time.Sleep(time.Millisecond)
		n := len(l.to(addr("10.0.0.1:41641")))
		a.stack.Reset()
		time.Sleep(3 * time.Second)
		if got := len(l.to(addr("10.0.0.1:41641"))); got != n {
			t.Errorf("%d packets to a removed peer", got-n)
		}
		if st := b.stack.PeerStatus(a.info.ID); st != (PeerStatus{}) {
			t.Errorf("status of a removed peer: %+v", st)
		}
		b.stack.SetPeer(a.info)
		b.knows(a)
		b.stack.Connect(a.info.ID)
		b.until("usable again", func() bool { return b.stack.PeerStatus(a.info.ID).Usable })
		b.stack.ClearSelf()
		time.Sleep(time.Millisecond)
		if st := b.stack.PeerStatus(a.info.ID); st != (PeerStatus{}) {
			t.Errorf("status after ClearSelf: %+v", st)
		}
	})
}

// The interfaces are polled: a new address becomes a candidate, and is told.
func TestHostsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		ips := []netip.Addr{netip.MustParseAddr("10.0.0.1")}
		l := newLAN()
		h := newHost(t, 1, Config{Open: l.open("10.0.0.1"), Log: slog.New(slog.DiscardHandler), Hosts: func() []netip.Addr {
			mu.Lock()
			defer mu.Unlock()
			return ips
		}}).member()
		time.Sleep(time.Second)
		mu.Lock()
		ips = append(ips, netip.MustParseAddr("100.90.0.1"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("2001:db8::1"))
		mu.Unlock()
		h.mu.Lock()
		h.events = nil
		h.mu.Unlock()
		time.Sleep(2 * pollEvery)
		want := []keys.Candidate{
			{Kind: keys.Host, Addr: addr("10.0.0.1:41641")}, {Kind: keys.Host, Addr: addr("[2001:db8::1]:41641")},
		}
		if got := h.stack.Candidates(); !slices.Equal(got, want) {
			t.Errorf("candidates %v, want %v", got, want)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if !slices.Contains(h.events, Event(CandidatesChanged{})) {
			t.Errorf("events %v", h.events)
		}
	})
}
