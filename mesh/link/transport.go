package link

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"
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

// Transport makes and accepts links. Make it with New; Run must be called for it to work.
type Transport struct {
	cfg   Config
	quic  *quic.Transport
	ctx   context.Context // of Run
	ready chan struct{}   // closed when ctx is set

	work    work
	door    door
	closing chan closeRequest
}

// work is the goroutines of a Transport.
type work struct {
	sync.Mutex // guards over against start
	over       bool
	group      sync.WaitGroup
}

// start runs f unless Run has ended.
func (w *work) start(f func()) bool {
	w.Lock()
	defer w.Unlock()
	if !w.over {
		w.group.Go(f)
	}
	return !w.over
}

// end lets nothing start any more, and waits for what runs.
func (w *work) end() {
	w.Lock()
	w.over = true
	w.Unlock()
	w.group.Wait()
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
	t := &Transport{cfg: cfg, ready: make(chan struct{}), closing: make(chan closeRequest, 64)}
	t.quic = &quic.Transport{
		Conn: cfg.Conn, DisableVersionNegotiationPackets: true, ConnectionIDLength: 8,
		VerifySourceAddress: t.unproved, ConnContext: t.admit,
	}
	return t
}

func quicConfig() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout: 3 * time.Second, MaxIdleTimeout: idleTimeout, KeepAlivePeriod: keepAlive,
		InitialStreamReceiveWindow: 128 << 10, MaxStreamReceiveWindow: 512 << 10,
		InitialConnectionReceiveWindow: 256 << 10, MaxConnectionReceiveWindow: 1 << 20,
		MaxIncomingStreams: 16, MaxIncomingUniStreams: 2,
		InitialPacketSize: 1200, DisablePathMTUDiscovery: true, EnableDatagrams: true,
	}
}

// Run accepts links until ctx ends, then closes all of them and waits for their goroutines.
func (t *Transport) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.ctx = ctx
	conf := quicConfig()
	conf.GetConfigForClient = t.configFor
	listener, err := t.quic.Listen(t.serverTLS(), conf)
	if err != nil {
		return fmt.Errorf("link: listening: %w", err)
	}
	close(t.ready)
	t.work.start(t.closeLoop)
	for {
		var conn *quic.Conn
		if conn, err = listener.Accept(ctx); err != nil {
			break
		}
		t.work.start(func() { t.serve(conn) })
	}
	ended := ctx.Err() != nil
	cancel()
	t.work.end()
	_ = listener.Close()
	_ = t.quic.Close()
	if !ended {
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
	conn, err := t.quic.Dial(ctx, addr, conf, quicConfig())
	if err != nil {
		return fmt.Errorf("link: dialling %s: %w", peer, err)
	}
	l := newLink(t, conn, peer, true)
	up := make(chan struct{})
	failed := make(chan error, 1)
	l.onUp = func() { close(up) }
	if !t.work.start(func() { failed <- l.run(t.ctx) }) {
		_ = conn.CloseWithError(codeDone, "")
		return fmt.Errorf("link: dialling %s: %w", peer, net.ErrClosed)
	}
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

func (t *Transport) started(ctx context.Context) error {
	select {
	case <-t.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("link: waiting for the transport: %w", ctx.Err())
	}
}
