package tun

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"warren/tun/icmp"
)

// ErrNobody is wrapped by the error of Ping when no member has the address.
var ErrNobody = errors.New("no member has this address")

const (
	tokenSize = 8
	// maxPings may wait at a time.
	maxPings = 1024
)

// pinger matches echo replies to the callers of Ping. A payload of ours is the token, which no process of
// this host can guess, and the number of the ping.
type pinger struct {
	waiting atomic.Int32 // how many; Write looks no further when it is 0
	token   [tokenSize]byte
	done    chan struct{} // closed with the Device

	mu    sync.Mutex
	count uint64
	calls map[uint64]ping
}

// ping is a call that waits. Its channel has room for the one answer.
type ping struct {
	dst  netip.Addr
	pong chan time.Time
}

func (g *pinger) init() {
	g.done = make(chan struct{})
	g.calls = make(map[uint64]ping)
	_, _ = rand.Read(g.token[:]) // it never fails
}

func (g *pinger) close() { close(g.done) }

func (g *pinger) add(dst netip.Addr) (number uint64, pong <-chan time.Time, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.calls) >= maxPings {
		return 0, nil, false
	}
	g.count++
	c := ping{dst: dst, pong: make(chan time.Time, 1)}
	g.calls[g.count] = c
	g.waiting.Add(1)
	return g.count, c.pong, true
}

func (g *pinger) remove(number uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.calls, number)
	g.waiting.Add(-1)
}

// catch returns bufs without the answers to pings, which it delivers. It leaves bufs itself alone.
func (g *pinger) catch(bufs [][]byte, offset int) [][]byte {
	var rest [][]byte
	for i, b := range bufs {
		ours := g.deliver(b[offset:])
		if ours && rest == nil {
			rest = append(make([][]byte, 0, len(bufs)), bufs[:i]...)
		} else if !ours && rest != nil {
			rest = append(rest, b)
		}
	}
	if rest == nil {
		return bufs
	}
	return rest
}

// deliver reports whether b answers a ping of ours, late and repeated answers included.
func (g *pinger) deliver(b []byte) bool {
	e, ok := icmp.ParseEcho(b)
	if !ok || !e.Reply || len(e.Payload) != tokenSize+8 || [tokenSize]byte(e.Payload) != g.token {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if c, ok := g.calls[binary.BigEndian.Uint64(e.Payload[tokenSize:])]; ok && c.dst == e.Src {
		select {
		case c.pong <- time.Now():
		default:
		}
	}
	return true
}

// Ping sends an ICMP echo request (RFC 792, RFC 4443) to dst through the tunnel and waits for the answer, with
// or without a kernel device. src is this host's overlay address of dst's family. A member that is not ready
// becomes wanted, and the time it takes to become ready is part of rtt. The error wraps ErrNobody,
// os.ErrClosed, or what ended ctx.
func (d *Device) Ping(ctx context.Context, src, dst netip.Addr) (rtt time.Duration, err error) {
	if !src.IsValid() || src.BitLen() != dst.BitLen() || src.Is4In6() || dst.Is4In6() {
		return 0, fmt.Errorf("tun: pinging %s from %s: addresses of two families", dst, src)
	}
	if d.owners.Load().byAddr[dst] == nil {
		return 0, fmt.Errorf("tun: pinging %s: %w", dst, ErrNobody)
	}
	if d.closed.Load() {
		return 0, fmt.Errorf("tun: pinging %s: %w", dst, os.ErrClosed)
	}
	number, pong, ok := d.pings.add(dst)
	if !ok {
		return 0, fmt.Errorf("tun: pinging %s: %d pings wait already", dst, maxPings)
	}
	defer d.pings.remove(number)

	payload := binary.BigEndian.AppendUint64(d.pings.token[:], number)
	e := icmp.Echo{Src: src, Dst: dst, ID: binary.BigEndian.Uint16(d.pings.token[:]), Seq: uint16(number), Payload: payload}
	sent := time.Now()
	d.queue.put(packet{data: icmp.AppendEcho(nil, e), until: d.clock.now() + holdFor, own: true})
	d.wakeReader()
	select {
	case at := <-pong:
		return at.Sub(sent), nil
	case <-d.pings.done:
		return 0, fmt.Errorf("tun: pinging %s: %w", dst, os.ErrClosed)
	case <-ctx.Done():
		return 0, fmt.Errorf("tun: pinging %s: %w", dst, context.Cause(ctx))
	}
}
