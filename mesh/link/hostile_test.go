package link

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"warren/keys"
	"warren/nat/simnet"
)

// target is a transport in an in-memory network, and somebody who speaks QUIC to it by hand.
type target struct {
	*Transport
	handler *counter
	addr    net.Addr
	raw     *quic.Transport // the other's
	member  *tls.Config     // as a member
	joiner  *tls.Config     // as a stranger
}

// counter is a Handler that counts.
type counter struct {
	up, down        chan *Link
	calls, messages chan []byte
	block           chan struct{} // closed: calls are answered at once
}

func (c *counter) Up(l *Link, _ []byte) error { c.up <- l; return nil }
func (c *counter) Down(l *Link, _ error)      { c.down <- l }
func (c *counter) Gossip(_ *Link, b []byte)   { c.messages <- b }
func (c *counter) Datagram(_ *Link, b []byte) { c.messages <- b }
func (c *counter) Call(ctx context.Context, _ *Link, _ Kind, body []byte) ([]byte, error) {
	select {
	case <-c.block:
		c.calls <- body
		return body, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// attack runs f in a bubble with a transport that takes packets from 192.0.2.66 for a member's if member is set.
func attack(t *testing.T, member bool, serve func(context.Context, JoinServer), f func(t *testing.T, v *target)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{Delay: 5 * time.Millisecond})
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		go n.Serve(ctx)
		identity, err := keys.NewIdentity()
		if err != nil {
			t.Fatal(err)
		}
		cert, err := Throwaway(identity.Signer())
		if err != nil {
			t.Fatal(err)
		}
		listen := func(addr string) *simnet.Conn {
			c, err := n.Internet().Host(netip.MustParseAddr(addr)).ListenPacket(1000)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		home, away := listen("192.0.2.1"), listen("192.0.2.66")
		v := &target{addr: home.LocalAddr(), raw: &quic.Transport{Conn: away}, handler: &counter{
			up: make(chan *Link, 1000), down: make(chan *Link, 1000), calls: make(chan []byte, 1000), messages: make(chan []byte, 1000),
			block: make(chan struct{}),
		}}
		v.Transport = New(Config{
			Conn: home, Handler: v.handler, Log: slog.New(slog.DiscardHandler), Join: serve,
			Certificate: func() (*tls.Certificate, error) { return cert, nil },
			Hello:       func() []byte { return []byte("hi") },
			Verify:      func([]byte) (keys.NodeID, error) { return keys.NodeID{1}, nil },
			NodeOf:      func(net.Addr) (keys.NodeID, bool) { return keys.NodeID{1}, member },
		})
		if v.joiner, err = joinTLS(crypto.Signer(identity.Signer())); err != nil {
			t.Fatal(err)
		}
		v.member = v.joiner.Clone()
		v.member.NextProtos = []string{ProtocolMember}
		ended := make(chan error, 1)
		go func() { ended <- v.Run(ctx) }()
		f(t, v)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		_ = v.raw.Close()
		_ = home.Close()
		_ = away.Close()
	})
}

// dial makes a connection by hand.
func (v *target) dial(t *testing.T, conf *tls.Config) *quic.Conn {
	t.Helper()
	conn, err := v.raw.Dial(t.Context(), v.addr, conf, quicConfig())
	if err != nil {
		t.Fatalf("dialling: %v", err)
	}
	return conn
}

// greet makes a link by hand and returns the attacker's stream and the victim's link.
func (v *target) greet(t *testing.T) (*quic.Conn, *quic.SendStream, *Link) {
	t.Helper()
	conn := v.dial(t, v.member)
	out, err := conn.OpenUniStream()
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteFrame(out, Frame{Kind: KindHello}); err != nil {
		t.Fatal(err)
	}
	return conn, out, <-v.handler.up
}

// ends waits for the connection to end, in the bubble's time.
func ends(t *testing.T, conn *quic.Conn, within time.Duration) {
	t.Helper()
	select {
	case <-conn.Context().Done():
	case <-time.After(within):
		t.Errorf("the connection stands after %s", within)
		_ = conn.CloseWithError(0, "")
	}
}

