package probe

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"warren/keys"
	"warren/mesh/control"
	"warren/nat/path"
	"warren/tun"
)

var (
	own  = netip.MustParseAddr("100.64.0.1")
	fast = netip.MustParseAddr("100.64.0.2")
	slow = netip.MustParseAddr("100.64.0.3")
	dead = netip.MustParseAddr("100.64.0.4")
	none = netip.MustParseAddr("100.64.0.5")
	flat = netip.MustParseAddr("100.64.0.6")
)

// prober is one whose members answer after 10 ms, 5 s, or never.
func prober() Prober {
	return Prober{
		Ping: func(ctx context.Context, _, dst netip.Addr) (time.Duration, error) {
			after := map[netip.Addr]time.Duration{fast: 10 * time.Millisecond, slow: 5 * time.Second, dead: time.Hour}[dst]
			switch dst {
			case none:
				return 0, tun.ErrNobody
			case flat:
				return 0, errors.New("no interface")
			}
			select {
			case <-time.After(after):
				return after, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		},
		Path: func(id keys.NodeID) (path.Path, string) {
			if id == (keys.NodeID{4}) {
				return path.Path{}, "its NAT is symmetric"
			}
			return path.Path{Kind: path.DirectUDP, Remote: netip.MustParseAddrPort("192.0.2.1:9")}, ""
		},
	}
}

func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			dst  netip.Addr
			id   byte
			ok   bool
			want string
		}{
			{fast, 2, true, ""},
			{dead, 4, false, "timeout: its NAT is symmetric"},
			{dead, 2, false, "timeout"},
			{none, 5, false, "no member has this address now"},
			{flat, 6, false, "no interface"},
		} {
			got := prober().Once(t.Context(), Target{ID: keys.NodeID{test.id}, Name: "x", Src: own, Dst: test.dst}, 2*time.Second)
			if got.OK != test.ok || string(got.Error) != test.want || got.OK && (got.Path != "direct" || got.Endpoint != "192.0.2.1:9") {
				t.Errorf("%v: %+v, want ok %v and %q", test.dst, got, test.ok, test.want)
			}
		}
	})
}

func TestRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		row := func(dst netip.Addr, r control.PingRequest) (pongs []control.Pong, took time.Duration) {
			began := time.Now()
			err := prober().Row(t.Context(), Target{Dst: dst}, r, func(p control.Pong) error { pongs = append(pongs, p); return nil })
			if err != nil {
				t.Error(err)
			}
			return pongs, time.Since(began)
		}
		if got, took := row(fast, control.PingRequest{Count: 3, Timeout: time.Second}); len(got) != 3 || got[2].Seq != 3 || took != 2010*time.Millisecond {
			t.Errorf("%+v in %v, want three in 2.01 s", got, took)
		}
		if got, _ := row(dead, control.PingRequest{Count: 2, Timeout: 3 * time.Second}); len(got) != 2 || got[0].OK || got[1].OK {
			t.Errorf("%+v, want two failures", got)
		}
		if got, _ := row(fast, control.PingRequest{UntilDirect: true, Timeout: time.Second}); len(got) != 1 {
			t.Errorf("%+v, want the first answer, which is direct", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		told := 0
		err := prober().Row(ctx, Target{Dst: fast}, control.PingRequest{Timeout: time.Second}, func(control.Pong) error { told++; return nil })
		if told != 3 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("until the caller hangs up: %d answers and %v", told, err)
		}
		stop := errors.New("nobody listens")
		if err := prober().Row(t.Context(), Target{Dst: fast}, control.PingRequest{}, func(control.Pong) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("got %v", err)
		}
	})
}

// Reach asks everybody at once, waits for no straggler, and takes in who becomes known late.
func TestReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		got := prober().Reach(t.Context(), func(_ context.Context, known map[keys.NodeID]bool) (all []Target) {
			for id, dst := range map[byte]netip.Addr{3: slow, 4: dead} {
				if !known[keys.NodeID{id}] {
					all = append(all, Target{ID: keys.NodeID{id}, Dst: dst})
				}
			}
			if time.Since(began) > 300*time.Millisecond && !known[keys.NodeID{2}] {
				all = append(all, Target{ID: keys.NodeID{2}, Name: "late", Dst: fast})
			}
			return all
		})
		if took := time.Since(began); len(got) != 1 || got[0].Name != "late" || took > time.Second {
			t.Errorf("%+v after %v, want the late one within a second", got, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		nobody := prober().Reach(ctx, func(_ context.Context, known map[keys.NodeID]bool) []Target {
			if len(known) > 0 {
				return nil
			}
			return []Target{{ID: keys.NodeID{4}, Dst: dead}}
		})
		if len(nobody) != 0 {
			t.Errorf("reached %+v", nobody)
		}
	})
}
