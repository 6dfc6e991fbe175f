package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"warren/nat/netlab"
)

// binary is the warren program under test, built once from the source tree.
var binary string

func TestMain(m *testing.M) {
	code, ran, err := netlab.Reexec()
	if ran {
		os.Exit(code)
	}
	os.Exit(runTests(m, err))
}

func runTests(m *testing.M, unsupported error) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "lab-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if unsupported == nil && !testing.Short() {
		if binary, err = build(context.Background(), dir, "warren", "warren/cmd/warren"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	// Agents mostly wait for each other: more tests than processors run well beside each other.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := flag.Set("test.parallel", "4"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// story is one end-to-end test: a world, and a time within which everything in it must have happened.
type story struct {
	*testing.T
	*world
	ctx context.Context
}

// tell begins a story beside the others. Where there can be no lab it is skipped, unless WARREN_E2E=required.
func tell(t *testing.T, within time.Duration) *story {
	t.Helper()
	t.Parallel()
	if testing.Short() {
		t.Skip("end-to-end tests take long")
	}
	if err := netlab.Check(); err != nil {
		if errors.Is(err, netlab.ErrUnsupported) && os.Getenv("WARREN_E2E") != "required" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	w, err := newWorld(t.TempDir(), binary)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(func() {
		cancel()
		if err := w.close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if t.Failed() {
			t.Logf("the agents' logs:\n%s", w.logs(40))
		}
	})
	return &story{T: t, world: w, ctx: ctx}
}

// within is a context for one part of the story.
func (s *story) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(s.ctx, d)
	s.Cleanup(cancel)
	return ctx
}

func (s *story) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *story) atPublic(name string) *member {
	s.Helper()
	m, err := s.public(s.ctx, name)
	s.must(err)
	return m
}

func (s *story) atHome(name string, kind netlab.NAT) *member {
	s.Helper()
	m, err := s.home(s.ctx, name, kind)
	s.must(err)
	return m
}

// found makes the first member of a network.
func (s *story) found(m *member) {
	s.Helper()
	s.run(m, "init", "--name", "lab", "--hostname", m.name)
}

// run runs a verb that must succeed and returns its stdout without blanks around.
func (s *story) run(m *member, args ...string) string {
	s.Helper()
	out, err := m.ok(s.ctx, args...)
	s.must(err)
	return strings.TrimSpace(out)
}

// fails runs a verb that must fail with this exit code, an error that holds these words, and a hint.
func (s *story) fails(m *member, exit int, words string, args ...string) result {
	s.Helper()
	r, err := m.warren(s.ctx, args...)
	s.must(err)
	if r.exit != exit {
		s.Errorf("exit %d, want %d; on %s %s", r.exit, exit, m.name, r)
		return r
	}
	s.complaint(r.stderr, words)
	return r
}

// complaint checks an error message for people.
func (s *story) complaint(text, words string) {
	s.Helper()
	lower := strings.ToLower(text)
	if !strings.Contains(text, "warren: error: ") || !strings.Contains(lower, strings.ToLower(words)) {
		s.Errorf("want `warren: error:` with %q, got: %s", words, text)
	}
	if !strings.Contains(text, "warren: hint: ") {
		s.Errorf("want a hint, got: %s", text)
	}
	if strings.Contains(text, "goroutine ") || strings.Contains(text, "panic") {
		s.Errorf("a stack trace: %s", text)
	}
}

// refuses starts an agent that must end by itself with one of these exit codes and an error that holds these words.
func (s *story) refuses(m *member, words string, exits ...int) {
	s.Helper()
	s.must(m.launch())
	select {
	case <-m.agent.Done():
	case <-s.within(10 * time.Second).Done():
		s.Errorf("the agent of %s still runs; log:\n%s", m.name, m.log())
		s.must(m.agent.Kill())
		return
	}
	if got := m.agent.ExitCode(); !slices.Contains(exits, got) {
		s.Errorf("the agent of %s ended with %d, want %v; log:\n%s", m.name, got, exits, m.log())
	}
	s.complaint(m.log(), words)
}

// eventually polls until ok returns "", which says what is still wrong.
func (s *story) eventually(d time.Duration, what string, ok func() string) {
	s.Helper()
	wrong := ""
	err := await(s.within(d), 100*time.Millisecond, func() (bool, error) {
		wrong = ok()
		return wrong == "", nil
	})
	if err != nil {
		s.Errorf("%s, not within %s: %s", what, d, wrong)
	}
}

// path says "" if m sees the other by this path.
func (s *story) path(m, other *member, want string) string {
	p, err := m.peer(s.ctx, other)
	switch {
	case err != nil:
		return err.Error()
	case p.Path != want:
		return fmt.Sprintf("%s sees %s as %q (%s), want %q", m.name, other.name, p.Path, p.Reason, want)
	}
	return ""
}

// inviting returns a fresh code for one host.
func (s *story) inviting(m *member) string {
	s.Helper()
	return s.run(m, "invite")
}
