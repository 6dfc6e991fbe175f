package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"warren/nat/netlab"
)

// world is a lab and the agents in it. All files of its agents are in one folder.
type world struct {
	lab    *netlab.Lab
	dir    string
	warren string // the binary

	mu      sync.Mutex
	members []*member
}

func newWorld(dir, warren string) (*world, error) {
	lab, err := netlab.New()
	if err != nil {
		return nil, err
	}
	return &world{lab: lab, dir: dir, warren: warren}, nil
}

func (w *world) close() error { return w.lab.Close() }

// another makes a world of its own beside w, with the same binary.
func (w *world) another() (*world, error) {
	dir, err := os.MkdirTemp(w.dir, "world-")
	if err != nil {
		return nil, err
	}
	return newWorld(dir, w.warren)
}

// public makes a public host with an idle agent.
func (w *world) public(ctx context.Context, name string) (*member, error) {
	host, err := w.lab.Public(name)
	if err != nil {
		return nil, err
	}
	m := w.member(host)
	return m, m.start(ctx)
}

// home makes a router of this kind and a host with an idle agent behind it.
func (w *world) home(ctx context.Context, name string, kind netlab.NAT) (*member, error) {
	router, err := w.lab.Router(name+"-router", kind)
	if err != nil {
		return nil, err
	}
	host, err := router.Host(name)
	if err != nil {
		return nil, err
	}
	m := w.member(host)
	return m, m.start(ctx)
}

// member gives a host a state folder, but does not start an agent.
func (w *world) member(host *netlab.Host) *member {
	m := &member{host: host, name: host.Name(), warrenPath: w.warren, state: filepath.Join(w.dir, host.Name())}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.members = append(w.members, m)
	return m
}

// admit makes others members by one code of via, one after the other.
func (w *world) admit(ctx context.Context, via *member, others ...*member) error {
	code, err := via.ok(ctx, "invite", "--uses", fmt.Sprint(len(others)))
	if err != nil {
		return err
	}
	for _, m := range others {
		if _, err := m.ok(ctx, "join", strings.TrimSpace(code), "--hostname", m.name); err != nil {
			return err
		}
	}
	return nil
}

// logs returns the last lines of every agent's log, for a person who looks for a fault.
func (w *world) logs(lines int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, m := range w.members {
		text, err := os.ReadFile(m.logPath())
		if err != nil {
			continue
		}
		all := strings.Split(strings.TrimSpace(string(text)), "\n")
		if n := len(all) - lines; n > 0 {
			all = append([]string{fmt.Sprintf("(%d earlier lines)", n)}, all[n:]...)
		}
		fmt.Fprintf(&b, "--- agent %s\n%s\n", m.name, strings.Join(all, "\n"))
	}
	return b.String()
}

// findWarren returns the binary to use: the one named, the one beside this program, or one built from the source
// tree into dir.
func findWarren(ctx context.Context, named, dir string) (string, error) {
	if named != "" {
		return filepath.Abs(named)
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	beside := filepath.Join(filepath.Dir(self), "warren")
	if _, err := os.Stat(beside); err == nil {
		return beside, nil
	}
	return build(ctx, dir, "warren", "warren/cmd/warren")
}

// build compiles a command of this module or of one it depends on.
func build(ctx context.Context, dir, name, pkg string) (string, error) {
	path := filepath.Join(dir, name)
	out, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", path, pkg).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return path, nil
}

// await polls until ok reports true. When ctx ends first, the error is the last one of ok.
func await(ctx context.Context, every time.Duration, ok func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		done, err := ok()
		if done && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = errors.New("it did not happen")
			}
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}
