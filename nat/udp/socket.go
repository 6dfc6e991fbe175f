package udp

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/net/ipv4"
)

const (
	maxDatagram = 65535
	maxPayload  = 65507 // of UDP in IPv4
	maxBatch    = 128   // messages in a system call
	maxSegments = 64    // datagrams in a message
	coalesced   = 4     // messages read at once where each can be many datagrams
)

// batcher is what ipv4.PacketConn and ipv6.PacketConn have in common.
type batcher interface {
	ReadBatch(ms []ipv4.Message, flags int) (int, error)
	WriteBatch(ms []ipv4.Message, flags int) (int, error)
}

// offload says which work on batches the kernel does.
type offload struct {
	segments  bool // it cuts a message into datagrams
	coalesces bool // it joins datagrams of a flow to a message
}

// socket is a Socket of one family. With offload, a message is a row of datagrams that are equally long, but for the
// last, which may be shorter.
type socket struct {
	*net.UDPConn
	local netip.AddrPort
	batch batcher

	segments atomic.Bool
	writers  sync.Pool // of *writer

	// Of the one reader: room for messages, and those that are not handed out yet, the first one from offset on.
	room   []ipv4.Message
	unread []ipv4.Message
	offset int
}

func (s *socket) prepare(o offload) {
	s.segments.Store(o.segments)
	n := maxBatch
	if o.coalesces {
		n = coalesced
	}
	s.room = make([]ipv4.Message, n)
	for i := range s.room {
		s.room[i] = ipv4.Message{Buffers: [][]byte{make([]byte, maxDatagram)}, OOB: make([]byte, controlSize)}
	}
}

// Local implements Socket.
func (s *socket) Local() netip.AddrPort { return s.local }

// ReadBatch implements Socket.
func (s *socket) ReadBatch(bufs [][]byte, sizes []int, from []Flow) (int, error) {
	if len(s.unread) == 0 {
		for i := range s.room {
			s.room[i].OOB = s.room[i].OOB[:controlSize]
		}
		n, err := s.batch.ReadBatch(s.room, 0)
		if err != nil {
			return 0, err
		}
		s.unread = s.room[:n]
	}
	n := 0
	for n < len(bufs) && len(s.unread) > 0 {
		n += s.cut(&s.unread[0], bufs[n:], sizes[n:], from[n:])
	}
	return n, nil
}

// cut hands out datagrams of the first unread message, and drops it when none is left.
func (s *socket) cut(m *ipv4.Message, bufs [][]byte, sizes []int, from []Flow) (n int) {
	flow := Flow{}
	if ua, ok := m.Addr.(*net.UDPAddr); ok {
		flow.Remote = Plain(ua.AddrPort())
	}
	data := m.Buffers[0][:m.N]
	step := segmentSize(m.OOB[:m.NN])
	if step <= 0 {
		step = max(1, len(data))
	}
	for n < len(bufs) && s.offset < len(data) {
		end := min(len(data), s.offset+step)
		sizes[n], from[n] = copy(bufs[n], data[s.offset:end]), flow
		s.offset = end
		n++
	}
	if s.offset >= len(data) {
		s.offset, s.unread = 0, s.unread[1:]
	}
	return n
}

// writer is what one WriteBatch needs.
type writer struct {
	msgs [maxBatch]ipv4.Message
	oobs [maxBatch][controlSize]byte
	ip   [16]byte
	to   net.UDPAddr
}

// WriteBatch implements Socket. The kernel chooses the local address.
func (s *socket) WriteBatch(_, remote netip.AddrPort, bufs [][]byte) error {
	w, ok := s.writers.Get().(*writer)
	if !ok {
		w = new(writer)
	}
	defer s.writers.Put(w)
	w.to.IP, w.to.Port = append(w.ip[:0], remote.Addr().AsSlice()...), int(remote.Port())
	var first error
	for len(bufs) > 0 {
		join := s.segments.Load()
		n, taken := w.fill(bufs, join)
		if err := s.send(w.msgs[:n]); err != nil {
			if join && refusesSegments(err) {
				// The interface cannot: all goes out again by itself, what had left already for a second time.
				s.segments.Store(false)
				continue
			}
			if first == nil {
				first = err
			}
		}
		clear(w.msgs[:n])
		bufs = bufs[taken:]
	}
	return first
}

// fill makes messages of the first bufs. It returns of how many, and how many messages.
func (w *writer) fill(bufs [][]byte, join bool) (n, taken int) {
	for n < len(w.msgs) && taken < len(bufs) {
		k := 1
		if join {
			k = row(bufs[taken:])
		}
		m := &w.msgs[n]
		*m = ipv4.Message{Buffers: bufs[taken : taken+k], Addr: &w.to}
		if k > 1 {
			m.OOB = putSegmentSize(w.oobs[n][:], len(bufs[taken]))
		}
		taken += k
		n++
	}
	return n, taken
}

// row returns how many of the first bufs can be one message.
func row(bufs [][]byte) int {
	size, total := len(bufs[0]), 0
	for i, b := range bufs {
		if i == maxSegments || len(b) > size || total+len(b) > maxPayload {
			return max(1, i)
		}
		total += len(b)
		if len(b) < size {
			return i + 1
		}
	}
	return len(bufs)
}

// send sends all messages but those that the kernel refuses. It returns the first error.
func (s *socket) send(msgs []ipv4.Message) error {
	var first error
	for len(msgs) > 0 {
		n, err := s.batch.WriteBatch(msgs, 0)
		if err != nil {
			if first == nil {
				first = err
			}
			n = max(n, 0) + 1
		}
		msgs = msgs[min(n, len(msgs)):]
	}
	return first
}
