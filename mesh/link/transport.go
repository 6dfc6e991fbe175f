package link

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"warren/keys"
)

// Silence after which a neighbour is given up, and how often an idle link speaks to prevent it.
const (
	idleTimeout = 15 * time.Second
	keepAlive   = 5 * time.Second
)

// Config says how links are made. Every func must be set but Join; they are called from several goroutines.
type Config struct {
	Conn        net.PacketConn                                // from package nat; closed by its owner
	Self        func() keys.NodeID                            // zero while this host is no member
	Certificate func() (*tls.Certificate, error)              // own member certificate; an error while there is none
	Verify      func(der []byte) (keys.NodeID, error)         // the one check of a member's certificate
	NodeOf      func(addr net.Addr) (keys.NodeID, bool)       // which member an address of Conn stands for
	Hello       func() []byte                                 // body of our hello
	Join        func(ctx context.Context, session JoinServer) // serves one joiner; nil: joiners are refused
	Handler     Handler
	Log         *slog.Logger
}

// Handler is told what happens on links. Its methods are called from the links' goroutines: Frame and Datagram of one
// link in order and never at once, Call for each call by itself.
type Handler interface {
	// Up tells of a new link and the other side's hello. An error closes it.
	Up(l *Link, hello []byte) error
	// Down tells that a link for which Up was called is gone.
	Down(l *Link, cause error)
	// Gossip delivers one message.
	Gossip(l *Link, body []byte)
	// Datagram delivers one datagram.
	Datagram(l *Link, body []byte)
	// Call answers a call. An error's text is shown to the caller.
	Call(ctx context.Context, l *Link, kind Kind, body []byte) ([]byte, error)
}

// JoinServer is the member's end of one warren-join/1 connection.
type JoinServer struct {
	*quic.Stream
	Exporter []byte
	Node     keys.NodeID // of the joiner's identity key, as its certificate shows it: proved, not authorised
	From     net.Addr
}

// maxJoiners bounds how many joiners are served at once.
const maxJoiners = 32

// Transport makes and accepts links. Make it with New; Run must be called for it to work.
type Transport struct {
	cfg   Config
	quic  *quic.Transport
	wg    sync.WaitGroup
	ctx   context.Context // of Run
	ready chan struct{}   // closed when ctx is set

	joiners atomic.Int32
	closing chan closeRequest
}

// closeRequest asks Run to close a link: closing waits for the connection, which nobody else should.
type closeRequest struct {
	link *Link
	code quic.ApplicationErrorCode
}

// closeLater closes a link without blocking. Requests beyond the queue are lost; the idle time-out finds those links.
func (t *Transport) closeLater(l *Link, code quic.ApplicationErrorCode) {
	select {
	case t.closing <- closeRequest{l, code}:
	default:
	}
}

func (t *Transport) closeLoop() {
	for {
		select {
		case r := <-t.closing:
			_ = r.link.conn.CloseWithError(r.code, "")
		case <-t.ctx.Done():
			return
		}
	}
}

// New returns a Transport that has not started.
func New(cfg Config) *Transport {
	return &Transport{
		cfg:   cfg,
		quic:  &quic.Transport{Conn: cfg.Conn, DisableVersionNegotiationPackets: true, ConnectionIDLength: 8},
		ready: make(chan struct{}), closing: make(chan closeRequest, 64),
	}
}

func quicConfig(datagrams bool) *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout: 3 * time.Second, MaxIdleTimeout: idleTimeout, KeepAlivePeriod: keepAlive,
		InitialStreamReceiveWindow: 128 << 10, MaxStreamReceiveWindow: 512 << 10,
		InitialConnectionReceiveWindow: 256 << 10, MaxConnectionReceiveWindow: 1 << 20,
		MaxIncomingStreams: 16, MaxIncomingUniStreams: 2,
		InitialPacketSize: 1200, DisablePathMTUDiscovery: true, EnableDatagrams: datagrams,
	}
}

// Run accepts links until ctx ends, then closes all of them and waits for their goroutines.
func (t *Transport) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.ctx = ctx
	listener, err := t.quic.Listen(t.serverTLS(), quicConfig(true))
	if err != nil {
		return fmt.Errorf("link: listening: %w", err)
	}
	close(t.ready)
	t.wg.Go(t.closeLoop)
	for {
		conn, err := listener.Accept(ctx)
		if err != nil {
			break
		}
		t.wg.Go(func() { t.serve(conn) })
	}
	cancel()
	t.wg.Wait()
	_ = listener.Close()
	_ = t.quic.Close()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("link: accepting: %w", err)
	}
	return nil
}

