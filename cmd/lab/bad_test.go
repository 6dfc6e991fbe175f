package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"warren/nat/netlab"
)

func TestWithoutAgent(t *testing.T) {
	s := tell(t, 30*time.Second)
	host, err := s.lab.Public("a")
	s.must(err)
	m := s.member(host)
	for _, args := range [][]string{
		{"init"}, {"invite"}, {"up"}, {"down"}, {"leave"}, {"status"}, {"status", "--json"}, {"ping", "b"}, {"ip"}, {"wait"},
	} {
		s.fails(m, exitNoAgent, "agent", args...)
	}
	if r, err := m.warren(s.ctx, "version"); err != nil || r.exit != 0 || r.stdout == "" {
		t.Errorf("version: %v, %s", err, r)
	}
	r, err := m.warren(s.ctx, "statsu")
	if s.must(err); r.exit != exitUsage {
		t.Errorf("an unknown verb: %s", r)
	}
}

func TestWithoutNetwork(t *testing.T) {
	s := tell(t, 30*time.Second)
	m := s.atPublic("a")
	for _, args := range [][]string{{"invite"}, {"up"}, {"down"}, {"leave"}, {"status"}, {"ping", "b"}, {"ip"}, {"wait", "--timeout", "1s"}} {
		s.fails(m, exitNoMember, "", args...)
	}
	r, err := m.warren(s.ctx, "status", "--json")
	s.must(err)
	var got struct {
		State   string
		Network any
		Peers   []any
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.exit != exitNoMember || got.State != "none" || got.Network != nil || got.Peers == nil {
		t.Errorf("want a document with state none, network null, peers []; %v, %s", err, r)
	}
	second := *m
	second.flags = []string{"--interface", "warren1"}
	s.must(os.Truncate(m.logPath(), 0))
	s.refuses(&second, "", exitFailed)
	s.must(m.stop(s.ctx))
}

func TestJoinRefused(t *testing.T) {
	s := tell(t, time.Minute)
	a, b, c := s.atPublic("a"), s.atPublic("b"), s.atPublic("c")
	s.found(a)
	s.fails(a, exitFailed, "already", "init", "--name", "again")

	code := s.inviting(a)
	last := code[len(code)-1]
	other := byte('a')
	if last == other {
		other = 'b'
	}
	middle := []byte(code)
	middle[40] ^= 3 // another letter, or a character that is none
	for what, bad := range map[string]string{
		"no code":       "hello",
		"empty":         "",
		"truncated":     code[:len(code)-9],
		"mistyped":      string(middle),
		"mistyped last": code[:len(code)-1] + string(other),
		"two codes":     code + code,
		"newer version": "warren2:" + strings.TrimPrefix(code, "warren1:"),
	} {
		r, err := b.warren(s.ctx, "join", bad, "--hostname", "b")
		s.must(err)
		if r.exit != exitUsage {
			t.Errorf("%s: want exit %d, got %s", what, exitUsage, r)
		}
		s.complaint(r.stderr, "")
	}

	s.fails(b, exitFailed, "taken", "join", code, "--hostname", "a")
	out := s.run(b, "join", "  "+strings.ToUpper(code)+" ", "--hostname", "b")
	if !strings.Contains(out, "reached: a ") {
		t.Errorf("join does not say whom it reached:\n%s", out)
	}
	s.fails(c, exitFailed, "used", "join", code, "--hostname", "c", "--timeout", "10s")
	s.fails(b, exitFailed, "already", "join", s.inviting(a), "--hostname", "b")
	s.fails(a, exitFailed, "already", "join", code, "--hostname", "a")
	s.fails(b, exitPermission, "signer", "invite")

	// A code of a network that is no more, whose address answers for another network now.
	old := s.inviting(a)
	s.run(a, "leave")
	s.found(a)
	s.fails(c, exitFailed, "", "join", old, "--hostname", "c", "--timeout", "4s")
	orphan := s.inviting(a)
	s.must(a.agent.Kill())
	s.fails(c, exitFailed, "", "join", orphan, "--hostname", "c", "--timeout", "4s")
	r, err := c.warren(s.ctx, "status")
	if s.must(err); r.exit != exitNoMember {
		t.Errorf("after refused joins: %s", r)
	}
}

// TestNoSigner joins by a member that answers while no signer does.
func TestNoSigner(t *testing.T) {
	s := tell(t, time.Minute)
	a, b, c := s.atPublic("a"), s.atPublic("b"), s.atPublic("c")
	s.found(a)
	s.must(s.admit(s.ctx, a, b))
	st, err := b.status(s.ctx)
	s.must(err)
	if len(st.Self.Candidates) == 0 {
		t.Fatal("b has no candidates")
	}
	var at string
	for _, candidate := range st.Self.Candidates {
		if candidate.Addr() == b.host.Addr() {
			at = candidate.String()
		}
	}
	code := s.run(a, "invite", "--endpoint", at)
	s.must(a.agent.Kill())
	s.fails(c, exitFailed, "", "join", code, "--hostname", "c", "--timeout", "5s")
	s.must(a.start(s.ctx))
	s.run(c, "join", code, "--hostname", "c")
	s.pingAll(10*time.Second, a, b, c)
}

func TestNamesOfHosts(t *testing.T) {
	s := tell(t, time.Minute)
	a, b := s.atPublic("a"), s.atPublic("b")
	s.run(a, "init") // all hosts of the lab have the machine's name
	out := s.run(b, "join", s.inviting(a))
	sa, err := a.status(s.ctx)
	s.must(err)
	sb, err := b.status(s.ctx)
	s.must(err)
	if want := sa.Self.Name + "-2"; sb.Self.Name != want || !strings.Contains(out, want) {
		t.Errorf("a host of the same name is called %q, want %q; join said:\n%s", sb.Self.Name, want, out)
	}
	if sa.Network.Name != "home" {
		t.Errorf("network is called %q, want home", sa.Network.Name)
	}
}

func TestAgentRefused(t *testing.T) {
	tests := []struct {
		name    string
		words   string
		exits   []int
		prepare func(*story, *member)
	}{
		{"no TUN", "/dev/net/tun", []int{exitFailed, exitPermission}, func(_ *story, m *member) {
			m.deny = netlab.Confinement{Empty: []string{"/dev/net"}}
		}},
		{"no CAP_NET_ADMIN", "CAP_NET_ADMIN", []int{exitPermission}, func(_ *story, m *member) {
			m.deny = netlab.Confinement{DropCaps: []uintptr{unix.CAP_NET_ADMIN}}
		}},
		{"port in use", "41641", []int{exitFailed}, func(s *story, m *member) {
			udp, err := m.host.ListenUDP(netip.MustParseAddrPort("0.0.0.0:41641"))
			s.must(err)
			s.Cleanup(func() { udp.Close() })
			m.flags = []string{"--listen-port", "41641"}
		}},
		{"unknown flag", "colour", []int{exitUsage}, func(_ *story, m *member) { m.flags = []string{"--colour"} }},
		{"bad port", "", []int{exitUsage}, func(_ *story, m *member) { m.flags = []string{"--listen-port", "65536"} }},
		{"bad config", "listen_port", []int{exitUsage}, func(s *story, m *member) {
			path := filepath.Join(s.dir, "warren.toml")
			s.must(os.WriteFile(path, []byte("# mine\nlisten_prot = 41641\n"), 0o600))
			m.flags = []string{"--config", path}
		}},
		{"newer state", "version", []int{exitFailed}, func(s *story, m *member) {
			s.must(os.Mkdir(m.state, 0o700))
			s.must(os.WriteFile(filepath.Join(m.state, "version"), []byte("99\n"), 0o600))
		}},
		{"state is a file", "", []int{exitFailed}, func(s *story, m *member) {
			s.must(os.WriteFile(m.state, nil, 0o600))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tell(t, 30*time.Second)
			host, err := s.lab.Public("a")
			s.must(err)
			m := s.member(host)
			tt.prepare(s, m)
			s.refuses(m, tt.words, tt.exits...)
		})
	}
}

func TestInterfaceTaken(t *testing.T) {
	s := tell(t, 30*time.Second)
	host, err := s.lab.Public("a")
	s.must(err)
	s.must(host.Netlink().LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "warren0"}}))
	m := s.member(host)
	// Either the agent sees it at start, or init does when it needs the interface.
	if err := m.start(s.ctx); err != nil {
		s.complaint(m.log(), "warren0")
		if !strings.Contains(m.log(), "--interface") {
			t.Errorf("no hint of --interface: %s", m.log())
		}
		return
	}
	r := s.fails(m, exitFailed, "warren0", "init", "--hostname", "a")
	if !strings.Contains(r.stderr, "--interface") {
		t.Errorf("no hint of --interface: %s", r)
	}
}

