package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// lobby is a net.Listener in memory, so that time can be faked.
type lobby struct {
	conns chan net.Conn
	ended chan struct{}
}

func (l *lobby) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}
func (l *lobby) Close() error   { close(l.ended); return nil }
func (l *lobby) Addr() net.Addr { return &net.UnixAddr{} }

// visit runs f in a bubble with the caller's end of a connection to b.
func visit(t *testing.T, b Backend, f func(t *testing.T, conn net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lobby{conns: make(chan net.Conn), ended: make(chan struct{})}
		srv := &http.Server{Handler: routes(b)}
		served := make(chan error)
		go func() { served <- srv.Serve(l) }()
		near, far := net.Pipe()
		l.conns <- far
		f(t, near)
		_ = near.Close()
		time.Sleep(time.Second) // the server gives callers half of that to read the last answer
		_ = srv.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
}

// post writes the head of a request and what there is of its body.
func post(t *testing.T, conn net.Conn, verb, body string, length int) {
	t.Helper()
	_, err := fmt.Fprintf(conn, "POST /v1/%s HTTP/1.1\r\nHost: warren\r\nContent-Length: %d\r\n\r\n%s", verb, length, body)
	if err != nil {
		t.Fatal(err)
	}
}

// answered reads an answer that is an error.
func answered(t *testing.T, conn net.Conn) *Error {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	e := new(Error)
	if err := json.NewDecoder(resp.Body).Decode(e); err != nil || resp.StatusCode == http.StatusOK {
		t.Fatalf("status %s, %v; want an error", resp.Status, err)
	}
	return e
}

func TestBadRequests(t *testing.T) {
	for name, tt := range map[string]struct{ verb, body string }{
		"no JSON":            {"up", "hello"},
		"nothing":            {"up", ""},
		"more than one":      {"up", "{}{}"},
		"another type":       {"invite", `{"uses": "many"}`},
		"uses below zero":    {"invite", `{"uses": -1, "ttl": 1}`},
		"lifetime below":     {"invite", `{"uses": 1, "ttl": -1}`},
		"pings below zero":   {"ping", `{"count": -1}`},
		"an address range":   {"init", `{"ip_range": "10.0.0.0"}`},
		"larger than it may": {"up", `{"peer": "` + strings.Repeat("x", maxRequest) + `"}`},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			visit(t, f, func(t *testing.T, conn net.Conn) {
				go func() { // the server may answer before it has read all
					_, _ = fmt.Fprintf(conn, "POST /v1/%s HTTP/1.1\r\nHost: w\r\nContent-Length: %d\r\n\r\n%s", tt.verb, len(tt.body), tt.body)
				}()
				if e := answered(t, conn); e.Exit != ExitUsage || f.got != nil {
					t.Errorf("answer %+v, the backend got %v; want a usage error and nothing", e, f.got)
				}
			})
		})
	}
}

// TestSlowBody: a body that does not come ends the request.
func TestSlowBody(t *testing.T) {
	f := &fake{}
	visit(t, f, func(t *testing.T, conn net.Conn) {
		began := time.Now()
		post(t, conn, "up", "{", 100)
		if e := answered(t, conn); e.Exit != ExitUsage || f.got != nil {
			t.Errorf("answer %+v, the backend got %v", e, f.got)
		}
		if took := time.Since(began); took > bodyTime+time.Second {
			t.Errorf("the answer took %s", took)
		}
	})
}

// chatter is a Backend whose Ping goes on until pong fails or the caller hangs up, and whose Join tells that it ended.
type chatter struct {
	fake
	ended chan error
}

func (c *chatter) Ping(ctx context.Context, _ PingRequest, pong func(Pong) error) error {
	var err error
	for err == nil && ctx.Err() == nil {
		err = pong(Pong{Seq: 1})
	}
	c.ended <- errors.Join(err, ctx.Err())
	return err
}

func (c *chatter) Join(_ context.Context, _ JoinRequest, progress func(Progress)) (*JoinReply, error) {
	for range 1000 {
		progress(Progress{Text: "still here"})
	}
	c.ended <- nil
	return &JoinReply{}, nil
}

// TestCallerThatReadsNothing, or hangs up in the middle, holds nothing for long.
func TestCallerThatReadsNothing(t *testing.T) {
	for _, verb := range []string{"ping", "join"} {
		c := &chatter{}
		visit(t, c, func(t *testing.T, conn net.Conn) {
			c.ended = make(chan error, 1) // in the bubble
			post(t, conn, verb, "{}", 2)
			select {
			case <-c.ended:
			case <-time.After(lineTime + time.Second):
				t.Errorf("%s goes on though nobody reads", verb)
			}
		})
	}
	c := &chatter{}
	visit(t, c, func(t *testing.T, conn net.Conn) {
		c.ended = make(chan error, 1)
		post(t, conn, "ping", "{}", 2)
		if _, err := io.CopyN(io.Discard, conn, 1000); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if err := <-c.ended; err == nil {
			t.Error("ping ended by itself")
		}
	})
}

// TestHangUpIsNoticed also where the request says nothing of its length.
func TestHangUpIsNoticed(t *testing.T) {
	f := &fake{}
	visit(t, f, func(t *testing.T, conn net.Conn) {
		f.block, f.blocked = make(chan struct{}), make(chan struct{})
		_, err := io.WriteString(conn, "POST /v1/wait HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		<-f.block
		time.Sleep(2 * bodyTime) // a deadline of the body must not end the request
		select {
		case <-f.blocked:
			t.Error("the request ended while the caller waited")
		default:
		}
		_ = conn.Close()
		<-f.blocked
	})
}

// TestFair: one user cannot take all connections; root may have any number.
func TestFair(t *testing.T) {
	l := &fair{live: map[int]int{}}
	for range maxOfUser {
		if !l.enter(1000) {
			t.Fatal("refused too early")
		}
	}
	if l.enter(1000) || !l.enter(1001) {
		t.Error("one user has more than its share, or another none")
	}
	for range 2 * maxOfUser {
		if !l.enter(0) {
			t.Fatal("root was refused")
		}
		defer l.leave(0)
	}
	l.leave(1000)
	if !l.enter(1000) {
		t.Error("no room though one left")
	}
	for range maxOfUser {
		l.leave(1000)
	}
	l.leave(1001)
	if l.live[1000] != 0 || l.live[1001] != 0 {
		t.Errorf("all left, yet %v are counted", l.live)
	}
}
