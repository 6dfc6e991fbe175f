package netlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Confinement is what a process started by [Host.Start] is denied. The zero value denies nothing.
type Confinement struct {
	// Empty lists folders in whose place the process sees an empty one of its own.
	Empty []string
	// DropCaps lists capabilities (unix.CAP_…) that the process and its children can never hold.
	DropCaps []uintptr
}

// Process is a running or ended program inside a host.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait; read it after done
}

// Start runs cmd inside the host. It is killed when this program ends, however that happens, and by [Lab.Close].
// cmd.Wait must not be called; use the Process.
func (h *Host) Start(cmd *exec.Cmd, deny Confinement) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr.Setpgid = true // an interrupt typed at the terminal is for this program, not for the hosts
	p := &Process{cmd: cmd, done: make(chan struct{})}
	h.lab.mu.Lock()
	if h.lab.closed {
		h.lab.mu.Unlock()
		return nil, errors.New("netlab: the lab is closed")
	}
	h.lab.procs.Add(1)
	h.lab.mu.Unlock()

	started := make(chan error, 1)
	go func() {
		defer h.lab.procs.Done()
		// The kernel ties the death signal to the starting thread, so this thread waits for the process, and it is
		// never handed back: what it gave up cannot be regained.
		runtime.LockOSThread()
		err := p.start(h.ns.fd, deny)
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		h.lab.forget(p)
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("netlab: start %s on %s: %w", cmd.Path, h.name, err)
	}
	if !h.lab.remember(p) {
		return nil, errors.Join(errors.New("netlab: the lab is closed"), p.Kill())
	}
	return p, nil
}

// start runs on the thread that becomes the parent of the process.
func (p *Process) start(fd netns.NsHandle, deny Confinement) error {
	if err := netns.Set(fd); err != nil {
		return fmt.Errorf("enter the namespace: %w", err)
	}
	if len(deny.Empty) > 0 {
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("make a mount namespace: %w", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("make mounts private: %w", err)
		}
	}
	for _, dir := range deny.Empty {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
			return fmt.Errorf("empty %s: %w", dir, err)
		}
	}
	for _, c := range deny.DropCaps {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	return p.cmd.Start()
}

func (l *Lab) remember(p *Process) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	select {
	case <-p.done:
	default:
		l.running[p] = struct{}{}
	}
	return true
}

func (l *Lab) forget(p *Process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, p)
}

// Run runs cmd inside the host until it ends or ctx does, which kills it. Its error is that of [exec.Cmd.Run].
func (h *Host) Run(ctx context.Context, cmd *exec.Cmd, deny Confinement) error {
	p, err := h.Start(cmd, deny)
	if err != nil {
		return err
	}
	return p.Wait(ctx)
}

// Pid is the process id, as this program sees it.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the process and returns what [exec.Cmd.Wait] says. If ctx ends first the process is
// killed and the error is the context's.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return errors.Join(ctx.Err(), p.Kill())
	}
}

// Signal sends a signal; a process that has ended already is no error.
func (p *Process) Signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("netlab: signal %s: %w", p.cmd.Path, err)
	}
	return nil
}

// Kill ends the process with SIGKILL and waits for that.
func (p *Process) Kill() error {
	if err := p.Signal(os.Kill); err != nil {
		return err
	}
	<-p.done
	return nil
}

// ExitCode is the exit code of an ended process, -1 while it runs and after a signal.
func (p *Process) ExitCode() int {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	default:
		return -1
	}
}

// CPU is the processor time, user and system, that the running process has used. The kernel counts in steps of
// 10 ms.
func (p *Process) CPU() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		return 0, fmt.Errorf("netlab: processor time of %s: %w", p.cmd.Path, err)
	}
	// The program's name, in parentheses, may hold blanks; utime and stime are the 12th and 13th fields after it.
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("netlab: processor time of %s: short /proc stat", p.cmd.Path)
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("netlab: processor time of %s: %w", p.cmd.Path, err)
		}
		ticks += n
	}
	const perSecond = 100 // USER_HZ on every architecture Go runs on
	return time.Duration(ticks) * time.Second / perSecond, nil
}
