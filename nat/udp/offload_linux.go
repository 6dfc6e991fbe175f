package udp

import (
	"errors"
	"fmt"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bufferSize is asked for each direction of a socket: 50 ms at a gigabit a second.
const bufferSize = 7 << 20

// controlSize is room for the one control message that we write, and for the few that may come.
const controlSize = 64

// tune gives the socket large buffers and finds out what the kernel can do for it.
func tune(conn *net.UDPConn) (o offload) {
	_ = control(conn, func(fd int) error {
		for _, option := range [][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
			if unix.SetsockoptInt(fd, unix.SOL_SOCKET, option[0], bufferSize) != nil {
				_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option[1], bufferSize)
			}
		}
		_, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT)
		o.segments = err == nil
		o.coalesces = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1) == nil
		return nil
	})
	return o
}

// SetMark marks every packet sent from now on, SO_MARK.
func (s *socket) SetMark(mark uint32) error {
	err := control(s.UDPConn, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)) })
	if err != nil {
		return fmt.Errorf("udp: marking port %d: %w", s.local.Port(), err)
	}
	return nil
}

func control(conn *net.UDPConn, f func(fd int) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// segmentSize returns how long the datagrams of a message are that came with this control data; 0: it is one.
func segmentSize(oob []byte) int {
	for len(oob) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return 0
		}
		if h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && len(data) >= 4 {
			return int(*(*int32)(unsafe.Pointer(&data[0])))
		}
		oob = rest
	}
	return 0
}

// putSegmentSize writes into b the control data that lets the kernel cut a message.
func putSegmentSize(b []byte, size int) []byte {
	b = b[:unix.CmsgSpace(2)]
	clear(b)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	*(*uint16)(unsafe.Pointer(&b[unix.CmsgLen(0)])) = uint16(size)
	return b
}

// refusesSegments reports whether an interface without checksum offload is the cause: it cannot cut.
func refusesSegments(err error) bool { return errors.Is(err, unix.EIO) }
