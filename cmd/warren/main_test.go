package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"warren/mesh/control"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"warren": main})
}

// TestScripts runs the scripts of testdata. Beside testscript's own commands they have
//
//	agent FILE        serve the socket of $WARREN_STATE with the answers of a JSON file, see answers
//	exits N warren …  run a command and demand its exit code; stdout and stderr can be looked at then
//
// and "requests" in the work folder, which holds what the agent was asked, one "VERB JSON" a line.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("WARREN_STATE", filepath.Join(env.WorkDir, "state"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"agent": agent, "exits": exits},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N command [args]")
	}
	got, err := 0, ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

func agent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: agent FILE")
	}
	f := &fakeAgent{log: ts.MkAbs("requests")}
	dec := json.NewDecoder(bytes.NewReader([]byte(ts.ReadFile(args[0]))))
	dec.DisallowUnknownFields()
	ts.Check(dec.Decode(&f.answers))
	l, err := control.Listen(filepath.Join(ts.Getenv("WARREN_STATE"), "warren.sock"))
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.Serve(ctx, f, slog.New(slog.DiscardHandler)); err != nil {
			ts.Logf("the agent: %v", err)
		}
	})
	ts.Defer(func() { cancel(); wg.Wait() })
}

// answers is what a fake agent says.
type answers struct {
	Init     *control.InitReply
	Invite   *control.InviteReply
	Progress []string
	Join     *control.JoinReply
	Status   *control.Status
	Pongs    []control.Pong // of a peer b at 100.64.0.2
	Endless  bool           // after these no more, and no end
	IP       []netip.Addr
	Errors   map[string]*control.Error // by verb
}

// fakeAgent is a control.Backend that says what it was told to and notes what it was asked.
type fakeAgent struct {
	answers
	log string
	mu  sync.Mutex
}

var _ control.Backend = (*fakeAgent)(nil)

// note writes a request down and returns the error to answer with.
func (f *fakeAgent) note(verb string, req any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(f.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := fmt.Fprintf(file, "%s %s\n", verb, body); err != nil {
		return err
	}
	if e := f.Errors[verb]; e != nil {
		return e
	}
	return nil
}

func (f *fakeAgent) Init(_ context.Context, r control.InitRequest) (*control.InitReply, error) {
	return f.answers.Init, f.note("init", r)
}

func (f *fakeAgent) Invite(_ context.Context, r control.InviteRequest) (*control.InviteReply, error) {
	return f.answers.Invite, f.note("invite", r)
}

func (f *fakeAgent) Join(_ context.Context, r control.JoinRequest, progress func(control.Progress)) (*control.JoinReply, error) {
	for _, text := range f.Progress {
		progress(control.Progress{Text: text})
	}
	return f.answers.Join, f.note("join", r)
}

func (f *fakeAgent) Up(context.Context) error    { return f.note("up", nil) }
func (f *fakeAgent) Down(context.Context) error  { return f.note("down", nil) }
func (f *fakeAgent) Leave(context.Context) error { return f.note("leave", nil) }

func (f *fakeAgent) Status(_ context.Context, peer string) (*control.Status, error) {
	return f.answers.Status, f.note("status", peer)
}

func (f *fakeAgent) Ping(ctx context.Context, r control.PingRequest, pong func(control.Pong) error) error {
	for _, p := range f.Pongs {
		p.Name, p.Address = "b", netip.MustParseAddr("100.64.0.2")
		if err := pong(p); err != nil {
			return err
		}
	}
	err := f.note("ping", r)
	if f.Endless {
		<-ctx.Done()
	}
	return err
}

func (f *fakeAgent) IP(_ context.Context, peer string) ([]netip.Addr, error) {
	return f.answers.IP, f.note("ip", peer)
}

func (f *fakeAgent) Wait(ctx context.Context, r control.WaitRequest) error {
	err := f.note("wait", r)
	if f.Endless {
		<-ctx.Done()
	}
	return err
}
