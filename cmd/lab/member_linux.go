package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"warren/nat/netlab"
)

// member is a host with an agent, seen as its user sees it.
type member struct {
	host       *netlab.Host
	name       string
	state      string // folder
	warrenPath string
	flags      []string           // more flags for the agent
	env        []string           // more environment for the agent
	deny       netlab.Confinement // what the agent is denied
	agent      *netlab.Process    // the newest one
	before     []string           // footprint of the host before the first agent
}

func (m *member) logPath() string { return m.state + ".log" }

// launch starts an agent and does not wait until it answers.
func (m *member) launch() error {
	log, err := os.OpenFile(m.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if m.before == nil {
		if m.before, err = footprint(m.host); err != nil {
			return err
		}
	}
	cmd := exec.Command(m.warrenPath, append([]string{"agent", "--state", m.state}, m.flags...)...)
	cmd.Env = append(os.Environ(), m.env...)
	cmd.Stdout, cmd.Stderr = log, log
	m.agent, err = m.host.Start(cmd, m.deny)
	return err
}

// start starts an agent and waits until it answers the command line.
func (m *member) start(ctx context.Context) error {
	if err := m.launch(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := await(ctx, 10*time.Millisecond, func() (bool, error) {
		if m.ended() {
			return true, nil
		}
		r, err := m.warren(ctx, "status")
		if err == nil && r.exit == exitNoAgent {
			err = fmt.Errorf("the agent of %s does not answer: %s", m.name, r.stderr)
		}
		return err == nil, err
	})
	if m.ended() {
		return fmt.Errorf("the agent of %s ended with code %d\n%s", m.name, m.agent.ExitCode(), m.log())
	}
	return err
}

func (m *member) ended() bool {
	select {
	case <-m.agent.Done():
		return true
	default:
		return false
	}
}

// stop ends the agent as a service manager does and returns an error unless it ends in time with exit code 0.
func (m *member) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := m.agent.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-m.agent.Done():
	case <-ctx.Done():
		// It hangs: its stacks go to its log.
		dumped, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		return fmt.Errorf("the agent of %s after SIGTERM: %w\n%s", m.name,
			errors.Join(ctx.Err(), m.agent.Signal(syscall.SIGQUIT), m.agent.Wait(dumped)), m.log())
	}
	if err := m.agent.Wait(ctx); err != nil {
		return fmt.Errorf("the agent of %s after SIGTERM: %w\n%s", m.name, err, m.log())
	}
	return nil
}

func (m *member) log() string {
	text, err := os.ReadFile(m.logPath())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Exit codes of the command line.
const (
	exitFailed     = 1
	exitUsage      = 2
	exitNoAgent    = 3
	exitNoMember   = 4
	exitPermission = 5
)

// result is what a verb printed and how it ended.
type result struct {
	args           []string
	stdout, stderr string
	exit           int
	took           time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("warren %s: exit %d after %s\nstdout: %s\nstderr: %s",
		strings.Join(r.args, " "), r.exit, r.took.Round(time.Millisecond), r.stdout, r.stderr)
}

// warren runs a verb. An exit code is a result, not an error.
func (m *member) warren(ctx context.Context, args ...string) (result, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, m.warrenPath, args...)
	cmd.Env = append(os.Environ(), "WARREN_STATE="+m.state)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err := cmd.Run()
	r := result{args: args, stdout: stdout.String(), stderr: stderr.String(), took: time.Since(began)}
	if cmd.ProcessState != nil {
		r.exit = cmd.ProcessState.ExitCode()
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return r, fmt.Errorf("%s: warren %s: %w", m.name, strings.Join(args, " "), ctx.Err())
	case err != nil && (!errors.As(err, &exit) || r.exit < 0):
		return r, fmt.Errorf("%s: warren %s: %w", m.name, strings.Join(args, " "), err)
	}
	return r, nil
}

