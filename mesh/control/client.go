package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"syscall"
)

var _ Backend = (*Client)(nil)

// Client asks the agent that serves a socket. Its methods are those of Backend; their errors are *Error (ExitNotRunning
// where nobody serves the socket), or wrap the context's. Safe for concurrent use.
type Client struct {
	path string
	http http.Client
}

// NewClient returns a client for the socket at path, whose length is not limited by sun_path. Nothing is opened yet.
func NewClient(path string) *Client {
	c := &Client{path: path}
	c.http.Transport = &http.Transport{
		DisableKeepAlives:  true, // a verb asks once
		DisableCompression: true,
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, path) },
	}
	return c
}

// Init asks the agent, see Backend.
func (c *Client) Init(ctx context.Context, r InitRequest) (*InitReply, error) {
	return ask[InitReply](ctx, c, "init", r)
}

// Invite asks the agent, see Backend.
func (c *Client) Invite(ctx context.Context, r InviteRequest) (*InviteReply, error) {
	return ask[InviteReply](ctx, c, "invite", r)
}

// Join asks the agent, see Backend.
func (c *Client) Join(ctx context.Context, r JoinRequest, progress func(Progress)) (*JoinReply, error) {
	var rep *JoinReply
	err := c.follow(ctx, "join", r, func(l line) error {
		if l.Progress != nil {
			progress(*l.Progress)
		}
		if l.Reply != nil {
			rep = l.Reply
		}
		return nil
	})
	return rep, err
}

// Up asks the agent, see Backend.
func (c *Client) Up(ctx context.Context) error { return c.do(ctx, "up") }

// Down asks the agent, see Backend.
func (c *Client) Down(ctx context.Context) error { return c.do(ctx, "down") }

// Leave asks the agent, see Backend.
func (c *Client) Leave(ctx context.Context) error { return c.do(ctx, "leave") }

// Status asks the agent, see Backend.
func (c *Client) Status(ctx context.Context, peer string) (*Status, error) {
	return ask[Status](ctx, c, "status", peerRequest{Peer: peer})
}

// Ping asks the agent, see Backend.
func (c *Client) Ping(ctx context.Context, r PingRequest, pong func(Pong) error) error {
	return c.follow(ctx, "ping", r, func(l line) error {
		if l.Pong == nil {
			return nil
		}
		p := l.Pong.Pong
		p.Name, p.Address = l.Pong.Name, l.Pong.Address
		return pong(p)
	})
}

// IP asks the agent, see Backend.
func (c *Client) IP(ctx context.Context, peer string) ([]netip.Addr, error) {
	rep, err := ask[ipReply](ctx, c, "ip", peerRequest{Peer: peer})
	if err != nil {
		return nil, err
	}
	return rep.Addresses, nil
}

// Wait asks the agent, see Backend.
func (c *Client) Wait(ctx context.Context, r WaitRequest) error {
	_, err := ask[empty](ctx, c, "wait", r)
	return err
}

func (c *Client) do(ctx context.Context, verb string) error {
	_, err := ask[empty](ctx, c, verb, empty{})
	return err
}

// ask posts a request and reads one document.
func ask[Rep any](ctx context.Context, c *Client, verb string, req any) (*Rep, error) {
	resp, err := c.post(ctx, verb, req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	rep := new(Rep)
	if err := json.NewDecoder(resp.Body).Decode(rep); err != nil {
		return nil, cutOff(ctx, err)
	}
	return rep, nil
}

// follow posts a request and hands each line of the answer to f, but for the one that ends it. An error of f ends it
// too and is returned.
func (c *Client) follow(ctx context.Context, verb string, req any, f func(line) error) error {
	resp, err := c.post(ctx, verb, req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for {
		var l line
		if err := dec.Decode(&l); err != nil {
			return cutOff(ctx, err)
		}
		switch {
		case l.Error != nil:
			return l.Error
		case l.Done:
			return nil
		}
		if err := f(l); err != nil {
			return err
		}
	}
}

// post returns an answer that is no error; its body is the caller's to close.
func (c *Client) post(ctx context.Context, verb string, req any) (*http.Response, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("control: writing a request: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://warren/v1/"+verb, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("control: making a request: %w", err)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	e := new(Error)
	if err := json.NewDecoder(resp.Body).Decode(e); err != nil || e.Exit == 0 {
		return nil, Errorf(ExitFailed, "", "the agent answered %s", resp.Status)
	}
	return nil, e
}

// unreachable says why nobody answered.
func (c *Client) unreachable(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		return Errorf(ExitNotRunning, "", "no agent is running (nobody answers at %s)", c.path)
	case errors.Is(err, fs.ErrPermission):
		return Errorf(ExitPermission, "run it as root, or as a member of the group "+Group,
			"this user may not use the agent at %s", c.path)
	}
	return cutOff(ctx, err)
}

// cutOff is the error of an answer that did not end as it should.
func cutOff(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return Errorf(ExitFailed, "see the agent's log", "the agent ended before it had answered")
	}
	return Errorf(ExitFailed, "see the agent's log", "the agent ended before it had answered: %w", err)
}
