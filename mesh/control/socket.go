package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Group is the group whose members may use the socket of an agent that runs as root.
const Group = "warren"

// maxSunPath is what fits into sun_path with its closing zero.
const maxSunPath = 107

// ErrInUse is wrapped by the error of Listen when another agent answers at the socket.
var ErrInUse = errors.New("another agent answers there")

// Listener is the agent's end of the unix socket.
type Listener struct {
	path  string
	ln    *net.UnixListener
	file  os.FileInfo // of the socket, to remove no other
	gid   int         // of Group, -1 without it
	close sync.Once
}

// Listen binds the socket at path, whose length is not limited by sun_path. A missing folder is made. A socket that
// nobody serves is replaced; one that answers is an error that wraps ErrInUse, and a file that is no socket is left
// alone. With a group "warren" and the right to give files away the socket is open to that group, else to the own user
// only.
func Listen(path string) (*Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("control: making the socket's folder: %w", err)
	}
	if err := vacant(path); err != nil {
		return nil, err
	}
	// Bound under another name, then renamed: nobody sees a socket that has the wrong mode or does not listen yet.
	temp := filepath.Join(filepath.Dir(path), ".warren."+strconv.Itoa(os.Getpid())+".sock")
	_ = os.Remove(temp) // of a process that had our number and died here; if it is something else bind says so
	var ln *net.UnixListener
	err := short(temp, func(name string) (err error) {
		ln, err = net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("control: binding %s: %w", path, errors.Unwrap(err))
	}
	ln.SetUnlinkOnClose(false)
	l := &Listener{path: path, ln: ln, gid: -1}
	if err := l.publish(temp); err != nil {
		_ = os.Remove(temp)
		_ = ln.Close()
		return nil, fmt.Errorf("control: binding %s: %w", path, err)
	}
	return l, nil
}

// publish gives the socket its owner, mode and name.
func (l *Listener) publish(temp string) error {
	if err := os.Chmod(temp, 0o600); err != nil {
		return err
	}
	if g, err := user.LookupGroup(Group); err == nil {
		gid, err := strconv.Atoi(g.Gid)
		// An ordinary user cannot give a file to a group it is not in: then the socket stays its own.
		if err == nil && os.Chown(temp, -1, gid) == nil && os.Chmod(temp, 0o660) == nil {
			l.gid = gid
		}
	}
	if err := os.Rename(temp, l.path); err != nil {
		return err
	}
	var err error
	l.file, err = os.Lstat(l.path)
	return err
}

// vacant reports an error unless path is free to be bound or replaced.
func vacant(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("control: looking at the socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("control: %s is in the way: not a socket", path)
	}
	conn, err := dial(context.Background(), path)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("control: binding %s: %w", path, ErrInUse)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("control: asking who serves %s: %w", path, err)
	}
	return nil
}

// Serve answers requests with b until ctx ends, then cancels those under way, waits for them for at most two seconds,
// removes the socket and returns nil. An error means that the socket broke.
func (l *Listener) Serve(ctx context.Context, b Backend, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	srv := &http.Server{
		Handler:           l.guard(routes(b)),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       withPeer,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       5 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		<-ctx.Done()
		grace, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer stop()
		if srv.Shutdown(grace) != nil {
			_ = srv.Close()
		}
	})
	err := srv.Serve(&fair{UnixListener: l.ln, live: map[int]int{}})
	ended := ctx.Err() != nil
	cancel()
	wg.Wait()
	_ = l.Close()
	if ended || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("control: serving %s: %w", l.path, err)
}

// Close stops listening and removes the socket if it is still ours. It may be called again, and after Serve.
func (l *Listener) Close() error {
	var err error
	l.close.Do(func() {
		if now, e := os.Lstat(l.path); e == nil && os.SameFile(now, l.file) {
			_ = os.Remove(l.path)
		}
		if err = l.ln.Close(); errors.Is(err, net.ErrClosed) {
			err = nil
		}
	})
	return err
}

func dial(ctx context.Context, path string) (conn net.Conn, err error) {
	err = short(path, func(name string) (err error) {
		var d net.Dialer
		conn, err = d.DialContext(ctx, "unix", name)
		return err
	})
	return conn, err
}

// short calls f with a name of path that fits into sun_path: through a descriptor of its folder where path is too long.
func short(path string, f func(name string) error) error {
	if len(path) <= maxSunPath {
		return f(path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
}
