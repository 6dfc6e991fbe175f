package tun

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// insideEnv is set in the process that runs a test in a namespace of its own.
const insideEnv = "WARREN_TUN_TEST_INSIDE"

// inNamespace runs the calling test again in a process with a fresh network namespace, and a user namespace
// too for an ordinary user. It reports whether this is that process.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) == t.Name() {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), insideEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("this kernel gives us no namespace (run as root or allow user namespaces): %v", err)
	}
	if err != nil {
		t.Errorf("in a namespace: %v\n%s", err, out)
	} else if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("in a namespace:\n%s", out)
	}
	return false
}

const testMark = 0x77617272

var (
	overlay4 = netip.MustParsePrefix("100.90.0.0/16")
	overlay6 = netip.MustParsePrefix("fd01:2:3::/48")
)

func testConfig() InterfaceConfig {
	return InterfaceConfig{
		Name:     "warren7",
		Addrs:    []netip.Prefix{netip.PrefixFrom(alice.v4, 32), netip.PrefixFrom(alice.v6, 128)},
		Prefixes: []netip.Prefix{overlay4, overlay6},
		Mark:     testMark,
	}
}

func create(t *testing.T, cfg InterfaceConfig) *Interface {
	t.Helper()
	if err := Check(); errors.Is(err, ErrNoTUN) {
		t.Skip(err)
	}
	i, err := Create(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() })
	return i
}

// snapshot lists what of ours the namespace has.
func snapshot(t *testing.T) []string {
	t.Helper()
	list := []string{}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
		if l.Type() == "tuntap" {
			list = append(list, fmt.Sprintf("link %s mtu %d gso %d up %v", l.Attrs().Name, l.Attrs().MTU, l.Attrs().GSOMaxSize, l.Attrs().Flags&net.FlagUp != 0))
		}
	}
	addrs, err := netlink.AddrList(nil, unix.AF_UNSPEC)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n := names[a.LinkIndex]; n != "lo" {
			list = append(list, fmt.Sprintf("addr %s on %s", a.IPNet, n))
		}
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := netlink.RouteList(nil, family)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range routes {
			if r.Protocol == protocolOurs {
				list = append(list, fmt.Sprintf("route %s on %s src %s", r.Dst, names[r.LinkIndex], r.Src))
			}
		}
		rules, err := netlink.RuleList(family)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rules {
			if r.Protocol == protocolOurs {
				list = append(list, fmt.Sprintf("rule %d mark %#x to %s", r.Priority, r.Mark, r.Dst))
			}
		}
	}
	slices.Sort(list)
	return list
}

