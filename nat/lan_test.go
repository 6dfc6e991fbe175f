package nat

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"warren/nat/demux"
)

// lan is an in-memory network: what is written to the address of a socket can be read there.
type lan struct {
	mu    sync.Mutex
	socks map[netip.AddrPort]*lanSocket
	sent  []datagram
	lose  func(d datagram) bool
}

type datagram struct {
	from, to netip.AddrPort
	data     []byte
}

// lanSocket is one address on it.
type lanSocket struct {
	lan    *lan
	local  netip.AddrPort
	in     chan datagram
	closed chan struct{}
	once   sync.Once
}

var _ Socket = (*lanSocket)(nil)

func newLAN() *lan { return &lan{socks: make(map[netip.AddrPort]*lanSocket)} }

// open returns a Config.Open that binds ip.
func (l *lan) open(ip string) func(uint16) ([]Socket, uint16, error) {
	return func(port uint16) ([]Socket, uint16, error) {
		if port == 0 {
			port = 41641
		}
		s := l.socket(netip.AddrPortFrom(netip.MustParseAddr(ip), port))
		return []Socket{s}, port, nil
	}
}

func (l *lan) socket(local netip.AddrPort) *lanSocket {
	s := &lanSocket{lan: l, local: local, in: make(chan datagram, 4096), closed: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.socks[local] = s
	return s
}

// to returns what was written to addr so far.
func (l *lan) to(addr netip.AddrPort) (ds []datagram) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.sent {
		if d.to == addr {
			ds = append(ds, d)
		}
	}
	return ds
}

func (s *lanSocket) ReadBatch(bufs [][]byte, sizes []int, from []Flow) (int, error) {
	select {
	case d := <-s.in:
		n := 0
		for {
			sizes[n] = copy(bufs[n], d.data)
			from[n] = Flow{Remote: d.from}
			if n++; n == len(bufs) {
				return n, nil
			}
			select {
			case d = <-s.in:
			default:
				return n, nil
			}
		}
	case <-s.closed:
		return 0, net.ErrClosed
	}
}

func (s *lanSocket) WriteBatch(_, remote netip.AddrPort, bufs [][]byte) error {
	for _, b := range bufs {
		d := datagram{from: s.local, to: remote, data: slices.Clone(b)}
		s.lan.mu.Lock()
		s.lan.sent = append(s.lan.sent, d)
		to := s.lan.socks[remote]
		lost := s.lan.lose != nil && s.lan.lose(d)
		s.lan.mu.Unlock()
		if to != nil && !lost {
			select {
			case to.in <- d:
			default:
			}
		}
	}
	return nil
}

func (s *lanSocket) Local() netip.AddrPort { return s.local }

func (s *lanSocket) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// wg returns a message of WireGuard's type typ and its least size.
func wg(t testing.TB, typ byte) []byte {
	t.Helper()
	size := map[byte]int{demux.TypeInitiation: demux.SizeInitiation, demux.TypeResponse: demux.SizeResponse, demux.TypeCookie: demux.SizeCookie, demux.TypeTransport: demux.SizeTransport}[typ]
	b := make([]byte, size)
	b[0] = typ
	return b
}
