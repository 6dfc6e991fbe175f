package netlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	code, ran, _ := Reexec()
	if !ran {
		code = m.Run()
	}
	os.Exit(code)
}

func newLab(t *testing.T) *Lab {
	t.Helper()
	l, err := New()
	if errors.Is(err, ErrUnsupported) && os.Getenv("WARREN_E2E") != "required" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return l
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestPublicHostsReachEachOther(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a, b := must[*Host](t)(l.Public("a")), must[*Host](t)(l.Public("b"))
	if got, want := fmt.Sprint(a.Addr(), a.Addr6(), b.Addr(), b.Addr6()),
		"198.51.100.11 2001:db8::11 198.51.100.12 2001:db8::12"; got != want {
		t.Errorf("addresses %s, want %s", got, want)
	}
	for _, dst := range []netip.Addr{b.Addr(), b.Addr6()} {
		if _, err := a.FirstEcho(soon(t), dst, 20*time.Millisecond); err != nil {
			t.Error(err)
		}
	}
}

func TestHostBehindRouter(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	pub := must[*Host](t)(l.Public("pub"))
	home := must[*Router](t)(l.Router("home", PortRestricted))
	other := must[*Router](t)(l.Router("other", PortRestricted))
	a, b := must[*Host](t)(home.Host("a")), must[*Host](t)(home.Host("b"))
	if got, want := fmt.Sprint(home.Addr(), other.Addr(), a.Addr(), b.Addr()),
		"198.51.100.101 198.51.100.102 192.168.1.2 192.168.1.3"; got != want {
		t.Errorf("addresses %s, want %s", got, want)
	}
	if a.Addr6().IsValid() {
		t.Errorf("host behind a router has %s", a.Addr6())
	}
	for _, dst := range []netip.Addr{pub.Addr(), home.Addr(), other.Addr(), b.Addr()} {
		if _, err := a.FirstEcho(soon(t), dst, 20*time.Millisecond); err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := pub.FirstEcho(ctx, a.Addr(), 20*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ping of a private address from outside: %v", err)
	}
}

func TestTCPThroughRouter(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	pub := must[*Host](t)(l.Public("pub"))
	r := must[*Router](t)(l.Router("home", Symmetric))
	in := must[*Host](t)(r.Host("in"))
	ln := must[*net.TCPListener](t)(pub.ListenTCP(netip.AddrPortFrom(pub.Addr(), 0)))
	defer ln.Close()
	conn := must[*net.TCPConn](t)(in.DialTCP(soon(t), ln.Addr().(*net.TCPAddr).AddrPort()))
	defer conn.Close()
	peer := must[net.Conn](t)(ln.Accept())
	defer peer.Close()
	if got := peer.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap(); got != r.Addr() {
		t.Errorf("seen as %s, want the router's %s", got, r.Addr())
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestEchoesCountsLoss(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a, b := must[*Host](t)(l.Public("a")), must[*Host](t)(l.Public("b"))
	series := func(dst netip.Addr) []Echo {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		return must[[]Echo](t)(a.Echoes(ctx, dst, 20*time.Millisecond))
	}
	if got := series(b.Addr()); len(got) < 5 || Lost(got) != 0 {
		t.Errorf("%d of %d pings lost on a perfect wire", Lost(got), len(got))
	}
	if got := series(netip.MustParseAddr("203.0.113.1")); len(got) < 5 || Lost(got) != len(got) {
		t.Errorf("%d of %d pings lost to an address of nobody", Lost(got), len(got))
	}
}

func TestProcessRunsInside(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a := must[*Host](t)(l.Public("a"))
	var out bytes.Buffer
	cmd := exec.Command("cat", "/proc/net/fib_trie")
	cmd.Stdout = &out
	if err := a.Run(soon(t), cmd, Confinement{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), a.Addr().String()) {
		t.Errorf("the process did not see %s:\n%s", a.Addr(), out.String())
	}
	before := must[string](t)(os.Readlink("/proc/thread-self/ns/net"))
	for range 20 {
		inside := ""
		if err := a.Do(func() (err error) { inside, err = os.Readlink("/proc/thread-self/ns/net"); return err }); err != nil {
			t.Fatal(err)
		}
		if after := must[string](t)(os.Readlink("/proc/thread-self/ns/net")); after != before || inside == before {
			t.Fatalf("this thread in %s, was in %s; host in %s", after, before, inside)
		}
	}
}

func TestProcessEnds(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a := must[*Host](t)(l.Public("a"))

	p := must[*Process](t)(a.Start(exec.Command("sh", "-c", "exit 3"), Confinement{}))
	if err := p.Wait(soon(t)); err == nil || p.ExitCode() != 3 {
		t.Errorf("Wait = %v, exit code %d, want 3", err, p.ExitCode())
	}
	p = must[*Process](t)(a.Start(exec.Command("sleep", "60"), Confinement{}))
	if got := p.ExitCode(); got != -1 {
		t.Errorf("exit code of a running process %d, want -1", got)
	}
	if _, err := p.CPU(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v, want canceled", err)
	}
	if _, err := a.Start(exec.Command("/nowhere/nothing"), Confinement{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("start of nothing: %v", err)
	}
	p = must[*Process](t)(a.Start(exec.Command("sleep", "60"), Confinement{}))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if _, err := a.Start(exec.Command("true"), Confinement{}); err == nil {
		t.Error("a closed lab starts processes")
	}
	if _, err := l.Public("b"); err == nil {
		t.Error("a closed lab makes hosts")
	}
}

func TestConfinement(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a := must[*Host](t)(l.Public("a"))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	script := "ls " + dir + "; grep CapEff /proc/self/status; echo 1 >/proc/sys/net/ipv4/ip_forward && echo can"
	run := func(deny Confinement) string {
		var out bytes.Buffer
		cmd := exec.Command("sh", "-c", script)
		cmd.Stdout = &out
		_ = a.Run(soon(t), cmd, deny) // the last command of the script may fail
		return out.String()
	}
	if got := run(Confinement{}); !strings.Contains(got, "secret") || !strings.Contains(got, "can") {
		t.Errorf("unconfined process: %s", got)
	}
	got := run(Confinement{Empty: []string{dir}, DropCaps: []uintptr{unix.CAP_NET_ADMIN}})
	if strings.Contains(got, "secret") {
		t.Errorf("process sees the emptied folder: %s", got)
	}
	var caps uint64
	if _, field, ok := strings.Cut(got, "CapEff:"); !ok {
		t.Errorf("no CapEff in %s", got)
	} else if _, err := fmt.Sscanf(field, "%x", &caps); err != nil || caps>>unix.CAP_NET_ADMIN&1 != 0 {
		t.Errorf("capabilities %x still hold CAP_NET_ADMIN (%v)", caps, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "secret")); err != nil {
		t.Errorf("the folder was emptied for everybody: %v", err)
	}
}

// TestNothingSurvivesKill starts a lab in another process, kills that with SIGKILL and looks for what it left.
func TestNothingSurvivesKill(t *testing.T) {
	t.Parallel()
	if path := os.Getenv("NETLAB_TEST_VICTIM"); path != "" {
		l := newLab(t)
		p := must[*Process](t)(must[*Host](t)(l.Public("a")).Start(exec.Command("sleep", "600"), Confinement{}))
		if err := os.WriteFile(path+".new", fmt.Append(nil, p.Pid()), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		<-p.Done()
		return
	}
	newLab(t) // skips where there can be no lab
	file := filepath.Join(t.TempDir(), "pid")
	victim := exec.Command(os.Args[0], "-test.run=^TestNothingSurvivesKill$")
	victim.Env = append(os.Environ(), "NETLAB_TEST_VICTIM="+file)
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	poll(t, "the victim's process", func() bool {
		b, err := os.ReadFile(file)
		if err == nil {
			_, err = fmt.Sscan(string(b), &pid)
		}
		return err == nil
	})
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait() // killed
	poll(t, "the end of the host's process", func() bool {
		err := syscall.Kill(pid, 0)
		state, readErr := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return errors.Is(err, syscall.ESRCH) || readErr != nil || bytes.Contains(state, []byte(") Z "))
	})
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx := soon(t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}