func TestHelloThatNeverComes(t *testing.T) {
	for name, say := range map[string]func(*quic.Conn){
		"no stream": func(*quic.Conn) {},
		"half a frame": func(c *quic.Conn) {
			s, err := c.OpenUniStream()
			if err == nil {
				_, err = s.Write([]byte{0, 0, 100, 1})
			}
			if err != nil {
				t.Error(err)
			}
		},
		"another kind": func(c *quic.Conn) {
			s, err := c.OpenUniStream()
			if err == nil {
				err = WriteFrame(s, Frame{Kind: KindGossip})
			}
			if err != nil {
				t.Error(err)
			}
		},
		"a frame that is too large": func(c *quic.Conn) {
			s, err := c.OpenUniStream()
			if err == nil {
				_, err = s.Write([]byte{1, 0, 1, 1})
			}
			if err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			attack(t, true, nil, func(t *testing.T, v *target) {
				conn := v.dial(t, v.member)
				say(conn)
				ends(t, conn, helloTimeout+time.Second)
				if len(v.handler.up) != 0 {
					t.Error("a link came up")
				}
			})
		})
	}
}

// TestPeerThatGivesNoWindow: one that lets us write nothing, not even our hello, does not hold a goroutine.
func TestPeerThatGivesNoWindow(t *testing.T) {
	attack(t, true, nil, func(t *testing.T, v *target) {
		conf := quicConfig()
		conf.InitialStreamReceiveWindow = 1
		conn, err := v.raw.Dial(t.Context(), v.addr, v.member, conf)
		if err != nil {
			t.Fatal(err)
		}
		ends(t, conn, helloTimeout+time.Second)
		conf.InitialStreamReceiveWindow, conf.MaxIncomingUniStreams = 1<<10, -1
		if conn, err = v.raw.Dial(t.Context(), v.addr, v.member, conf); err != nil {
			t.Fatal(err)
		}
		ends(t, conn, helloTimeout+time.Second)
	})
}

// TestPeerThatNeverReads: its link ends, though it keeps the connection alive.
func TestPeerThatNeverReads(t *testing.T) {
	attack(t, true, nil, func(t *testing.T, v *target) {
		conn, _, l := v.greet(t)
		for range 40 { // more than the window, less than the queue
			l.Gossip(make([]byte, 50<<10), false)
		}
		ends(t, conn, readTimeout+10*time.Second)
		<-v.handler.down
	})
	attack(t, true, nil, func(t *testing.T, v *target) {
		conn, _, l := v.greet(t)
		for range 2 * queueLength { // more than the queue
			l.Gossip(make([]byte, 10<<10), true)
		}
		ends(t, conn, time.Second)
		<-v.handler.down
	})
}

func TestBrokenFrames(t *testing.T) {
	attack(t, true, nil, func(t *testing.T, v *target) {
		conn, out, _ := v.greet(t)
		if _, err := out.Write([]byte("\xff\xff\xff\xff")); err != nil {
			t.Fatal(err)
		}
		ends(t, conn, time.Second)
		<-v.handler.down
	})
}

// TestManyCalls: calls leave nothing behind, however many; who opens more streams than it may waits.
func TestManyCalls(t *testing.T) {
	attack(t, true, nil, func(t *testing.T, v *target) {
		close(v.handler.block)
		conn, _, _ := v.greet(t)
		began := time.Now()
		for i := range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			s, err := conn.OpenStreamSync(ctx)
			cancel()
			if err != nil {
				t.Fatalf("call %d: %v", i, err)
			}
			if err := WriteFrame(s, Frame{Kind: 99, Body: []byte("x")}); err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				_ = s.Close() // an honest caller does, another need not
			}
			if _, err := ReadFrame(s); err != nil {
				t.Fatalf("call %d: %v", i, err)
			}
			s.CancelRead(0)
		}
		if took := time.Since(began); took < 2*time.Second || took > 10*time.Second {
			t.Errorf("100 calls took %s, want them slowed down to %d a second", took, callRate)
		}
		_ = conn.CloseWithError(0, "")
		<-v.handler.down
	})
	attack(t, true, nil, func(t *testing.T, v *target) {
		conn, _, _ := v.greet(t)
		opened := 0
		for {
			s, err := conn.OpenStream()
			if err != nil {
				break
			}
			if err := WriteFrame(s, Frame{Kind: 99}); err != nil {
				t.Fatal(err)
			}
			if opened++; opened > 100 {
				t.Fatal("more streams than anybody needs")
			}
		}
		time.Sleep(time.Second)
		// The victim is still busy with them when the connection ends: it must not wait for them.
		began := time.Now()
		_ = conn.CloseWithError(0, "")
		<-v.handler.down
		if took := time.Since(began); took > time.Second {
			t.Errorf("the link's end took %s", took)
		}
	})
}

