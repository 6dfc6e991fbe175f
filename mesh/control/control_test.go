package control

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fake is a Backend that answers what its fields say.
type fake struct {
	err     error
	got     any
	block   chan struct{} // Wait says here that it started
	blocked chan struct{} // and here that it ended
}

func (f *fake) Init(_ context.Context, r InitRequest) (*InitReply, error) {
	f.got = r
	return &InitReply{Network: Network{Name: r.Name, Members: 1}, RecoveryKey: "k"}, f.err
}

func (f *fake) Invite(_ context.Context, r InviteRequest) (*InviteReply, error) {
	f.got = r
	return &InviteReply{Code: "warren1:x", Expires: Time{time.Unix(1, 0)}}, f.err
}

func (f *fake) Join(_ context.Context, r JoinRequest, progress func(Progress)) (*JoinReply, error) {
	f.got = r
	progress(Progress{Text: "one"})
	progress(Progress{Text: "two"})
	return &JoinReply{Self: Host{Name: "b"}, Reached: []Reached{{Name: "a", Path: PathDirect, RTT: Millis(1200 * time.Microsecond)}}}, f.err
}

func (f *fake) Up(context.Context) error    { f.got = "up"; return f.err }
func (f *fake) Down(context.Context) error  { f.got = "down"; return f.err }
func (f *fake) Leave(context.Context) error { f.got = "leave"; return f.err }

func (f *fake) Status(_ context.Context, peer string) (*Status, error) {
	f.got = peer
	return &Status{State: StateNone}, f.err
}

func (f *fake) Ping(_ context.Context, r PingRequest, pong func(Pong) error) error {
	f.got = r
	for seq := range r.Count {
		p := Pong{Name: "b", Address: netip.MustParseAddr("100.64.0.2"), Seq: seq + 1, OK: true, RTT: Millis(time.Millisecond)}
		if err := pong(p); err != nil {
			return err
		}
	}
	return f.err
}

func (f *fake) IP(_ context.Context, peer string) ([]netip.Addr, error) {
	f.got = peer
	return []netip.Addr{netip.MustParseAddr("100.64.0.1"), netip.MustParseAddr("fd00::1")}, f.err
}

func (f *fake) Wait(ctx context.Context, r WaitRequest) error {
	f.got = r
	if f.block != nil {
		close(f.block)
		<-ctx.Done()
		close(f.blocked)
		return ctx.Err()
	}
	return f.err
}

