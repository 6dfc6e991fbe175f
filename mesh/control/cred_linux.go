package control

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peerKey is the context key of the credentials of who is at the other end.
type peerKey struct{}

// peer is the process at the other end of a connection, as the kernel knew it when it connected.
type peer struct {
	uid    int
	groups []uint32 // the primary one included
}

// withPeer keeps the credentials of conn for guard. A connection whose credentials cannot be read gets none and is
// refused there.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(*counted); ok {
		conn = c.UnixConn
	}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return ctx
	}
	p, err := peerOf(sc)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, p)
}

func peerOf(conn syscall.Conn) (p peer, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	var perr error
	err = raw.Control(func(fd uintptr) { p, perr = credentials(int(fd)) })
	return p, errors.Join(err, perr)
}

func credentials(fd int) (peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return peer{}, err
	}
	p := peer{uid: int(cred.Uid), groups: []uint32{cred.Gid}}
	// x/sys has no getter for a list of numbers.
	list := make([]uint32, 64)
	for range 2 {
		size := uint32(len(list) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&list[0])), uintptr(unsafe.Pointer(&size)), 0)
		if errors.Is(errno, unix.ERANGE) {
			list = make([]uint32, size/4)
			continue
		}
		if errno == 0 {
			p.groups = append(p.groups, list[:size/4]...)
		}
		break
	}
	return p, nil
}

// guard lets only those pass who may use the socket: root, the agent's own user, and the group.
func (l *Listener) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := r.Context().Value(peerKey{}).(peer)
		if !ok || !allowed(p, os.Geteuid(), l.gid) {
			reply(w, nil, Errorf(ExitPermission, "run it as root, or as a member of the group "+Group,
				"this user may not use the agent at %s", l.path))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// allowed decides whether p may use the socket of an agent that runs as uid; gid is the group's, -1 without one.
func allowed(p peer, uid, gid int) bool {
	return p.uid == 0 || p.uid == uid || gid >= 0 && slices.Contains(p.groups, uint32(gid))
}