// ok runs a verb that must succeed and returns its stdout.
func (m *member) ok(ctx context.Context, args ...string) (string, error) {
	r, err := m.warren(ctx, args...)
	if err == nil && r.exit != 0 {
		err = fmt.Errorf("on %s: %s", m.name, r)
	}
	return r.stdout, err
}

// status is the part of `warren status --json` that the lab looks at.
type status struct {
	State    string
	Warnings []struct{ Code, Text string }
	Network  *struct {
		Name, ID string
		Members  int
	}
	Self *struct {
		Name, ID   string
		Addresses  []netip.Addr
		PublicKey  string `json:"public_key"`
		Candidates []netip.AddrPort
		Signer     bool
	}
	Peers []peer
}

// peer is how one member sees another one.
type peer struct {
	Name, Path, Reason string
	Online             bool
	Endpoint           *netip.AddrPort
	RTT                *float64 `json:"rtt_ms"`
}

func (m *member) status(ctx context.Context) (*status, error) {
	out, err := m.ok(ctx, "status", "--json")
	if err != nil {
		return nil, err
	}
	s := new(status)
	if err := json.Unmarshal([]byte(out), s); err != nil {
		return nil, fmt.Errorf("status of %s: %w\n%s", m.name, err, out)
	}
	return s, nil
}

// peer is how m sees another member now; the zero peer if it does not know it.
func (m *member) peer(ctx context.Context, other *member) (peer, error) {
	s, err := m.status(ctx)
	if err != nil {
		return peer{}, err
	}
	for _, p := range s.Peers {
		if p.Name == other.name {
			return p, nil
		}
	}
	return peer{}, nil
}

// addresses returns the overlay addresses, IPv4 first.
func (m *member) addresses(ctx context.Context) ([]netip.Addr, error) {
	out, err := m.ok(ctx, "ip")
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for line := range strings.Lines(out) {
		a, err := netip.ParseAddr(strings.TrimSpace(line))
		if err != nil {
			return nil, fmt.Errorf("warren ip on %s: %w", m.name, err)
		}
		addrs = append(addrs, a)
	}
	if len(addrs) != 2 || !addrs[0].Is4() || !addrs[1].Is6() {
		return nil, fmt.Errorf("warren ip on %s gives %v, want IPv4 and IPv6", m.name, addrs)
	}
	return addrs, nil
}

// reach pings every address of other from m until each has answered.
func (m *member) reach(ctx context.Context, other *member) error {
	addrs, err := other.addresses(ctx)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if _, err := m.host.FirstEcho(ctx, a, 100*time.Millisecond); err != nil {
			return fmt.Errorf("%s to %s: %w", m.name, other.name, err)
		}
	}
	return nil
}

// footprint lists the links, addresses, routes and rules of a host, sorted, for comparing.
func footprint(host *netlab.Host) ([]string, error) {
	h := host.Netlink()
	links, err := h.LinkList()
	if err != nil {
		return nil, fmt.Errorf("links of %s: %w", host.Name(), err)
	}
	var all []string
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
		all = append(all, "link "+l.Attrs().Name)
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := h.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, fmt.Errorf("routes of %s: %w", host.Name(), err)
		}
		for _, r := range routes {
			if r.Table == unix.RT_TABLE_LOCAL {
				continue // the kernel's own, of addresses that may still be tentative
			}
			all = append(all, fmt.Sprintf("route %v dev %q table %d type %d", r.Dst, names[r.LinkIndex], r.Table, r.Type))
		}
		rules, err := h.RuleList(family)
		if err != nil {
			return nil, fmt.Errorf("rules of %s: %w", host.Name(), err)
		}
		for _, r := range rules {
			all = append(all, fmt.Sprintf("rule family %d %s", family, r))
		}
	}
	slices.Sort(all)
	return all, nil
}

// traces lists what a member's host has more than before its first agent.
func (m *member) traces() ([]string, error) {
	now, err := footprint(m.host)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(now, func(s string) bool { return slices.Contains(m.before, s) }), nil
}
