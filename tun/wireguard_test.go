package tun

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/conn/bindtest"

	"warren/keys"
	"warren/tun/icmp"
)

// idBind takes node ids for endpoints, as our Bind does. Whatever the id, there is one other end.
type idBind struct {
	conn.Bind
	other string

	mu    sync.Mutex
	asked []string
	mark  uint32
}

func (b *idBind) ParseEndpoint(s string) (conn.Endpoint, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, s)
	return b.Bind.ParseEndpoint(b.other)
}

func (b *idBind) SetMark(mark uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mark = mark
	return nil
}

// end is one host: engine on device on a kernel in memory.
type end struct {
	member
	key    keys.WGPrivate
	bind   *idBind
	device *Device
	engine *WireGuard
	wanted chan keys.NodeID
}

// pair makes two ends that are joined by a wire, with keys and without peers.
func pair(t *testing.T, log *slog.Logger) (a, b *end) {
	t.Helper()
	binds := bindtest.NewChannelBinds()
	ends := [2]*end{{member: alice}, {member: bob}}
	for i, e := range ends {
		var err error
		if e.key, err = keys.NewWGPrivate(); err != nil {
			t.Fatal(err)
		}
		e.wanted = make(chan keys.NodeID, 100)
		e.device = NewDevice(DeviceConfig{Log: log, Wanted: func(id keys.NodeID) { e.wanted <- id }})
		e.bind = &idBind{Bind: binds[i], other: fmt.Sprintf("127.0.0.1:%d", i+1)}
		if e.engine, err = NewWireGuard(e.device, e.bind, 7, log); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.engine.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		if err := e.engine.SetKey(e.key); err != nil {
			t.Fatal(err)
		}
	}
	ends[0].device.SetOwners(own(bob))
	ends[1].device.SetOwners(own(alice))
	return ends[0], ends[1]
}

// accept makes the tunnel of e to its other end ready.
func (e *end) accept(t *testing.T, other *end) {
	t.Helper()
	err := e.engine.SetPeer(Peer{ID: other.id, Key: other.key.Public(), Allowed: []netip.Prefix{
		netip.PrefixFrom(other.v4, 32), netip.PrefixFrom(other.v6, 128),
	}})
	if err != nil {
		t.Fatal(err)
	}
	e.device.SetReady(other.id, true)
}

