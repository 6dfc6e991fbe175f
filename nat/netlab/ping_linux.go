package netlab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Echo is one ICMP echo request and its fate.
type Echo struct {
	Sent     time.Time
	RTT      time.Duration
	Answered bool
}

// Lost counts the echoes without an answer.
func Lost(echoes []Echo) int {
	n := 0
	for _, e := range echoes {
		if !e.Answered {
			n++
		}
	}
	return n
}

// grace is how long the last echoes of a series may take.
const grace = time.Second

// Echoes pings dst from the host at this pace until ctx ends, waits a moment for the last answers and returns every
// echo in order. A request that could not even be sent counts as unanswered.
func (h *Host) Echoes(ctx context.Context, dst netip.Addr, every time.Duration) ([]Echo, error) {
	return h.ping(ctx, dst, every, false)
}

// FirstEcho pings dst from the host at this pace until the first answer and returns that echo. If ctx ends first the
// error is the context's.
func (h *Host) FirstEcho(ctx context.Context, dst netip.Addr, every time.Duration) (Echo, error) {
	echoes, err := h.ping(ctx, dst, every, true)
	if err != nil {
		return Echo{}, err
	}
	for _, e := range echoes {
		if e.Answered {
			return e, nil
		}
	}
	return Echo{}, fmt.Errorf("netlab: %d pings from %s to %s without an answer: %w", len(echoes), h.name, dst, ctx.Err())
}

func (h *Host) ping(ctx context.Context, dst netip.Addr, every time.Duration, first bool) ([]Echo, error) {
	p := &pinger{dst: dst, id: int(rand.Uint32N(1 << 16))}
	err := h.Do(func() (err error) {
		network, local := "ip4:icmp", "0.0.0.0"
		if dst.Is6() {
			network, local = "ip6:ipv6-icmp", "::"
		}
		p.conn, err = net.ListenPacket(network, local)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("netlab: ping from %s: %w", h.name, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if first {
		p.answered = cancel
	}
	var wg sync.WaitGroup
	wg.Go(p.receive)
	err = p.send(ctx, every)
	wait := grace
	if first || err != nil || !p.missing() {
		wait = 0
	}
	err = errors.Join(err, p.conn.SetReadDeadline(time.Now().Add(wait)))
	wg.Wait()
	if err = errors.Join(err, p.conn.Close()); err != nil {
		return nil, fmt.Errorf("netlab: ping from %s: %w", h.name, err)
	}
	return p.echoes, nil
}

// missing reports whether an answer is missing, now that no more requests follow.
func (p *pinger) missing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = true
	return Lost(p.echoes) > 0
}

// pinger is one series of echoes.
type pinger struct {
	conn     net.PacketConn
	dst      netip.Addr
	id       int
	answered func() // called at every answer, if not nil

	mu     sync.Mutex
	echoes []Echo
	done   bool // no more requests follow
}

func (p *pinger) send(ctx context.Context, every time.Duration) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if err := p.request(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (p *pinger) request() error {
	var typ icmp.Type = ipv4.ICMPTypeEcho
	if p.dst.Is6() {
		typ = ipv6.ICMPTypeEchoRequest
	}
	p.mu.Lock()
	seq := len(p.echoes)
	p.echoes = append(p.echoes, Echo{Sent: time.Now()})
	p.mu.Unlock()
	msg := icmp.Message{Type: typ, Body: &icmp.Echo{ID: p.id, Seq: seq & 0xffff, Data: make([]byte, 56)}}
	b, err := msg.Marshal(nil)
	if err != nil {
		return fmt.Errorf("marshal an echo request: %w", err)
	}
	// No route, or a route that says no: an unanswered ping like any other.
	_, _ = p.conn.WriteTo(b, &net.IPAddr{IP: p.dst.AsSlice()})
	return nil
}

// receive collects answers until the socket is closed or its deadline passes, or none is missing at the end.
func (p *pinger) receive() {
	proto, reply := ipv4.ICMPTypeEcho.Protocol(), icmp.Type(ipv4.ICMPTypeEchoReply)
	if p.dst.Is6() {
		proto, reply = ipv6.ICMPTypeEchoRequest.Protocol(), ipv6.ICMPTypeEchoReply
	}
	buf := make([]byte, 2048)
	for {
		n, from, err := p.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		msg, err := icmp.ParseMessage(proto, buf[:n])
		if err != nil || msg.Type != reply || !sameAddr(from, p.dst) {
			continue
		}
		if e, ok := msg.Body.(*icmp.Echo); ok && e.ID == p.id && p.match(e.Seq) {
			return
		}
	}
}

// match books an answer and reports whether it was the last one to wait for.
func (p *pinger) match(seq int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	// The sequence number on the wire has 16 bits: the newest request with it is meant.
	i := len(p.echoes) - 1
	i -= (i - seq) & 0xffff
	if i < 0 || p.echoes[i].Answered {
		return false
	}
	p.echoes[i].Answered = true
	p.echoes[i].RTT = time.Since(p.echoes[i].Sent)
	if p.answered != nil {
		p.answered()
	}
	return p.done && Lost(p.echoes) == 0
}

func sameAddr(from net.Addr, want netip.Addr) bool {
	ip, ok := from.(*net.IPAddr)
	if !ok {
		return false
	}
	a, ok := netip.AddrFromSlice(ip.IP)
	return ok && a.Unmap() == want
}
