//go:build !linux

package udp

import (
	"errors"
	"net"
)

const controlSize = 0

func tune(*net.UDPConn) offload { return offload{} }

// SetMark marks nothing: only Linux has marks.
func (s *socket) SetMark(uint32) error { return errors.ErrUnsupported }

func segmentSize([]byte) int { return 0 }

func putSegmentSize(b []byte, _ int) []byte { return b }

func refusesSegments(error) bool { return false }
