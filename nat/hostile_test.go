package nat

import (
	"crypto/rand"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"warren/keys"
	"warren/nat/demux"
	"warren/nat/path"
	"warren/nat/stun"
)

// spoof lets h get data as if it came from an address.
func (l *lan) spoof(h *host, from netip.AddrPort, data []byte) {
	to := h.stack.Candidates()[0].Addr
	l.mu.Lock()
	s := l.socks[to]
	l.mu.Unlock()
	select {
	case s.in <- datagram{from: from, to: to, data: data}:
	default:
	}
}

// check returns an authentic check of h to o.
func (h *host) check(o *host) []byte {
	h.t.Helper()
	pair, err := h.key.Pair(o.info.Key, network)
	if err != nil {
		h.t.Fatal(err)
	}
	var id [12]byte
	_, _ = rand.Read(id[:]) // never fails
	return stun.Request(id, stun.User(keys.CheckUserKey(network), id, h.info.ID), pair.Check)
}

// A member that sends checks as if from the address of another does not get that one's packets.
func TestStolenAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		hosts := onLAN(t, l, 1, 2, 3)
		a, b, thief := hosts[0], hosts[1], hosts[2]
		for _, h := range hosts {
			for _, o := range hosts {
				if h != o {
					h.knows(o)
				}
			}
		}
		a.wants(b)
		thief.wants(b)
		for _, h := range []*host{a, thief} {
			if _, err := h.ping(b, 5*time.Second); err != nil {
				t.Fatal(err)
			}
			if _, err := b.ping(h, 5*time.Second); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(20 * time.Second) // so that nothing is fresh but by traffic
		lost := 0
		for range 50 {
			l.spoof(b, a.stack.Candidates()[0].Addr, thief.check(b))
			time.Sleep(10 * time.Millisecond)
			if _, err := a.ping(b, 500*time.Millisecond); err != nil {
				lost++
			}
			if _, err := b.ping(a, 500*time.Millisecond); err != nil {
				lost++
			}
		}
		if lost > 0 {
			t.Errorf("%d of 100 packets did not arrive", lost)
		}
	})
}

// Initiations that somebody forges in the name of a member do not keep ours from leaving.
func TestForgedInitiations(t *testing.T) {
	for _, from := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			l := newLAN()
			hosts := onLAN(t, l, 1, 2)
			a, b := hosts[from], hosts[1-from]
			a.knows(b)
			b.knows(a)
			a.stack.Connect(b.info.ID)
			a.until("usable", func() bool {
				return a.stack.PeerStatus(b.info.ID).Usable && b.stack.PeerStatus(a.info.ID).Usable
			})
			a.wants(b)
			b.wants(a)
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
						l.spoof(a, b.stack.Candidates()[0].Addr, wg(t, demux.TypeInitiation))
					}
				}
			}()
			time.Sleep(time.Second)
			if _, err := a.ping(b, 1500*time.Millisecond); err != nil {
				t.Error(err)
			}
		})
	}
}

// Who passes on the calls of others cannot use them again to break tunnels.
func TestReplayedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := onLAN(t, newLAN(), 1, 2)
		a, b := hosts[0], hosts[1]
		a.knows(b)
		b.knows(a)
		for range 5 {
			a.stack.RemovePeer(b.info.ID)
			a.knows(b)
			a.stack.SetTunnel(b.info.ID, true)
			a.stack.loop.event(b.info.ID, path.Initiation{})
			time.Sleep(10 * time.Second)
		}
		calls := func() (n int) {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, ev := range b.events {
				if c, ok := ev.(Called); ok && c.Age > 0 {
					n++
				}
			}
			return n
		}
		a.mu.Lock()
		said := slices.Clone(a.said)
		a.mu.Unlock()
		before := calls()
		if before < 2 {
			t.Fatalf("%d calls, want some to replay", before)
		}
		for range 3 {
			for _, sealed := range said {
				b.stack.Signal(a.info.ID, sealed)
			}
			time.Sleep(time.Minute)
		}
		if got := calls(); got != before {
			t.Errorf("%d calls were believed again", got-before)
		}
	})
}
