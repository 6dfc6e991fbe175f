package join

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"warren/keys"
)

// Conn is a connection with a member that may let us in.
type Conn interface {
	Session() Session
	Close()
}

// Door is the way to members that let joiners in.
type Door struct {
	// Check finds out whether a member of the network is at an address, and returns how to dial it.
	Check func(ctx context.Context, network keys.NetworkID, at netip.AddrPort) (net.Addr, error)
	Dial  func(ctx context.Context, addr net.Addr, identity *keys.Identity) (Conn, error)
}

const (
	checkFor = 15 * time.Second // until an endpoint has shown a sign of life
	talkFor  = 30 * time.Second // one conversation
)

// ErrNobody is wrapped by the error of Knock where no endpoint showed a sign of life.
var ErrNobody = errors.New("nobody answers")

// Knock tries the endpoints of a code, all at once for a sign of life, then one after the other for admission, and
// returns where it succeeded. The error is a *Refusal where a member said no, else what went wrong last.
func Knock(ctx context.Context, door Door, code keys.JoinCode, a Applicant) (*Admission, netip.AddrPort, error) {
	type answer struct {
		at   netip.AddrPort
		addr net.Addr
		err  error
	}
	answers := make(chan answer, len(code.Endpoints))
	var checking sync.WaitGroup
	defer checking.Wait()
	checks, stop := context.WithTimeout(ctx, checkFor)
	defer stop()
	for _, at := range code.Endpoints {
		checking.Go(func() {
			addr, err := door.Check(checks, code.Network, at)
			answers <- answer{at, addr, err}
		})
	}
	last := fmt.Errorf("join: %w", ErrNobody)
	for range code.Endpoints {
		got := <-answers
		if got.err != nil {
			continue
		}
		admission, err := apply(ctx, door, got.addr, a)
		if err == nil {
			return admission, got.at, nil
		}
		last = err
		if refusal := (*Refusal)(nil); errors.As(err, &refusal) && refusal.Code != CodeNoSigner && refusal.Code != CodeFailed {
			break // all others would say the same
		}
	}
	return nil, netip.AddrPort{}, last
}

// apply holds the conversation with the member at addr.
func apply(ctx context.Context, door Door, addr net.Addr, a Applicant) (*Admission, error) {
	ctx, cancel := context.WithTimeout(ctx, talkFor)
	defer cancel()
	c, err := door.Dial(ctx, addr, a.Identity)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return Ask(c.Session(), a)
}
