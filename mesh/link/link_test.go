package link

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"warren/keys"
)

// end is one host of a test: a transport on a loopback socket and what its handler was told.
type end struct {
	*Transport
	id   keys.NodeID
	cert *tls.Certificate
	addr net.Addr

	mu     sync.Mutex
	got    []string
	links  []*Link
	change chan struct{}
}

func (e *end) note(what string) {
	e.mu.Lock()
	e.got = append(e.got, what)
	e.mu.Unlock()
	select {
	case e.change <- struct{}{}:
	default:
	}
}

func (e *end) Up(l *Link, hello []byte) error {
	e.mu.Lock()
	e.links = append(e.links, l)
	e.mu.Unlock()
	e.note("up " + string(hello))
	return nil
}
func (e *end) Down(*Link, error)             { e.note("down") }
func (e *end) Gossip(_ *Link, body []byte)   { e.note("gossip " + string(body)) }
func (e *end) Datagram(_ *Link, body []byte) { e.note("datagram " + string(body)) }
func (e *end) Call(_ context.Context, _ *Link, kind Kind, body []byte) ([]byte, error) {
	if kind == 99 {
		return nil, errors.New("no such thing")
	}
	return append([]byte("re: "), body...), nil
}

// await blocks until the handler was told this.
func (e *end) await(t *testing.T, what string) {
	t.Helper()
	timeout := time.After(5 * time.Second)
	for {
		e.mu.Lock()
		seen := slices.Contains(e.got, what)
		got := slices.Clone(e.got)
		e.mu.Unlock()
		if seen {
			return
		}
		select {
		case <-e.change:
		case <-timeout:
			t.Fatalf("%q did not happen; what did: %q", what, got)
		}
	}
}

// pair makes two members that know each other's addresses; stranger tells that b does not know a's.
func pair(t *testing.T, stranger bool, serve func(context.Context, JoinServer)) (a, b *end) {
	t.Helper()
	byAddr := map[string]*end{}
	make := func() *end {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		identity, err := keys.NewIdentity()
		if err != nil {
			t.Fatal(err)
		}
		cert, err := Throwaway(identity.Signer())
		if err != nil {
			t.Fatal(err)
		}
		e := &end{id: identity.ID(), cert: cert, addr: conn.LocalAddr(), change: make(chan struct{}, 1)}
		byAddr[e.addr.String()] = e
		e.Transport = New(Config{
			Conn: conn, Handler: e, Log: slog.New(slog.DiscardHandler), Join: serve,
			Certificate: func() (*tls.Certificate, error) { return cert, nil },
			Hello:       func() []byte { return []byte("hi") },
			Verify: func(der []byte) (keys.NodeID, error) {
				for _, m := range byAddr {
					if slices.Equal(m.cert.Certificate[0], der) {
						return m.id, nil
					}
				}
				return keys.NodeID{}, errors.New("not a member")
			},
			NodeOf: func(addr net.Addr) (keys.NodeID, bool) {
				if stranger {
					return keys.NodeID{}, false
				}
				m, ok := byAddr[addr.String()]
				if !ok {
					return keys.NodeID{}, false
				}
				return m.id, true
			},
		})
		return e
	}
	a, b = make(), make()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, e := range []*end{a, b} {
		wg.Go(func() {
			if err := e.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	return a, b
}

func TestLink(t *testing.T) {
	a, b := pair(t, false, nil)
	if err := a.Dial(t.Context(), b.addr, b.id); err != nil {
		t.Fatalf("Dial: %v", err)
	}
	a.await(t, "up hi")
	b.await(t, "up hi")
	l := a.links[0]
	if l.Peer() != b.id || !l.Dialed() || b.links[0].Peer() != a.id || b.links[0].Dialed() {
		t.Errorf("links say peer %s dialed %v, and %s dialed %v", l.Peer(), l.Dialed(), b.links[0].Peer(), b.links[0].Dialed())
	}
	l.Gossip([]byte("compare"), true)
	l.Gossip([]byte("news"), false)
	b.links[0].Gossip([]byte("answer"), false)
	l.Datagram([]byte("call"))
	b.await(t, "gossip compare")
	b.await(t, "gossip news")
	b.await(t, "datagram call")
	a.await(t, "gossip answer")
	if got, err := l.Call(t.Context(), 50, []byte("x")); err != nil || string(got) != "re: x" {
		t.Errorf("Call = %q, %v; want the answer", got, err)
	}
	remote := new(RemoteError)
	if _, err := l.Call(t.Context(), 99, nil); !errors.As(err, &remote) || remote.Text != "no such thing" {
		t.Errorf("Call that fails there: %v, want what the other side said", err)
	}
	l.Close()
	a.await(t, "down")
	b.await(t, "down")
}

func TestDialRefusesAnotherMember(t *testing.T) {
	a, b := pair(t, false, nil)
	var other keys.NodeID
	other[0] = 1
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := a.Dial(ctx, b.addr, other); err == nil {
		t.Error("Dial reached a member other than the one it asked for")
	}
	if len(a.links)+len(b.links) != 0 {
		t.Error("a link came up")
	}
}

// TestStrangerSeesNoMember: who did not prove membership may speak only the protocol for joining, and is shown only a
// nameless certificate.
func TestStrangerSeesNoMember(t *testing.T) {
	served := make(chan JoinServer, 1)
	a, b := pair(t, true, func(_ context.Context, s JoinServer) {
		f, err := ReadFrame(s)
		if err == nil {
			err = WriteFrame(s, f)
		}
		if err != nil {
			t.Errorf("serving: %v", err)
		}
		served <- s
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := a.Dial(ctx, b.addr, b.id); err == nil {
		t.Error("a stranger could make a link")
	}
	identity, err := keys.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.DialJoin(ctx, b.addr, identity.Signer())
	if err != nil {
		t.Fatalf("DialJoin: %v", err)
	}
	defer c.Close()
	if shown := c.conn.ConnectionState().TLS.PeerCertificates[0]; slices.Equal(shown.Raw, b.cert.Certificate[0]) || shown.Subject.String() != "" {
		t.Errorf("the stranger was shown the certificate %q", shown.Subject)
	}
	if err := WriteFrame(c, Frame{Kind: KindJoinProve, Body: []byte("p")}); err != nil {
		t.Fatal(err)
	}
	if f, err := ReadFrame(c); err != nil || string(f.Body) != "p" {
		t.Errorf("answer %q, %v", f.Body, err)
	}
	s := <-served
	if s.Node != identity.ID() || !slices.Equal(s.Exporter, c.Exporter) {
		t.Error("the two ends do not agree on who joins or on the exporter")
	}
}