func TestPortTakenMeanwhile(t *testing.T) {
	s := tell(t, 30*time.Second)
	m := s.atPublic("a")
	s.found(m)
	st, err := m.status(s.ctx)
	s.must(err)
	port := st.Self.Candidates[0].Port()
	s.must(m.stop(s.ctx))
	udp, err := m.host.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), port))
	s.must(err)
	defer udp.Close()
	s.must(m.start(s.ctx)) // another port is taken instead of the remembered random one
	st, err = m.status(s.ctx)
	s.must(err)
	if got := st.Self.Candidates[0].Port(); got == port {
		t.Errorf("still on port %d", got)
	}
	if len(st.Warnings) < 2 { // one of them is that there is a single signer
		t.Errorf("no warning of the other port: %v", st.Warnings)
	}
}

func TestStateFolder(t *testing.T) {
	s := tell(t, time.Minute)
	a, b := s.atPublic("a"), s.atPublic("b")
	s.found(a)
	s.must(s.admit(s.ctx, a, b))

	t.Log("open to others")
	s.must(b.stop(s.ctx))
	s.must(os.Truncate(b.logPath(), 0))
	s.must(os.Chmod(b.state, 0o755))
	s.refuses(b, b.state, exitFailed, exitPermission)
	s.must(os.Chmod(b.state, 0o700))

	t.Log("corrupt store")
	stores, err := filepath.Glob(filepath.Join(b.state, "*.db"))
	s.must(err)
	if len(stores) != 1 {
		t.Fatalf("stores %v, want one", stores)
	}
	for what, damage := range map[string]func() error{
		"garbage":   func() error { return os.WriteFile(stores[0], []byte(strings.Repeat("garbage ", 4096)), 0o600) },
		"truncated": func() error { return os.Truncate(stores[0], 5000) },
		"empty":     func() error { return os.Truncate(stores[0], 0) },
		"missing":   func() error { return os.Remove(stores[0]) },
	} {
		s.must(damage())
		s.must(b.start(s.ctx))
		s.pingAll(20*time.Second, a, b)
		if what == "garbage" {
			kept, err := filepath.Glob(stores[0] + "*corrupt*")
			if s.must(err); len(kept) == 0 {
				t.Errorf("the corrupt store was not kept aside: %v", ls(b.state))
			}
		}
		s.must(b.stop(s.ctx))
		if t.Failed() {
			t.Fatalf("after a store that is %s", what)
		}
	}

	t.Log("copied to another host")
	host, err := s.lab.Public("elsewhere")
	s.must(err)
	moved := s.member(host)
	s.must(os.CopyFS(moved.state, os.DirFS(withoutSockets(s, b.state))))
	s.must(os.Chmod(moved.state, 0o700))
	s.must(filepath.WalkDir(moved.state, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			err = os.Chmod(path, 0o600)
		}
		return err
	}))
	s.must(moved.start(s.ctx))
	s.pingAll(20*time.Second, a, moved)
}

