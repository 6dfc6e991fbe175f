package link

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

const (
	callTimeout  = 15 * time.Second
	maxErrorText = 512 // bytes of the text of a call that failed

	callRate  = 20 // a second that are taken from the other side; more wait
	callBurst = 40
)

// RemoteError is what the other side answered to a call that failed.
type RemoteError struct{ Text string }

// Error returns the other side's text, at most 512 bytes of it.
func (e *RemoteError) Error() string { return e.Text }

// Call asks the other side and waits for its answer, 15 s at most. An error that the other side reports is a
// *RemoteError.
func (l *Link) Call(ctx context.Context, kind Kind, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	stream, err := l.conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, fmt.Errorf("link: calling %s: %w", l.peer, err)
	}
	stop := context.AfterFunc(ctx, func() { stream.CancelRead(0); stream.CancelWrite(0) })
	defer stop()
	if err := WriteFrame(stream, Frame{Kind: kind, Body: body}); err != nil {
		return nil, err
	}
	_ = stream.Close()
	answer, err := ReadFrame(stream)
	stream.CancelRead(0)
	switch {
	case err != nil:
		return nil, fmt.Errorf("link: calling %s: %w", l.peer, err)
	case answer.Kind == KindError:
		return nil, &RemoteError{Text: strings.ToValidUTF8(string(answer.Body[:min(len(answer.Body), maxErrorText)]), "")}
	case answer.Kind != kind:
		return nil, fmt.Errorf("link: calling %s: answer of kind %d to %d: %w", l.peer, answer.Kind, kind, ErrFrame)
	}
	return answer.Body, nil
}

func (l *Link) callLoop(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	limit := newBucket(callRate, callBurst)
	for {
		for wait := limit.take(); wait > 0; wait = limit.take() {
			select {
			case <-time.After(wait):
			case <-l.conn.Context().Done():
				return
			}
		}
		stream, err := l.conn.AcceptStream(l.conn.Context())
		if err != nil {
			return
		}
		wg.Go(func() { l.answer(ctx, stream) })
	}
}

func (l *Link) answer(ctx context.Context, stream *quic.Stream) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	_ = stream.SetDeadline(deadline)
	defer func() { _ = stream.Close() }()
	defer stream.CancelRead(0) // else the stream counts as open for ever
	ask, err := ReadFrame(stream)
	if err != nil {
		return
	}
	reply := Frame{Kind: ask.Kind}
	if reply.Body, err = l.t.cfg.Handler.Call(ctx, l, ask.Kind, ask.Body); err != nil {
		reply = Frame{Kind: KindError, Body: []byte(err.Error())}
	}
	if err := WriteFrame(stream, reply); err != nil {
		l.t.cfg.Log.Debug("call not answered", "peer", l.peer, "err", err)
	}
}
