package link

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"warren/keys/canon"
)

// Kind tells what the body of a frame is.
type Kind uint64

// The kinds of frames. Numbers are part of the protocol and never reused.
const (
	KindHello  Kind = 1 // first frame of a link
	KindGossip Kind = 2 // one message of package gossip
	KindError  Kind = 3 // answer to a call that failed; the body is text for a person

	KindRedeem Kind = 16 // call: a join request passed on to a signer

	KindJoinProve   Kind = 32 // joiner: proof that it holds the invite
	KindJoinWelcome Kind = 33 // member: log, chain and proof of its own
	KindJoinAsk     Kind = 34 // joiner: certificate request
	KindJoinIssued  Kind = 35 // member: the certificate
	KindJoinRefused Kind = 36 // member: why not
	KindJoinLog     Kind = 37 // member: a part of a log that does not fit into the welcome
)

// MaxFrame is the largest length of a frame, header not counted.
const MaxFrame = 64 << 10

// ErrFrame is wrapped by the errors of ReadFrame for bytes that are not a frame.
var ErrFrame = errors.New("malformed frame")

// Frame is one message on a stream.
type Frame struct {
	_    struct{} `cbor:",toarray"`
	Kind Kind
	Body []byte
}

// AppendFrame appends the frame to b. A body that does not fit into MaxFrame is an error.
func AppendFrame(b []byte, f Frame) ([]byte, error) {
	payload, err := canon.Marshal(f)
	if err != nil {
		return b, fmt.Errorf("link: encoding a frame: %w", err)
	}
	if len(payload) > MaxFrame {
		return b, fmt.Errorf("link: encoding a frame of %d bytes: more than %d: %w", len(payload), MaxFrame, ErrFrame)
	}
	n := len(payload)
	return append(append(b, byte(n>>16), byte(n>>8), byte(n)), payload...), nil
}

// WriteFrame writes one frame with one Write.
func WriteFrame(w io.Writer, f Frame) error {
	b, err := AppendFrame(nil, f)
	if err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("link: writing a frame: %w", err)
	}
	return nil
}

// ReadFrame reads one frame. At the end of the stream it returns io.EOF; bytes that are no frame give an error that
// wraps ErrFrame. It never holds more than MaxFrame bytes.
func ReadFrame(r io.Reader) (Frame, error) {
	var head [3]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return Frame{}, io.EOF
		}
		return Frame{}, fmt.Errorf("link: reading a frame: %w", err)
	}
	n := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	if n == 0 || n > MaxFrame {
		return Frame{}, fmt.Errorf("link: reading a frame of %d bytes: %w", n, ErrFrame)
	}
	// The buffer grows with what arrives, not with what is announced.
	var payload bytes.Buffer
	if _, err := io.CopyN(&payload, r, int64(n)); err != nil {
		return Frame{}, fmt.Errorf("link: reading a frame: %w", io.ErrUnexpectedEOF)
	}
	var f Frame
	if err := canon.Unmarshal(payload.Bytes(), MaxFrame, &f); err != nil {
		return Frame{}, fmt.Errorf("link: reading a frame: %w: %w", ErrFrame, err)
	}
	return f, nil
}