func TestManyDatagrams(t *testing.T) {
	attack(t, true, nil, func(t *testing.T, v *target) {
		conn, _, _ := v.greet(t)
		for range 50 {
			for range 20 {
				if err := conn.SendDatagram([]byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
		if got := len(v.handler.messages); got < datagramBurst || got > datagramBurst+2*datagramRate {
			t.Errorf("%d of 1000 datagrams in a second were taken", got)
		}
		_ = conn.CloseWithError(0, "")
	})
}

// TestManyConnections: of one member few stand at once, whatever it does with them, and there is room again when they end.
func TestManyConnections(t *testing.T) {
	attack(t, true, nil, func(t *testing.T, v *target) {
		var conns []*quic.Conn
		for range maxOfMember {
			conns = append(conns, v.dial(t, v.member))
		}
		if _, err := v.raw.Dial(t.Context(), v.addr, v.member, quicConfig()); err == nil {
			t.Errorf("a member has more than %d connections", maxOfMember)
		}
		for _, c := range conns {
			_ = c.CloseWithError(0, "")
		}
		time.Sleep(time.Second)
		_ = v.dial(t, v.member).CloseWithError(0, "")
	})
}

// TestSlowJoiners: who does not prove an invite loses the connection soon, and few of one address may try at once.
func TestSlowJoiners(t *testing.T) {
	served := make(chan error, 100)
	serve := func(_ context.Context, s JoinServer) {
		_, err := ReadFrame(s)
		served <- err
	}
	for name, say := range map[string]func(*quic.Stream){
		"one byte":     func(s *quic.Stream) { _, _ = s.Write([]byte{0}) },
		"half a frame": func(s *quic.Stream) { _, _ = s.Write([]byte{0, 1, 0, 2}) },
		"no stream":    nil,
	} {
		attack(t, false, serve, func(t *testing.T, v *target) {
			var conns []*quic.Conn
			for range maxOfSource {
				conn := v.dial(t, v.joiner)
				conns = append(conns, conn)
				if say == nil {
					continue
				}
				s, err := conn.OpenStream()
				if err != nil {
					t.Fatal(err)
				}
				say(s)
				if _, err := conn.OpenStream(); err == nil {
					t.Error("a joiner may open two streams")
				}
			}
			if _, err := v.raw.Dial(t.Context(), v.addr, v.joiner, quicConfig()); err == nil {
				t.Errorf("%s: more than %d strangers of one address", name, maxOfSource)
			}
			for _, conn := range conns {
				ends(t, conn, joinProve+joinLast+time.Second)
			}
			for len(served) > 0 {
				if err := <-served; err == nil {
					t.Errorf("%s: a frame was read", name)
				}
			}
		})
	}
}

// TestStrangersLeaveRoom: all strangers together are bounded too.
func TestStrangersLeaveRoom(t *testing.T) {
	var d door
	entered := 0
	for i := range 2 * maxStrangers {
		if d.enter(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}).String(), true) {
			entered++
		}
	}
	if entered != maxStrangers || !d.enter("a member", false) {
		t.Errorf("%d strangers entered, want %d, and members whatever strangers do", entered, maxStrangers)
	}
	for i := range maxStrangers {
		d.leave(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}).String(), true)
	}
	d.leave("a member", false)
	if d.strangers.live != 0 || d.bySource["a member"].live != 0 {
		t.Errorf("all left, yet the door counts %d", d.strangers.live)
	}
}