// serve runs one accepted connection.
func (t *Transport) serve(conn *quic.Conn) {
	switch conn.ConnectionState().TLS.NegotiatedProtocol {
	case ProtocolMember:
		peer, ok := t.cfg.NodeOf(conn.RemoteAddr())
		if !ok {
			_ = conn.CloseWithError(codeRefused, "")
			return
		}
		l := newLink(t, conn, peer, false)
		if err := l.run(t.ctx); err != nil {
			t.cfg.Log.Debug("link ended", "peer", peer, "err", err)
		}
	case ProtocolJoin:
		t.serveJoin(conn)
	default:
		_ = conn.CloseWithError(codeRefused, "")
	}
}

func (t *Transport) serveJoin(conn *quic.Conn) {
	defer func() { _ = conn.CloseWithError(codeDone, "") }()
	if t.joiners.Add(1) > maxJoiners || t.cfg.Join == nil {
		t.joiners.Add(-1)
		return
	}
	defer t.joiners.Add(-1)
	ctx, cancel := context.WithTimeout(t.ctx, 2*time.Minute)
	defer cancel()
	stream, err := conn.AcceptStream(ctx)
	if err != nil {
		return
	}
	state := conn.ConnectionState().TLS
	exporter, err := Exporter(state)
	if err != nil {
		return
	}
	public, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return
	}
	deadline, _ := ctx.Deadline()
	_ = stream.SetDeadline(deadline)
	t.cfg.Join(ctx, JoinServer{Stream: stream, Exporter: exporter, Node: keys.NodeIDOf(public), From: conn.RemoteAddr()})
	_ = stream.Close()
	// The joiner closes when it has read all: closing first could overtake the last frame.
	select {
	case <-conn.Context().Done():
	case <-time.After(3 * time.Second):
	case <-ctx.Done():
	}
}

// Dial makes a link to a member at its address and returns when the other side's hello has come. The link runs until
// it breaks, is closed, or Run ends. There must be a checked path to the member.
func (t *Transport) Dial(ctx context.Context, addr net.Addr, peer keys.NodeID) error {
	if err := t.started(ctx); err != nil {
		return err
	}
	conf, err := t.memberTLS(peer)
	if err != nil {
		return err
	}
	conn, err := t.quic.Dial(ctx, addr, conf, quicConfig(true))
	if err != nil {
		return fmt.Errorf("link: dialling %s: %w", peer, err)
	}
	l := newLink(t, conn, peer, true)
	up := make(chan struct{})
	failed := make(chan error, 1)
	l.onUp = func() { close(up) }
	t.wg.Go(func() { failed <- l.run(t.ctx) })
	select {
	case <-up:
		return nil
	case err := <-failed:
		return fmt.Errorf("link: dialling %s: %w", peer, err)
	case <-ctx.Done():
		l.Close()
		return fmt.Errorf("link: dialling %s: %w", peer, ctx.Err())
	}
}

// JoinClient is the joiner's end of one warren-join/1 connection.
type JoinClient struct {
	*quic.Stream
	Exporter []byte
	conn     *quic.Conn
}

// Close ends the connection.
func (c *JoinClient) Close() { _ = c.conn.CloseWithError(codeDone, "") }

// DialJoin opens a warren-join/1 connection, with a throw-away certificate over the joiner's identity key. The caller
// closes it.
func (t *Transport) DialJoin(ctx context.Context, addr net.Addr, identity crypto.Signer) (*JoinClient, error) {
	if err := t.started(ctx); err != nil {
		return nil, err
	}
	conf, err := joinTLS(identity)
	if err != nil {
		return nil, err
	}
	conn, err := t.quic.Dial(ctx, addr, conf, quicConfig(true))
	if err != nil {
		return nil, fmt.Errorf("link: dialling %s to join: %w", addr, err)
	}
	exporter, err := Exporter(conn.ConnectionState().TLS)
	if err != nil {
		_ = conn.CloseWithError(codeRefused, "")
		return nil, err
	}
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		_ = conn.CloseWithError(codeRefused, "")
		return nil, fmt.Errorf("link: opening a stream to %s: %w", addr, err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = stream.SetDeadline(deadline)
	}
	return &JoinClient{Stream: stream, Exporter: exporter, conn: conn}, nil
}

func (t *Transport) started(ctx context.Context) error {
	select {
	case <-t.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("link: waiting for the transport: %w", ctx.Err())
	}
}
