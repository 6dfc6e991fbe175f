package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"warren/keys"
)

// Application error codes of CONNECTION_CLOSE.
const (
	codeDone    quic.ApplicationErrorCode = 0
	codeRefused quic.ApplicationErrorCode = 1
	codeSlow    quic.ApplicationErrorCode = 2 // did not read what we sent
	codeBroken  quic.ApplicationErrorCode = 3 // broke the framing
)

// HungUp reports whether a link ended because the other side closed it on purpose.
func HungUp(cause error) bool {
	e, ok := errors.AsType[*quic.ApplicationError](cause)
	return ok && e.Remote && e.ErrorCode == codeDone
}

const (
	helloTimeout = 5 * time.Second
	readTimeout  = 30 * time.Second // in which the other side must have taken a frame
	queueLength  = 512
	queueBytes   = 4 << 20

	datagramQueue = 32
	datagramRate  = 100 // a second that are taken from the other side
	datagramBurst = 200
)

// Link is one control link. It is used from any goroutine.
type Link struct {
	t      *Transport
	conn   *quic.Conn
	peer   keys.NodeID
	dialed bool
	onUp   func() // may be nil

	sync, push lane // towards the other side
	datagrams  chan []byte
}

// lane is one of the two streams that carry gossip our way. Its queue is bounded in frames and bytes.
type lane struct {
	stream *quic.SendStream
	frames chan []byte
	bytes  atomic.Int64
}

func newLink(t *Transport, conn *quic.Conn, peer keys.NodeID, dialed bool) *Link {
	l := &Link{t: t, conn: conn, peer: peer, dialed: dialed, datagrams: make(chan []byte, datagramQueue)}
	l.sync.frames = make(chan []byte, queueLength)
	l.push.frames = make(chan []byte, queueLength)
	return l
}

// Peer is the member at the other end.
func (l *Link) Peer() keys.NodeID { return l.peer }

// Dialed reports whether this side made the link.
func (l *Link) Dialed() bool { return l.dialed }

// RTT is the smoothed round-trip time of the link.
func (l *Link) RTT() time.Duration { return l.conn.ConnectionStats().SmoothedRTT }

// Close ends the link without waiting; Down follows from its goroutine.
func (l *Link) Close() { l.t.closeLater(l, codeDone) }

// Gossip queues one message, on the stream of comparisons if sync, else on that of news. It never blocks: a link whose
// queue is full is closed, and anti-entropy repairs the loss on the next one.
func (l *Link) Gossip(body []byte, sync bool) {
	frame, err := AppendFrame(nil, Frame{Kind: KindGossip, Body: body})
	if err != nil {
		panic("link: a gossip message larger than a frame: " + err.Error())
	}
	to := &l.push
	if sync {
		to = &l.sync
	}
	if to.bytes.Add(int64(len(frame))) <= queueBytes {
		select {
		case to.frames <- frame:
			return
		default:
		}
	}
	l.t.closeLater(l, codeSlow)
}

// Datagram sends an unreliable message of at most 1,100 bytes. It never blocks; what cannot be sent is lost.
func (l *Link) Datagram(body []byte) {
	select {
	case l.datagrams <- body:
	default:
	}
}

// run works the link until it ends and returns why. Up and Down of the handler bracket its life.
func (l *Link) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.conn.CloseWithError(codeDone, "") })
	defer stop()
	in, hello, err := l.greet(ctx)
	if err == nil {
		err = l.t.cfg.Handler.Up(l, hello)
	}
	if err != nil {
		_ = l.conn.CloseWithError(codeRefused, "")
		return err
	}
	if l.onUp != nil {
		l.onUp()
	}
	var wg sync.WaitGroup
	wg.Go(func() { l.writeLoop(&l.sync) })
	wg.Go(func() { l.writeLoop(&l.push) })
	wg.Go(l.datagramWriteLoop)
	wg.Go(l.datagramReadLoop)
	wg.Go(func() { l.callLoop(ctx) })
	wg.Go(l.pushLoop)
	err = l.readLoop(in)
	_ = l.conn.CloseWithError(codeBroken, "")
	cancel() // calls that are still being answered
	wg.Wait()
	if cause := context.Cause(l.conn.Context()); cause != nil {
		err = cause
	}
	l.t.cfg.Handler.Down(l, err)
	return err
}

// greet opens our streams, sends our hello and waits for the other side's.
func (l *Link) greet(ctx context.Context) (*quic.ReceiveStream, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	first, err := AppendFrame(nil, Frame{Kind: KindHello, Body: l.t.cfg.Hello()})
	if err != nil {
		return nil, nil, err
	}
	for _, lane := range []*lane{&l.sync, &l.push} {
		if lane.stream, err = l.conn.OpenUniStreamSync(ctx); err != nil {
			return nil, nil, fmt.Errorf("link: opening a stream to %s: %w", l.peer, err)
		}
	}
	deadline, _ := ctx.Deadline()
	_ = l.sync.stream.SetWriteDeadline(deadline)
	if _, err := l.sync.stream.Write(first); err != nil {
		return nil, nil, fmt.Errorf("link: writing to %s: %w", l.peer, err)
	}
	in, err := l.conn.AcceptUniStream(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("link: waiting for the stream of %s: %w", l.peer, err)
	}
	_ = in.SetReadDeadline(deadline)
	hello, err := ReadFrame(in)
	if err != nil {
		return nil, nil, err
	}
	if hello.Kind != KindHello {
		return nil, nil, fmt.Errorf("link: %s began with kind %d: %w", l.peer, hello.Kind, ErrFrame)
	}
	_ = in.SetReadDeadline(time.Time{})
	return in, hello.Body, nil
}

// writeLoop sends what is queued. A side that does not read loses its link: anti-entropy repairs what it missed.
func (l *Link) writeLoop(from *lane) {
	for {
		select {
		case frame := <-from.frames:
			from.bytes.Add(-int64(len(frame)))
			_ = from.stream.SetWriteDeadline(time.Now().Add(readTimeout))
			if _, err := from.stream.Write(frame); err != nil {
				_ = l.conn.CloseWithError(codeSlow, "")
				return
			}
		case <-l.conn.Context().Done():
			return
		}
	}
}

// pushLoop reads the other side's stream of news. It opens with the first of them.
func (l *Link) pushLoop() {
	in, err := l.conn.AcceptUniStream(l.conn.Context())
	if err != nil {
		return
	}
	if err := l.readLoop(in); err != nil {
		_ = l.conn.CloseWithError(codeBroken, "")
	}
}

func (l *Link) readLoop(in *quic.ReceiveStream) error {
	for {
		f, err := ReadFrame(in)
		if err != nil {
			return err
		}
		if f.Kind == KindGossip {
			l.t.cfg.Handler.Gossip(l, f.Body)
		}
	}
}

func (l *Link) datagramWriteLoop() {
	for {
		select {
		case b := <-l.datagrams:
			if err := l.conn.SendDatagram(b); err != nil {
				l.t.cfg.Log.Debug("datagram not sent", "peer", l.peer, "err", err)
			}
		case <-l.conn.Context().Done():
			return
		}
	}
}

// datagramReadLoop drops what comes faster than signals ever do: all members' share one loop of the engine.
func (l *Link) datagramReadLoop() {
	limit := newBucket(datagramRate, datagramBurst)
	for {
		b, err := l.conn.ReceiveDatagram(l.conn.Context())
		if err != nil {
			return
		}
		if limit.take() == 0 {
			l.t.cfg.Handler.Datagram(l, b)
		}
	}
}
