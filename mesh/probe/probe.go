// Package probe asks members through the tunnel whether they answer.
package probe

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"

	"warren/keys"
	"warren/mesh/control"
	"warren/nat/path"
	"warren/tun"
)

// Target is a member that is pinged.
type Target struct {
	ID       keys.NodeID
	Name     string
	Src, Dst netip.Addr // overlay addresses, ours and its
}

// Prober pings. It is safe for concurrent use if its fields are.
type Prober struct {
	Ping func(ctx context.Context, src, dst netip.Addr) (time.Duration, error)
	// Path returns by which path a member is reached, and why it is not.
	Path func(keys.NodeID) (p path.Path, reason string)
}

// every is how often a row of pings sends one, and within how long each must be answered in Reach.
const every = time.Second

// Once sends one echo request through the tunnel.
func (p Prober) Once(ctx context.Context, t Target, timeout time.Duration) control.Pong {
	pong := control.Pong{Name: t.Name, Address: t.Dst}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	rtt, err := p.Ping(ctx, t.Src, t.Dst)
	by, reason := p.Path(t.ID)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		pong.Error = control.Text(strings.TrimSuffix("timeout: "+reason, ": "))
		return pong
	case errors.Is(err, tun.ErrNobody):
		pong.Error = "no member has this address now"
		return pong
	case err != nil:
		pong.Error = control.Text(err.Error())
		return pong
	}
	pong.OK, pong.RTT = true, control.Millis(rtt)
	if by.Kind == path.DirectUDP {
		pong.Path, pong.Transport, pong.Endpoint = control.Text(control.PathDirect), "udp", control.Text(by.Remote.String())
	}
	return pong
}

// Row sends a request a second as r asks for, and tells of each answer, until tell returns an error or ctx ends, whose
// error it returns.
func (p Prober) Row(ctx context.Context, t Target, r control.PingRequest, tell func(control.Pong) error) error {
	for seq := 1; r.Count == 0 || seq <= r.Count; seq++ {
		next := time.After(every)
		pong := p.Once(ctx, t, r.Timeout)
		if err := ctx.Err(); err != nil {
			return err
		}
		pong.Seq = seq
		if err := tell(pong); err != nil {
			return err
		}
		if seq == r.Count || r.UntilDirect && pong.OK && pong.Path == control.Text(control.PathDirect) {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

const (
	lookEvery = 100 * time.Millisecond // for further members
	grace     = 100 * time.Millisecond // for further answers after the first
)

// Reach pings members until one has answered, and returns all that did so until shortly after that. more tells of members
// that are not pinged yet; known says which are.
func (p Prober) Reach(ctx context.Context, more func(ctx context.Context, known map[keys.NodeID]bool) []Target) []control.Reached {
	answers := make(chan control.Reached)
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	known := map[keys.NodeID]bool{}
	var reached []control.Reached
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var last <-chan time.Time
	for {
		for _, t := range more(ctx, known) {
			known[t.ID] = true
			asking.Go(func() { p.until(ctx, t, answers) })
		}
		select {
		case r := <-answers:
			reached = append(reached, r)
			if last == nil {
				last = time.After(grace)
			}
		case <-last:
			return reached
		case <-look.C:
		case <-ctx.Done():
			return reached
		}
	}
}

// until pings one member until it answers or ctx ends.
func (p Prober) until(ctx context.Context, t Target, answers chan<- control.Reached) {
	for ctx.Err() == nil {
		pong := p.Once(ctx, t, every)
		if !pong.OK {
			continue
		}
		select {
		case answers <- control.Reached{Name: t.Name, Path: control.Path(pong.Path), RTT: pong.RTT}:
		case <-ctx.Done():
		}
		return
	}
}
