package control

import (
	"net"
	"sync"
)

// maxOfUser is how many connections a user other than root may have open.
const maxOfUser = 64

// fair is a listener that hangs up on users with too many connections, so that none uses up the agent's descriptors.
type fair struct {
	*net.UnixListener
	mu   sync.Mutex
	live map[int]int // by user
}

// counted is a connection of a user.
type counted struct {
	*net.UnixConn
	once sync.Once
	left func()
}

// Accept returns the next connection of a user who has not too many.
func (l *fair) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		p, err := peerOf(conn)
		if err != nil || !l.enter(p.uid) {
			_ = conn.Close()
			continue
		}
		return &counted{UnixConn: conn, left: func() { l.leave(p.uid) }}, nil
	}
}

func (l *fair) enter(uid int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if uid != 0 && l.live[uid] >= maxOfUser {
		return false
	}
	l.live[uid]++
	return true
}

func (l *fair) leave(uid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live[uid]--; l.live[uid] <= 0 {
		delete(l.live, uid)
	}
}

// Close ends the connection, which counts no longer.
func (c *counted) Close() error {
	c.once.Do(c.left)
	return c.UnixConn.Close()
}
