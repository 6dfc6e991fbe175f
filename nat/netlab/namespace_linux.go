package netlab

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespace is one anonymous network namespace; it lives as long as fd, a process or a socket in it.
type namespace struct {
	fd   netns.NsHandle
	link *netlink.Handle
}

// newNamespace makes a network namespace with loopback up and predictable settings.
func newNamespace() (*namespace, error) {
	ns := &namespace{fd: netns.None()}
	err := onThread(func() error {
		fd, err := netns.New()
		ns.fd = fd
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("netlab: make a network namespace: %w", err)
	}
	if err := ns.prepare(); err != nil {
		ns.close()
		return nil, err
	}
	return ns, nil
}

func (ns *namespace) prepare() error {
	handle, err := netlink.NewHandleAt(ns.fd, unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("netlab: open netlink: %w", err)
	}
	ns.link = handle
	// A new namespace copies some settings of the machine's first one: set those that change what a test sees.
	for key, value := range map[string]string{
		"net.ipv4.conf.all.rp_filter":                "0",
		"net.ipv4.conf.default.rp_filter":            "2",
		"net.ipv4.ip_forward":                        "0",
		"net.ipv6.conf.all.disable_ipv6":             "0",
		"net.ipv6.conf.default.disable_ipv6":         "0",
		"net.ipv6.conf.default.accept_dad":           "0",
		"net.ipv6.conf.default.accept_ra":            "0",
		"net.ipv6.conf.default.router_solicitations": "0",
	} {
		if err := ns.sysctl(key, value); err != nil {
			return err
		}
	}
	lo, err := handle.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("netlab: find loopback: %w", err)
	}
	if err := handle.LinkSetUp(lo); err != nil {
		return fmt.Errorf("netlab: set loopback up: %w", err)
	}
	return nil
}

func (ns *namespace) close() {
	if ns.link != nil {
		ns.link.Close()
	}
	if ns.fd.IsOpen() {
		ns.fd.Close()
	}
}

// do runs fn on a thread inside the namespace and returns its error.
func (ns *namespace) do(fn func() error) error {
	return onThread(func() error {
		if err := netns.Set(ns.fd); err != nil {
			return fmt.Errorf("netlab: enter the namespace: %w", err)
		}
		return fn()
	})
}

// sysctl writes one kernel setting of the namespace.
func (ns *namespace) sysctl(key, value string) error {
	path := filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
	return ns.do(func() error {
		if err := os.WriteFile(path, []byte(value), 0); err != nil {
			return fmt.Errorf("netlab: set %s: %w", key, err)
		}
		return nil
	})
}

// onThread runs fn on an operating system thread of its own and waits for it. fn may change what belongs to the
// thread: its network namespace is put back, and if that fails the thread ends with the goroutine.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		before, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("netlab: open this thread's namespace: %w", err)
			return
		}
		defer before.Close()
		err = fn()
		// The first thread of a process cannot end, so hand threads back clean instead of using them up.
		if netns.Set(before) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}