// reply answers the echo requests that e's kernel gets until the test ends.
func (e *end) reply(t *testing.T) {
	k := newFakeKernel()
	if err := e.device.Attach(k); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			k.mu.Lock()
			changed, out := k.changed, k.out
			k.out = nil
			k.mu.Unlock()
			for _, b := range out {
				if m, ok := icmp.ParseEcho(b); ok && !m.Reply {
					m.Src, m.Dst, m.Reply = m.Dst, m.Src, true
					k.send(icmp.AppendEcho(nil, m))
				} else {
					k.send(datagram(e.v4, alice.v4, "echo of "+body(b)))
				}
			}
			if len(out) == 0 {
				select {
				case <-changed:
				case <-ctx.Done():
				}
			}
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// renewAfter is the least time between a handshake and Renew.
const renewAfter = 20 * time.Millisecond

func TestEnginesPing(t *testing.T) {
	var words syncBuffer
	log := slog.New(slog.NewTextHandler(&words, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a, b := pair(t, log)
	b.reply(t)
	b.accept(t, a)

	// Nothing is ready at a, nothing is attached: the ping makes b wanted and waits for it.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, dst := range []netip.Addr{bob.v4, bob.v6} {
		src := alice.v4
		if dst.Is6() {
			src = alice.v6
		}
		wg.Go(func() {
			if rtt, err := a.device.Ping(ctx, src, dst); err != nil || rtt <= 0 {
				t.Errorf("Ping %s: %v, %v", dst, rtt, err)
			}
		})
	}
	if id := <-a.wanted; id != bob.id {
		t.Fatalf("wanted %s, want bob", id)
	}
	a.accept(t, b)
	wg.Wait()

	// The other way round, through kernels in memory.
	k := newFakeKernel()
	if err := a.device.Attach(k); err != nil {
		t.Fatal(err)
	}
	k.send(datagram(alice.v4, bob.v4, "hello"))
	k.await(t, func(p []byte) bool { return body(p) == "echo of hello" })

	// A new session, while the old one is good: nothing is lost. The time stamps of two handshakes must differ.
	for began := time.Now(); time.Since(began) < 2*renewAfter; {
		k.send(datagram(alice.v4, bob.v4, "more"))
		k.await(t, func(p []byte) bool { return body(p) == "echo of more" })
	}
	for _, key := range []keys.WGPublic{b.key.Public(), {9}} {
		if err := a.engine.Renew(key); err != nil {
			t.Errorf("Renew: %v", err)
		}
	}
	k.send(datagram(alice.v4, bob.v4, "again"))
	k.await(t, func(p []byte) bool { return body(p) == "echo of again" })
	if n := strings.Count(words.String(), "Received handshake initiation"); n < 2 {
		t.Errorf("%d handshakes, want another one", n)
	}

	stats, err := a.engine.Stats()
	if err != nil {
		t.Fatal(err)
	}
	s, ok := stats[b.key.Public()]
	if len(stats) != 1 || !ok || s.RxBytes == 0 || s.TxBytes == 0 || time.Since(s.LastHandshake).Abs() > time.Minute {
		t.Errorf("Stats: %+v", stats)
	}
	a.bind.mu.Lock()
	if a.bind.mark != 7 || len(a.bind.asked) == 0 || a.bind.asked[0] != bob.id.String() {
		t.Errorf("mark %d, endpoints %q", a.bind.mark, a.bind.asked)
	}
	a.bind.mu.Unlock()

	endAll(t, a, b)
	noKeys(t, words.String(), a.key[:], b.key[:])
}

// endAll removes b from a and closes a.
func endAll(t *testing.T, a, b *end) {
	t.Helper()
	if err := a.engine.RemovePeer(b.key.Public()); err != nil {
		t.Error(err)
	}
	if err := a.engine.RemovePeer(keys.WGPublic{9}); err != nil {
		t.Errorf("unknown peer: %v", err)
	}
	if stats, err := a.engine.Stats(); err != nil || len(stats) != 0 {
		t.Errorf("after removing: %+v, %v", stats, err)
	}
	if err := a.engine.Close(); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"SetKey": a.engine.SetKey(a.key), "RemovePeer": a.engine.RemovePeer(keys.WGPublic{}), "Renew": a.engine.Renew(b.key.Public()), "SetPeer": a.engine.SetPeer(Peer{}),
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	if _, err := a.engine.Stats(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Stats after Close: %v", err)
	}
}

// noKeys fails when text holds one of the private keys in any of the usual forms.
func noKeys(t *testing.T, text string, secrets ...[]byte) {
	t.Helper()
	if !strings.Contains(text, "wireguard") {
		t.Error("the engine said nothing")
	}
	for _, s := range secrets {
		for _, form := range []string{hex.EncodeToString(s), base64.StdEncoding.EncodeToString(s), fmt.Sprintf("%d", s)} {
			if strings.Contains(text, form) {
				t.Error("a private key is in the log")
			}
		}
	}
}

// syncBuffer may be written and read at once.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

type failingBind struct{ conn.Bind }

var errOpen = errors.New("port in use")

func (failingBind) Open(uint16) ([]conn.ReceiveFunc, uint16, error) { return nil, 0, errOpen }

func TestNewWireGuardFails(t *testing.T) {
	d := NewDevice(DeviceConfig{})
	if _, err := NewWireGuard(d, failingBind{bindtest.NewChannelBinds()[0]}, 0, nil); !errors.Is(err, errOpen) {
		t.Errorf("got %v, want %v", err, errOpen)
	}
	if err := d.Attach(newFakeKernel()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the device is open: %v", err)
	}
}

func TestParseStats(t *testing.T) {
	one, two := keys.WGPublic{1}, keys.WGPublic{2}
	text := "private_key=" + strings.Repeat("ab", 32) + "\nlisten_port=1\n" +
		"public_key=" + hex.EncodeToString(one[:]) + "\nrx_bytes=3\ntx_bytes=4\nlast_handshake_time_sec=5\nlast_handshake_time_nsec=6\nallowed_ip=1.2.3.4/32\n" +
		"public_key=" + hex.EncodeToString(two[:]) + "\nlast_handshake_time_sec=0\nlast_handshake_time_nsec=0\n"
	got, err := parseStats(strings.NewReader(text))
	want := map[keys.WGPublic]PeerStats{one: {3, 4, time.Unix(5, 6)}, two: {}}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	for _, bad := range []string{"public_key=zz", "public_key=00", "rx_bytes=-1", "last_handshake_time_sec=x"} {
		if got, err := parseStats(strings.NewReader(bad)); err == nil || strings.Contains(err.Error(), "zz") {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
}

// FuzzParseStats holds that what is read is written and read again as the same.
func FuzzParseStats(f *testing.F) {
	f.Add("public_key=" + strings.Repeat("01", 32) + "\nrx_bytes=3\ntx_bytes=4\nlast_handshake_time_sec=5\nlast_handshake_time_nsec=6\n")
	f.Add("listen_port=1\n\nnonsense")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseStats(strings.NewReader(text))
		if err != nil {
			return
		}
		var b strings.Builder
		for k, s := range got {
			fmt.Fprintf(&b, "public_key=%x\nrx_bytes=%d\ntx_bytes=%d\n", k[:], s.RxBytes, s.TxBytes)
			if at := s.LastHandshake; !at.IsZero() {
				fmt.Fprintf(&b, "last_handshake_time_sec=%d\nlast_handshake_time_nsec=%d\n", at.Unix(), at.Nanosecond())
			}
		}
		again, err := parseStats(strings.NewReader(b.String()))
		if err != nil || !maps.EqualFunc(got, again, func(a, b PeerStats) bool {
			return a.RxBytes == b.RxBytes && a.TxBytes == b.TxBytes && a.LastHandshake.Equal(b.LastHandshake)
		}) {
			t.Errorf("%q: read %v, then %v, %v", text, got, again, err)
		}
	})
}