// withoutSockets removes what cannot be copied from a folder whose agent has ended.
func withoutSockets(s *story, dir string) string {
	s.must(filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type()&os.ModeSocket != 0 {
			err = os.Remove(path)
		}
		return err
	}))
	return dir
}

func ls(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []string{err.Error()}
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestWrongClocks gives agents wrong ideas of the time. A joiner needs no clock; a founder does.
func TestWrongClocks(t *testing.T) {
	s := tell(t, time.Minute)
	a := s.atPublic("a")
	at := func(name string, offset time.Duration) *member {
		host, err := s.lab.Public(name)
		s.must(err)
		m := s.member(host)
		m.env = []string{fmt.Sprintf("WARREN_CLOCK_OFFSET=%s", offset)}
		s.must(m.start(s.ctx))
		return m
	}
	past, future := at("past", -time.Since(time.Unix(86400, 0)).Round(time.Second)), at("future", 365*24*time.Hour)
	s.fails(past, exitFailed, "clock", "init", "--hostname", "past")
	s.found(a)
	s.must(s.admit(s.ctx, a, past, future))
	s.pingAll(15*time.Second, a, past, future)
	for _, m := range []*member{past, future} {
		st, err := m.status(s.ctx)
		s.must(err)
		if len(st.Warnings) == 0 {
			t.Errorf("%s does not warn of its clock", m.name)
		}
		s.must(m.stop(s.ctx))
		s.must(m.start(s.ctx))
	}
	s.pingAll(20*time.Second, a, past, future)
}
