package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"warren/nat/netlab"
)

// TestNothingLeft compares what the kernel of a host holds before, during and after an agent's life.
func TestNothingLeft(t *testing.T) {
	s := tell(t, time.Minute)
	a, b := s.atPublic("a"), s.atPublic("b")
	s.found(a)
	s.must(s.admit(s.ctx, a, b))
	s.pingAll(10*time.Second, a, b)
	running, err := b.traces()
	s.must(err)
	if len(running) == 0 {
		t.Error("a running member has no interface, no route and no rule")
	}
	clean := func(when string) {
		t.Helper()
		if left, err := b.traces(); err != nil || len(left) > 0 {
			t.Errorf("left %s: %v\n%s", when, err, strings.Join(left, "\n"))
		}
	}
	s.must(b.stop(s.ctx))
	clean("after SIGTERM")

	s.must(b.start(s.ctx))
	s.pingAll(20*time.Second, a, b)
	s.must(b.agent.Kill())
	s.must(b.start(s.ctx))
	s.pingAll(20*time.Second, a, b)
	if again, err := b.traces(); err != nil || !slices.Equal(again, running) {
		t.Errorf("after kill -9 and a new start: %v\n%s\nbefore\n%s", err, strings.Join(again, "\n"), strings.Join(running, "\n"))
	}
	s.run(b, "down")
	clean("after down")
	s.run(b, "up")
	s.must(b.stop(s.ctx))
	clean("after kill -9, a new start and SIGTERM")
}

// TestUpDownLeave takes a member off the network, for a while and for good.
func TestUpDownLeave(t *testing.T) {
	s := tell(t, time.Minute)
	a, b := s.atPublic("a"), s.atHome("b", netlab.PortRestricted)
	s.found(a)
	s.must(s.admit(s.ctx, a, b))
	s.pingAll(10*time.Second, a, b)
	state := func(m *member) string {
		st, err := m.status(s.ctx)
		if err != nil {
			return err.Error()
		}
		return st.State
	}

	s.run(b, "down")
	if got := state(b); got != "down" {
		t.Errorf("state %q after down", got)
	}
	s.must(b.stop(s.ctx))
	s.must(b.start(s.ctx))
	if got := state(b); got != "down" {
		t.Errorf("state %q after down and a new start: it is to be remembered", got)
	}
	s.run(b, "up")
	if got := state(b); got != "up" {
		t.Errorf("state %q after up", got)
	}
	s.pingAll(15*time.Second, a, b)
	if out := s.run(b, "ping", "a", "-c", "2"); strings.Count(out, "pong from a (") != 2 {
		t.Errorf("warren ping printed:\n%s", out)
	}
	s.run(b, "wait", "--peer", "a", "--direct", "--timeout", "15s")

	s.run(b, "leave")
	s.fails(b, exitNoMember, "", "status")
	s.eventually(5*time.Second, "the other member forgets", func() string {
		if p, err := a.peer(s.ctx, b); err != nil || p.Name != "" {
			return "b is still listed"
		}
		return ""
	})
	s.run(b, "join", s.inviting(a), "--hostname", "b")
	s.pingAll(10*time.Second, a, b)
}

// TestDemo runs the story that people see.
func TestDemo(t *testing.T) {
	s := tell(t, 2*time.Minute)
	var out strings.Builder
	began := time.Now()
	if err := demo(s.ctx, s.world, &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("the demonstration took %s, a minute is promised", took)
	}
}
