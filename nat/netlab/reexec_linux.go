package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/google/nftables"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// ErrUnsupported is wrapped by errors that say why no lab can be made here and what would change that. Tests skip on
// it.
var ErrUnsupported = errors.New("no lab on this machine")

// inside marks a process that runs in the user namespace made by Reexec.
const inside = "WARREN_NETLAB_USERNS"

// Check tells whether this program can make labs now: network namespaces, nf_tables and /dev/net/tun in them. Its
// error wraps [ErrUnsupported] and names a remedy.
func Check() error {
	return onThread(func() error {
		fd, err := netns.New()
		if err != nil {
			return unsupported("cannot make a network namespace", err, "run as root, or allow user namespaces: "+allowUserNamespaces)
		}
		defer fd.Close()
		conn, err := nftables.New(nftables.WithNetNSFd(int(fd)))
		if err == nil {
			conn.AddTable(&nftables.Table{Name: "probe", Family: nftables.TableFamilyIPv4})
			err = conn.Flush()
		}
		if err != nil {
			return unsupported("cannot use nf_tables", err, "modprobe nf_tables nft_masq nft_ct")
		}
		tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
		switch {
		case errors.Is(err, os.ErrPermission):
			return unsupported("cannot use TUN devices", err, "run as root, or chmod 0666 /dev/net/tun")
		case err != nil:
			return unsupported("cannot use TUN devices", err, "modprobe tun")
		}
		return tun.Close()
	})
}

const allowUserNamespaces = "sysctl -w user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1 " +
	"kernel.apparmor_restrict_unprivileged_userns=0 (those of them that exist)"

func unsupported(what string, err error, remedy string) error {
	return fmt.Errorf("netlab: %w: %s: %w (remedy: %s)", ErrUnsupported, what, err, remedy)
}

// Reexec gives a program without the rights to make a lab a second chance: it runs the same program, with the same
// arguments, as root of a new user namespace and waits for it. If ran is true the caller must exit with code at once;
// everything has been done by the other process. If ran is false the program goes on as it is: either it can make
// labs, or err (which wraps [ErrUnsupported]) says why not.
func Reexec() (code int, ran bool, err error) {
	here := Check()
	if here == nil || os.Getenv(inside) != "" {
		return 0, false, here
	}
	// The kernel ties the death signal to the starting thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	self, err := os.Executable()
	if err != nil {
		return 0, false, fmt.Errorf("netlab: find this program: %w", err)
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, false, unsupported("cannot make a user namespace", err, "run as root, or: "+allowUserNamespaces)
	}
	done := make(chan struct{})
	forwarded := make(chan struct{})
	go func() {
		defer close(forwarded)
		for {
			select {
			case sig := <-signals:
				_ = cmd.Process.Signal(sig) // it has ended already, or it got the signal
			case <-done:
				return
			}
		}
	}()
	err = cmd.Wait()
	close(done)
	<-forwarded
	if code = cmd.ProcessState.ExitCode(); code < 0 {
		fmt.Fprintf(os.Stderr, "netlab: %v\n", err)
		code = 1
	}
	return code, true, nil
}