// TestSpoofedStrangers: who sends first packets from addresses that are not its own gets no place and little sent there.
func TestSpoofedStrangers(t *testing.T) {
	attack(t, false, nil, func(t *testing.T, v *target) {
		deaf := &deafConn{PacketConn: v.raw.Conn}
		raw := &quic.Transport{Conn: deaf}
		defer raw.Close()
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			if _, err := raw.Dial(ctx, v.addr, v.joiner, quicConfig()); err == nil {
				t.Error("a connection with nobody")
			}
			cancel()
			v.door.mu.Lock()
			if v.door.strangers.live != 0 || len(v.door.bySource) != 0 {
				t.Errorf("an address that never answered has %d places", v.door.strangers.live)
			}
			v.door.mu.Unlock()
		}
		if sent, got := deaf.sent.Load(), deaf.got.Load(); sent == 0 || got > sent/4 {
			t.Errorf("%d bytes were answered by %d", sent, got)
		}
	})
}

// deafConn counts what comes and gives nothing of it to its reader.
type deafConn struct {
	net.PacketConn
	sent, got atomic.Int64
}

func (c *deafConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.sent.Add(int64(len(b)))
	return c.PacketConn.WriteTo(b, to)
}

func (c *deafConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, _, err := c.PacketConn.ReadFrom(b)
		if err != nil {
			return 0, nil, err
		}
		c.got.Add(int64(n))
	}
}

// TestManyHandshakes: connections that end at once are few in the long run too, of a member and of a stranger.
func TestManyHandshakes(t *testing.T) {
	for _, member := range []bool{true, false} {
		attack(t, member, nil, func(t *testing.T, v *target) {
			conf := v.joiner
			if member {
				conf = v.member
			}
			made := 0
			for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(20 * time.Millisecond) {
				if conn, err := v.raw.Dial(t.Context(), v.addr, conf, quicConfig()); err == nil {
					made++
					_ = conn.CloseWithError(0, "")
				}
			}
			if made < sourceBurst/2 || made > sourceBurst+sourceRate*12 {
				t.Errorf("member %v: %d connections in 10 s", member, made)
			}
		})
	}
}

// TestManyAddresses: the door remembers a bounded number of sources, and members come in all the same.
func TestManyAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d door
		for i := range 4 * maxVisitors {
			source := netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}).String()
			if d.enter(source, true) {
				d.leave(source, true)
			}
			time.Sleep(25 * time.Millisecond)
		}
		if len(d.bySource) > maxVisitors || !d.enter("a member", false) {
			t.Errorf("%d sources are remembered", len(d.bySource))
		}
	})
}

func TestSourceOf(t *testing.T) {
	v := New(Config{NodeOf: func(net.Addr) (keys.NodeID, bool) { return keys.NodeID{}, false }})
	source := func(s string) string {
		got, stranger := v.sourceOf(net.UDPAddrFromAddrPort(netip.MustParseAddrPort(s)))
		if !stranger {
			t.Errorf("%s is no stranger", s)
		}
		return got
	}
	for _, same := range [][2]string{
		{"192.0.2.1:1", "192.0.2.1:2"}, {"192.0.2.1:1", "[::ffff:192.0.2.1]:1"}, {"[2001:db8::1]:1", "[2001:db8::ffff:1]:9"},
	} {
		if source(same[0]) != source(same[1]) {
			t.Errorf("%s and %s are counted apart", same[0], same[1])
		}
	}
	for _, other := range [][2]string{{"192.0.2.1:1", "192.0.2.2:1"}, {"[2001:db8::1]:1", "[2001:db8:0:1::1]:1"}} {
		if source(other[0]) == source(other[1]) {
			t.Errorf("%s and %s are counted together", other[0], other[1])
		}
	}
}

// TestRunTellsThatItsSocketBroke, and a dial after the end fails.
func TestRunTellsThatItsSocketBroke(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	v := New(Config{
		Conn: conn, NodeOf: func(net.Addr) (keys.NodeID, bool) { return keys.NodeID{}, false }, Log: slog.New(slog.DiscardHandler),
		Certificate: func() (*tls.Certificate, error) { return nil, errors.New("none") },
	})
	ended := make(chan error, 1)
	go func() { ended <- v.Run(t.Context()) }()
	<-v.ready
	_ = conn.Close()
	if err := <-ended; err == nil {
		t.Error("Run = nil though its socket was closed")
	}
	if err := v.Dial(t.Context(), conn.LocalAddr(), keys.NodeID{1}); err == nil {
		t.Error("Dial after the end succeeded")
	}
	if v.work.start(func() { t.Error("something ran after the end") }) {
		t.Error("something could start after the end")
	}
}