func TestInterface(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	i := create(t, testConfig())
	same(t, "made", snapshot(t),
		"addr 100.90.0.1/32 on warren7",
		"addr fd01:2:3::1/128 on warren7",
		"link warren7 mtu 1408 gso 61500 up true",
		"route 100.90.0.0/16 on warren7 src 100.90.0.1",
		"route fd01:2:3::/48 on warren7 src fd01:2:3::1",
		"rule 4176 mark 0x77617272 to 100.90.0.0/16",
		"rule 4176 mark 0x77617272 to fd01:2:3::/48")

	if _, err := Create(testConfig()); !errors.Is(err, ErrNameTaken) {
		t.Errorf("a second of the name: %v, want %v", err, ErrNameTaken)
	}
	other := testConfig()
	other.Name = "lo"
	if _, err := Create(other); !errors.Is(err, ErrNameTaken) {
		t.Errorf("lo: %v, want %v", err, ErrNameTaken)
	}
	other.Name = "warren8"
	if _, err := Create(other); !errors.Is(err, ErrRouteTaken) {
		t.Errorf("same route: %v, want %v", err, ErrRouteTaken)
	}
	if n := len(snapshot(t)); n != 7 {
		t.Errorf("failed attempts left something or took something away: %q", snapshot(t))
	}

	conflicts, err := Conflicts(netip.MustParsePrefix("100.64.0.0/10"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "conflicts", conflicts, "address 100.90.0.1/32 on warren7", "route to 100.90.0.0/16 on warren7")
	if conflicts, err = Conflicts(netip.MustParsePrefix("10.0.0.0/8")); err != nil || len(conflicts) != 0 {
		t.Errorf("conflicts: %q, %v", conflicts, err)
	}

	for range 2 {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
	same(t, "closed", snapshot(t))
}

func TestInterfaceLeftovers(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	// What a kill -9 leaves, and rules of others that must stay.
	i := create(t, testConfig())
	if err := i.Device().Close(); err != nil {
		t.Fatal(err)
	}
	foreign := rule(overlay4, testMark+1)
	if err := netlink.RuleAdd(foreign); err != nil {
		t.Fatal(err)
	}
	if n := len(snapshot(t)); n != 3 {
		t.Fatalf("left: %q, want 3 rules", snapshot(t))
	}
	again := create(t, testConfig())
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	same(t, "after another run", snapshot(t), "rule 4176 mark 0x77617273 to 100.90.0.0/16")
	for _, prefixes := range [][]netip.Prefix{{overlay4, overlay6}, nil} {
		for _, p := range []netip.Prefix{overlay4, overlay6} {
			if err := netlink.RuleAdd(rule(p, testMark)); err != nil {
				t.Fatal(err)
			}
		}
		if err := Cleanup(prefixes, testMark); err != nil {
			t.Error(err)
		}
		same(t, "cleaned", snapshot(t), "rule 4176 mark 0x77617273 to 100.90.0.0/16")
	}
}

func TestInterfaceWithoutIPv6(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0o644); err != nil {
		t.Skipf("cannot switch IPv6 off: %v", err)
	}
	i := create(t, testConfig())
	list := snapshot(t)
	if len(list) != 7 {
		// proc may be read-only: then IPv6 is left out.
		same(t, "made", list, "addr 100.90.0.1/32 on warren7", "link warren7 mtu 1408 gso 61500 up true",
			"route 100.90.0.0/16 on warren7 src 100.90.0.1", "rule 4176 mark 0x77617272 to 100.90.0.0/16")
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
}

func TestCreateRefuses(t *testing.T) {
	tests := map[string]func(*InterfaceConfig){
		"no name":     func(c *InterfaceConfig) { c.Name = "" },
		"long name":   func(c *InterfaceConfig) { c.Name = "abcdefghijklmnop" },
		"template":    func(c *InterfaceConfig) { c.Name = "warren%d" },
		"no address":  func(c *InterfaceConfig) { c.Addrs = nil },
		"wide":        func(c *InterfaceConfig) { c.Addrs = []netip.Prefix{overlay4} },
		"host bits":   func(c *InterfaceConfig) { c.Prefixes = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")} },
		"tiny mtu":    func(c *InterfaceConfig) { c.MTU = 500 },
		"zero prefix": func(c *InterfaceConfig) { c.Prefixes = []netip.Prefix{{}} },
	}
	for name, spoil := range tests {
		cfg := testConfig()
		spoil(&cfg)
		if i, err := Create(cfg); err == nil {
			t.Errorf("%s: made %s", name, i.Name())
		}
	}
}

// TestTraffic sends through a real interface: alice's kernel, alice's engine, a wire in memory, bob's engine
// and a kernel in memory.
func TestTraffic(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	a, b := pair(t, nil)
	b.reply(t)
	b.accept(t, a)
	i := create(t, testConfig())
	if err := a.device.Attach(i.Device()); err != nil {
		t.Fatal(err)
	}

	ping4 := func() {
		t.Helper()
		if rtt, err := a.device.Ping(t.Context(), alice.v4, bob.v4); err != nil || rtt > 5*time.Second {
			t.Errorf("Ping: %v, %v", rtt, err)
		}
	}
	// The kernel's first packet is held until the tunnel is there.
	hello(t)
	if id := <-a.wanted; id != bob.id {
		t.Fatalf("wanted %s", id)
	}
	a.accept(t, b)
	// Each ping wakes a blocked read of the real device.
	for range 50 {
		ping4()
	}
	if _, err := a.device.Ping(t.Context(), alice.v6, bob.v6); err != nil {
		t.Error(err)
	}
	if got := a.device.Stats()["held"]; got == 0 {
		t.Error("the first packet was not held")
	}
	bulk(t, a, b)

	// Nobody's address is answered at once, and our own marked packets do not get in.
	refused(t, netip.AddrPortFrom(carol.v4, 9), 0)
	refused(t, netip.AddrPortFrom(carol.v6, 9), 0)
	refused(t, netip.AddrPortFrom(bob.v4, 9), testMark)
	refused(t, netip.AddrPortFrom(bob.v6, 9), testMark)

	loseAndMake(t, a, i, ping4)
	if s := a.device.Stats(); s["write_errors"] != 0 || s["malformed"] != 0 {
		t.Errorf("counters: %v", s)
	}
}

// loseAndMake has somebody else take the interface away, makes it again, and takes it down in order.
func loseAndMake(t *testing.T, a *end, i *Interface, ping4 func()) {
	t.Helper()
	link, err := netlink.LinkByName(i.Name())
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkDel(link); err != nil {
		t.Fatal(err)
	}
	ping4()
	if name, err := a.device.Name(); err != nil || name != "detached" {
		t.Errorf("after removal: %q, %v", name, err)
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
	i = create(t, testConfig())
	if err := a.device.Attach(i.Device()); err != nil {
		t.Fatal(err)
	}
	ping4()
	a.device.Detach()
	if err := i.Close(); err != nil {
		t.Error(err)
	}
	same(t, "closed", snapshot(t))
}

func hello(t *testing.T) {
	t.Helper()
	c, err := net.Dial("udp4", netip.AddrPortFrom(bob.v4, 9).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
}

// bulk sends UDP in super-packets (UDP_SEGMENT), which one Read gives as many.
func bulk(t *testing.T, a, b *end) {
	t.Helper()
	c, err := net.Dial("udp4", netip.AddrPortFrom(bob.v4, 10).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var gso error
	if err := raw.Control(func(fd uintptr) { gso = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, 1000) }); err != nil {
		t.Fatal(err)
	}
	if gso != nil {
		t.Logf("no UDP GSO here: %v", gso)
		return
	}
	before, err := b.engine.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(make([]byte, 40*1000)); err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		if _, err := a.device.Ping(t.Context(), alice.v4, bob.v4); err != nil {
			t.Fatal(err)
		}
		after, err := b.engine.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if after[a.key.Public()].RxBytes >= before[a.key.Public()].RxBytes+40*1028 {
			return
		}
	}
	t.Error("the burst did not arrive")
}

// refused connects to an address and wants the kernel to say at once that it cannot be reached.
func refused(t *testing.T, to netip.AddrPort, mark int) {
	t.Helper()
	d := net.Dialer{Timeout: 10 * time.Second, Control: func(_, _ string, c syscall.RawConn) (err error) {
		if mark == 0 {
			return nil
		}
		if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark) }); e != nil {
			return e
		}
		return err
	}}
	c, err := d.DialContext(t.Context(), "tcp", to.String())
	if err == nil {
		_ = c.Close()
	}
	if !errors.Is(err, unix.EHOSTUNREACH) && !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("to %s with mark %#x: %v, want unreachable", to, mark, err)
	}
}