// serve serves b at path until the test ends, and returns a client.
func serve(t *testing.T, b Backend, path string) *Client {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Serve(ctx, b, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return NewClient(path)
}

func socket(t *testing.T) string { return filepath.Join(t.TempDir(), "warren.sock") }

func TestVerbs(t *testing.T) {
	f := &fake{}
	c := serve(t, f, socket(t))
	ctx := t.Context()
	var steps []string
	var pongs []Pong
	calls := []struct {
		verb string
		do   func() (any, error)
		want any // what the backend gets
		rep  any
	}{
		{"init", func() (any, error) {
			r, err := c.Init(ctx, InitRequest{Name: "home", IPRange: netip.MustParsePrefix("10.9.0.0/16")})
			return r.Network.Name + r.RecoveryKey, err
		}, InitRequest{Name: "home", IPRange: netip.MustParsePrefix("10.9.0.0/16")}, "homek"},
		{"invite", func() (any, error) {
			r, err := c.Invite(ctx, InviteRequest{TTL: time.Hour, Uses: 2})
			return r.Code + r.Expires.String(), err
		}, nil, "warren1:x1970-01-01 00:00:01 +0000 UTC"},
		{"join", func() (any, error) {
			r, err := c.Join(ctx, JoinRequest{Code: "c", Timeout: 1}, func(p Progress) { steps = append(steps, p.Text) })
			return r.Self.Name + r.Reached[0].Name + strings.Join(steps, ""), err
		}, JoinRequest{Code: "c", Timeout: 1}, "baonetwo"},
		{"up", func() (any, error) { return nil, c.Up(ctx) }, "up", nil},
		{"down", func() (any, error) { return nil, c.Down(ctx) }, "down", nil},
		{"leave", func() (any, error) { return nil, c.Leave(ctx) }, "leave", nil},
		{"status", func() (any, error) { r, err := c.Status(ctx, "b"); return r.State, err }, "b", StateNone},
		{"ping", func() (any, error) {
			err := c.Ping(ctx, PingRequest{Peer: "b", Count: 2}, func(p Pong) error { pongs = append(pongs, p); return nil })
			return len(pongs), err
		}, PingRequest{Peer: "b", Count: 2}, 2},
		{"ip", func() (any, error) { r, err := c.IP(ctx, "b"); return r[1].String(), err }, "b", "fd00::1"},
		{"wait", func() (any, error) { return nil, c.Wait(ctx, WaitRequest{Direct: true}) }, WaitRequest{Direct: true}, nil},
	}
	for _, call := range calls {
		rep, err := call.do()
		if err != nil || rep != call.rep {
			t.Errorf("%s: got %v, %v; want %v", call.verb, rep, err, call.rep)
		}
		if call.want != nil && f.got != call.want {
			t.Errorf("%s: the backend got %+v, want %+v", call.verb, f.got, call.want)
		}
	}
	if len(pongs) == 2 && (pongs[1].Name != "b" || pongs[1].Address.String() != "100.64.0.2" || pongs[1].Seq != 2 || *pongs[1].RTT != 1) {
		t.Errorf("pong: got %+v", pongs[1])
	}
}

func TestErrorsTravel(t *testing.T) {
	f := &fake{}
	c := serve(t, f, socket(t))
	ctx := t.Context()
	verbs := map[string]func() error{
		"up":     func() error { return c.Up(ctx) },
		"status": func() error { _, err := c.Status(ctx, ""); return err },
		"ping":   func() error { return c.Ping(ctx, PingRequest{Count: 1}, func(Pong) error { return nil }) },
	}
	for name, do := range verbs {
		for _, test := range []struct {
			err  error
			want Error
		}{
			{Errorf(ExitNoNetwork, "a hint", "no network"), Error{Exit: 4, Message: "no network", Hint: "a hint"}},
			{Errorf(ExitPermission, "", "no signer"), Error{Exit: 5, Message: "no signer"}},
			{errors.New("disk: full"), Error{Exit: 1, Message: "disk: full"}},
		} {
			f.err = test.err
			var e *Error
			if err := do(); !errors.As(err, &e) || *e != test.want {
				t.Errorf("%s: got %+v, want %+v", name, err, test.want)
			}
		}
	}
	f.err = Errorf(ExitFailed, "", "nobody answered")
	rep, err := c.Join(ctx, JoinRequest{}, func(Progress) {})
	if rep == nil || rep.Self.Name != "b" || err == nil || err.Error() != "nobody answered" {
		t.Errorf("join with reply and error: got %+v, %v", rep, err)
	}
}

func TestPingStopsWhenPongFails(t *testing.T) {
	c := serve(t, &fake{}, socket(t))
	stop := errors.New("enough")
	seen := 0
	err := c.Ping(t.Context(), PingRequest{Count: 1000}, func(Pong) error { seen++; return stop })
	if !errors.Is(err, stop) || seen != 1 {
		t.Errorf("got %v after %d pongs, want %v after 1", err, seen, stop)
	}
}

func TestHangUpEndsTheRequest(t *testing.T) {
	f := &fake{block: make(chan struct{}), blocked: make(chan struct{})}
	c := serve(t, f, socket(t))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-f.block; cancel() }()
	if err := c.Wait(ctx, WaitRequest{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	<-f.blocked
}

func TestServeEndsRequestsUnderWay(t *testing.T) {
	f := &fake{block: make(chan struct{}), blocked: make(chan struct{})}
	l, err := Listen(socket(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served, asked := make(chan error), make(chan error)
	go func() { served <- l.Serve(ctx, f, slog.New(slog.DiscardHandler)) }()
	go func() { asked <- NewClient(l.path).Wait(t.Context(), WaitRequest{}) }()
	<-f.block
	cancel()
	<-f.blocked
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	var e *Error
	if err := <-asked; !errors.As(err, &e) || e.Exit != ExitFailed || !strings.Contains(e.Message, "stopped") {
		t.Errorf("the request that was cut off: got %v, want that the agent was stopped", err)
	}
}

func TestNobodyServes(t *testing.T) {
	path := socket(t)
	check := func(what string, want int) {
		t.Helper()
		var e *Error
		if err := NewClient(path).Up(t.Context()); !errors.As(err, &e) || e.Exit != want {
			t.Errorf("%s: got %#v, want exit %d", what, err, want)
		}
	}
	check("no socket", ExitNotRunning)
	dead(t, path)
	check("dead socket", ExitNotRunning)
	path = filepath.Join(path, "deeper")
	check("no folder", ExitNotRunning)
}

// dead leaves a socket that nobody serves.
func dead(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
}

func TestListen(t *testing.T) {
	t.Run("replaces a dead socket", func(t *testing.T) {
		path := socket(t)
		dead(t, path)
		if err := serve(t, &fake{}, path).Up(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("leaves a live one alone", func(t *testing.T) {
		path := socket(t)
		c := serve(t, &fake{}, path)
		if _, err := Listen(path); !errors.Is(err, ErrInUse) {
			t.Errorf("got %v, want %v", err, ErrInUse)
		}
		if err := c.Up(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("leaves a file alone", func(t *testing.T) {
		path := socket(t)
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Listen(path); err == nil {
			t.Error("a file was taken for a dead socket")
		}
		if got, _ := os.ReadFile(path); string(got) != "mine" {
			t.Errorf("the file holds %q now", got)
		}
	})
	t.Run("long folder name", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), strings.Repeat("x", 120), strings.Repeat("y", 120))
		if err := serve(t, &fake{}, filepath.Join(dir, "warren.sock")).Up(t.Context()); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) != 0 {
			t.Errorf("left over: %v", left)
		}
	})
	t.Run("closed to others", func(t *testing.T) {
		path := socket(t)
		serve(t, &fake{}, path)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&0o007 != 0 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	})
	t.Run("removes no other's socket", func(t *testing.T) {
		path := socket(t)
		l, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		os.Remove(path)
		dead(t, path)
		l.Close()
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("the other socket is gone: %v", err)
		}
	})
}

func TestAllowed(t *testing.T) {
	for _, test := range []struct {
		p        peer
		uid, gid int
		want     bool
	}{
		{peer{uid: 0}, 0, -1, true},
		{peer{uid: 0}, 1000, -1, true},
		{peer{uid: 1000}, 1000, -1, true},
		{peer{uid: 1000, groups: []uint32{1000}}, 0, -1, false},
		{peer{uid: 1000, groups: []uint32{0}}, 0, -1, false},
		{peer{uid: 1000, groups: []uint32{1000, 990}}, 0, 990, true},
		{peer{uid: 1000, groups: []uint32{1000}}, 0, 990, false},
	} {
		if got := allowed(test.p, test.uid, test.gid); got != test.want {
			t.Errorf("%+v at an agent of uid %d, group %d: got %v, want %v", test.p, test.uid, test.gid, got, test.want)
		}
	}
}

func TestCredentials(t *testing.T) {
	path := socket(t)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn, err := l.ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p, ok := withPeer(t.Context(), conn).Value(peerKey{}).(peer)
	if !ok || p.uid != os.Getuid() || p.groups[0] != uint32(os.Getgid()) {
		t.Fatalf("got %+v, want uid %d and group %d first", p, os.Getuid(), os.Getgid())
	}
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		if !slices.Contains(p.groups, uint32(g)) {
			t.Errorf("group %d is missing in %v", g, p.groups)
		}
	}
}

func TestDocumentsHaveEveryKey(t *testing.T) {
	for _, test := range []struct {
		doc  any
		want string
	}{
		{Status{State: StateNone}, `{"version":"","state":"none","warnings":[],"network":null,"self":{"name":null,"id":null,` +
			`"addresses":[],"public_key":null,"candidates":[],"signer":false,"expires":null,` +
			`"nat":{"udp":null,"mapping":null,"filtering":null},"relays":[]},"peers":[],"forwarding":[]}`},
		{Peer{Path: PathIdle}, `{"name":"","id":"","addresses":[],"online":false,"path":"idle","reason":"","endpoint":null,` +
			`"relay":null,"transport":null,"rtt_ms":null,"legs_ms":[],"rx_bytes":0,"tx_bytes":0,"last_handshake":null}`},
		{Pong{Name: "b", Seq: 1}, `{"seq":1,"ok":false,"rtt_ms":null,"path":null,"endpoint":null,"relay":null,` +
			`"transport":null,"error":null}`},
		{InviteReply{Expires: Time{time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)}}, `{"code":"","id":"",` +
			`"expires":"2030-01-02T03:04:05Z","uses":0,"endpoints":[],"warnings":[]}`},
	} {
		got, err := json.Marshal(test.doc)
		if err != nil || string(got) != test.want {
			t.Errorf("%T:\n got %s, %v\nwant %s", test.doc, got, err, test.want)
		}
	}
}

// What could be a member may become one; what could not is not worth waiting for.
func TestPickNoMember(t *testing.T) {
	for text, want := range map[string]bool{
		"late": true, "late.lab.internal": true, "100.64.0.9": true, "abcdef0": true,
		"": false, "a b": false, "10.0.0.0/8": false, "a_b": false, "late.example.org": false,
	} {
		_, err := Pick(text, []Named{{Name: "a", ID: "qqqqqqq"}})
		if got := errors.Is(err, ErrNoMember); err == nil || got != want {
			t.Errorf("%q: got %v, want that it may come: %v", text, err, want)
		}
	}
}

func TestPick(t *testing.T) {
	members := []Named{
		{Name: "a", ID: "abcdefgh", Addresses: []netip.Addr{netip.MustParseAddr("100.64.0.1"), netip.MustParseAddr("fd00::1")}},
		{Name: "abcdefg", ID: "bbbbbbbb"},
		{Name: "c", ID: "abcdefzz"},
	}
	for _, test := range []struct {
		text string
		want int
		hint string
	}{
		{"a", 0, ""},
		{"A.home.internal.", 0, ""},
		{"100.64.0.1", 0, ""},
		{"FD00:0::1", 0, ""},
		{"abcdefg", 1, ""}, // a name before the prefix of an id
		{"abcdefgh", 0, ""},
		{"ABCDEFZ", 2, ""},
		{"bbbbb", -1, "status"},
		{"abcdef", -1, "a (abcdefgh) or c (abcdefzz)"},
		{"100.64.0.9", -1, "status"},
		{"a.example.org", -1, "status"},
		{"", -1, "status"},
	} {
		got, err := Pick(test.text, members)
		if got != test.want || (err == nil) != (test.want >= 0) {
			t.Errorf("%q: got %d, %v; want %d", test.text, got, err, test.want)
		}
		if e := AsError(err); e != nil && (e.Exit != ExitUsage || !strings.Contains(e.Hint, test.hint)) {
			t.Errorf("%q: exit %d, hint %q; want exit 2, hint %q", test.text, e.Exit, e.Hint, test.hint)
		}
	}
}
