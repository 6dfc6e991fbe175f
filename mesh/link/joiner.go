package link

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"fmt"
	"net"
	"time"

	"github.com/quic-go/quic-go"

	"warren/keys"
)

const (
	joinProve = 10 * time.Second // for a joiner to open its stream and to prove its invite
	joinAll   = time.Minute      // for the whole conversation
	joinLast  = 3 * time.Second  // for a joiner to read what was said last
)

// JoinServer is the member's end of one warren-join/1 connection. Reads from it fail 10 s after the connection was made:
// who has found the joiner's proof good sets a later deadline with SetReadDeadline.
type JoinServer struct {
	*quic.Stream
	Exporter []byte
	Node     keys.NodeID // of the joiner's identity key, as its certificate shows it: proved, not authorised
	From     net.Addr
}

func (t *Transport) serveJoin(conn *quic.Conn) {
	defer func() { _ = conn.CloseWithError(codeDone, "") }()
	if t.cfg.Join == nil {
		return
	}
	ctx, cancel := context.WithTimeout(t.ctx, joinAll)
	defer cancel()
	proveBy := time.Now().Add(joinProve)
	first, stop := context.WithDeadline(ctx, proveBy)
	defer stop()
	stream, err := conn.AcceptStream(first)
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
	_ = stream.SetWriteDeadline(deadline)
	_ = stream.SetReadDeadline(proveBy)
	t.cfg.Join(ctx, JoinServer{Stream: stream, Exporter: exporter, Node: keys.NodeIDOf(public), From: conn.RemoteAddr()})
	_ = stream.Close()
	// The joiner closes when it has read all: closing first could overtake the last frame.
	select {
	case <-conn.Context().Done():
	case <-time.After(joinLast):
	case <-ctx.Done():
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
	conn, err := t.quic.Dial(ctx, addr, conf, quicConfig())
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
