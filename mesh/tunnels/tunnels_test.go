package tunnels

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"warren/keys"
	"warren/tun"
)

// engine is a tun.Engine in memory.
type engine struct {
	peers   map[keys.WGPublic]tun.Peer
	stats   map[keys.WGPublic]tun.PeerStats
	renewed map[keys.WGPublic]int
	added   int   // calls of SetPeer
	full    error // of SetPeer
	err     error // of Stats
}

var _ tun.Engine = (*engine)(nil)

func (e *engine) SetKey(keys.WGPrivate) error { return nil }

func (e *engine) SetPeer(p tun.Peer) error {
	if e.full == nil {
		e.peers[p.Key] = p
		e.added++
	}
	return e.full
}

func (e *engine) RemovePeer(k keys.WGPublic) error {
	delete(e.peers, k)
	delete(e.stats, k)
	return nil
}

func (e *engine) Renew(k keys.WGPublic) error {
	e.renewed[k]++
	return nil
}

func (e *engine) Stats() (map[keys.WGPublic]tun.PeerStats, error) { return maps.Clone(e.stats), e.err }
func (e *engine) Close() error                                    { return nil }

// now is any time.
var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// fixture is a set with the members 1 to 3, its engine, and what the device was told.
type fixture struct {
	*Set
	*engine
	ready map[keys.NodeID]bool
}

func node(b byte) keys.NodeID { return keys.NodeID{b} }
func peer(b byte) tun.Peer {
	return tun.Peer{ID: node(b), Key: keys.WGPublic{b}, Allowed: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, b}), 32)}}
}

func newFixture() *fixture {
	f := &fixture{
		engine: &engine{
			peers: map[keys.WGPublic]tun.Peer{}, stats: map[keys.WGPublic]tun.PeerStats{}, renewed: map[keys.WGPublic]int{},
		},
		ready: map[keys.NodeID]bool{},
	}
	f.Set = New(f.engine, func(id keys.NodeID, ready bool) { f.ready[id] = ready })
	f.Allow(members())
	return f
}

func members() map[keys.NodeID]tun.Peer {
	return map[keys.NodeID]tun.Peer{node(1): peer(1), node(2): peer(2), node(3): peer(3)}
}

// check holds the device and the engine to exactly these open tunnels.
func (f *fixture) check(t *testing.T, what string, want ...byte) {
	t.Helper()
	for b := byte(1); b <= 4; b++ {
		open := slices.Contains(want, b)
		if _, got := f.peers[keys.WGPublic{b}]; got != open || f.ready[node(b)] != open {
			t.Errorf("%s: member %d is a peer: %v, ready: %v; want %v", what, b, got, f.ready[node(b)], open)
		}
	}
}

func (f *fixture) want(t *testing.T, at time.Time, all ...byte) {
	t.Helper()
	for _, b := range all {
		if err := f.Want(node(b), at); err != nil {
			t.Fatalf("Want(%d): %v", b, err)
		}
	}
}

func TestWant(t *testing.T) {
	f := newFixture()
	f.check(t, "at first")
	f.want(t, now, 1, 2, 1)
	f.check(t, "two wanted", 1, 2)
	if err := f.Want(node(4), now); err == nil {
		t.Error("a stranger got a tunnel")
	}
	f.full = errors.New("engine closed")
	if err := f.Want(node(3), now); err == nil {
		t.Error("Want did not tell that the engine failed")
	}
	f.check(t, "after failures", 1, 2)
	f.full = nil
	f.want(t, now, 3)
	f.check(t, "tried again", 1, 2, 3)
}

func TestAllow(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(map[keys.NodeID]tun.Peer)
		want   []byte
	}{
		"nothing changed": {func(map[keys.NodeID]tun.Peer) {}, []byte{1, 2}},
		"another one more": {func(m map[keys.NodeID]tun.Peer) {
			m[node(4)] = peer(4)
		}, []byte{1, 2}},
		"one is gone": {func(m map[keys.NodeID]tun.Peer) { delete(m, node(1)) }, []byte{2}},
		"another key": {func(m map[keys.NodeID]tun.Peer) {
			p := peer(1)
			p.Key = keys.WGPublic{9}
			m[node(1)] = p
		}, []byte{2}},
		"an address moved to the senior": {func(m map[keys.NodeID]tun.Peer) {
			a, b := peer(1), peer(2)
			a.Allowed, b.Allowed = slices.Concat(a.Allowed, b.Allowed), nil
			m[node(1)], m[node(2)] = a, b
		}, nil},
		"all": {func(m map[keys.NodeID]tun.Peer) { clear(m) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture()
			f.want(t, now, 1, 2)
			next := members()
			tt.change(next)
			f.Allow(next)
			f.check(t, name, tt.want...)
			for id, p := range next {
				if err := f.Want(id, now); err != nil || !slices.Equal(f.peers[p.Key].Allowed, p.Allowed) {
					t.Errorf("wanted again: %v, the engine has %v, want %v", err, f.peers[p.Key], p)
				}
			}
		})
	}
}

// TestSweep: a tunnel ends five minutes after the last traffic or wish, and no sooner.
func TestSweep(t *testing.T) {
	f := newFixture()
	f.want(t, now, 1, 2, 3)
	at := func(d time.Duration) time.Time { return now.Add(d) }
	traffic := func(b byte, rx, tx uint64) { f.stats[keys.WGPublic{b}] = tun.PeerStats{RxBytes: rx, TxBytes: tx} }

	traffic(1, 100, 0)
	if left := f.Sweep(at(time.Minute)); len(left) != 3 || left[node(1)].RxBytes != 100 {
		t.Errorf("Sweep = %v, want all three with their counters", left)
	}
	f.want(t, at(2*time.Minute), 2) // wanted again
	f.Sweep(at(5 * time.Minute))
	f.check(t, "after exactly five minutes", 1, 2, 3)
	f.Sweep(at(5*time.Minute + time.Second))
	f.check(t, "after five minutes", 1, 2)
	traffic(1, 100, 0) // the same counters: no traffic
	f.Sweep(at(6*time.Minute + time.Second))
	f.check(t, "five minutes after the first one's traffic", 2)
	traffic(2, 0, 1)
	f.Sweep(at(7 * time.Minute))
	f.Sweep(at(12 * time.Minute))
	f.check(t, "what was sent counts too", 2)
	if left := f.Sweep(at(12*time.Minute + time.Second)); len(left) != 0 {
		t.Errorf("Sweep left %v", left)
	}
	f.check(t, "at last")
	f.want(t, at(time.Hour), 3)
	f.Sweep(at(time.Hour + 4*time.Minute))
	f.check(t, "opened again", 3)
}

// TestSweepWithoutCounters: an engine that does not answer costs no tunnel.
func TestSweepWithoutCounters(t *testing.T) {
	f := newFixture()
	f.want(t, now, 1)
	f.err = errors.New("engine closed")
	if left := f.Sweep(now.Add(time.Hour)); len(left) != 0 {
		t.Errorf("Sweep = %v", left)
	}
	f.check(t, "without counters", 1)
}

// TestRenew: only a session that is older than what the member remembers is made anew.
func TestRenew(t *testing.T) {
	const none = time.Duration(-1)
	for name, tt := range map[string]struct {
		member    byte
		session   time.Duration // its age; none: never a handshake
		forgotten time.Duration // the member forgot what is older
		clockBack bool
		renewed   int
		added     int // to the engine, the first time included
	}{
		"old session":           {1, time.Minute, time.Second, false, 1, 1},
		"old session, clock":    {1, time.Minute, time.Second, true, 0, 2},
		"new session":           {1, time.Second, time.Minute, false, 0, 1},
		"new session, clock":    {1, time.Second, time.Minute, true, 0, 1},
		"handshake under way":   {1, none, 0, true, 0, 1},
		"about the same age":    {1, time.Minute, time.Minute, false, 0, 1},
		"a tunnel not open":     {2, time.Minute, time.Second, true, 0, 1},
		"somebody else":         {4, time.Minute, time.Second, true, 0, 1},
		"for ever":              {1, time.Minute, 1<<63 - 1 - time.Hour, false, 0, 1},
		"nothing is remembered": {1, time.Second, 0, false, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture()
			f.want(t, now, 1)
			if tt.session != none {
				f.stats[keys.WGPublic{1}] = tun.PeerStats{LastHandshake: time.Now().Add(-tt.session)}
			}
			if err := f.Renew(node(tt.member), tt.forgotten, tt.clockBack); err != nil {
				t.Fatal(err)
			}
			if f.renewed[keys.WGPublic{1}] != tt.renewed || f.added != tt.added {
				t.Errorf("renewed %d times, added %d times; want %d and %d", f.renewed[keys.WGPublic{1}], f.added, tt.renewed, tt.added)
			}
			f.check(t, name, 1)
		})
	}
}

// TestRenewFails: a tunnel that the engine lost counts as closed, so that the next packet opens it.
func TestRenewFails(t *testing.T) {
	f := newFixture()
	f.want(t, now, 1)
	f.stats[keys.WGPublic{1}] = tun.PeerStats{LastHandshake: time.Now().Add(-time.Hour)}
	f.full = errors.New("no room")
	if err := f.Renew(node(1), time.Minute, true); err == nil {
		t.Error("Renew did not tell that the engine failed")
	}
	f.check(t, "after a Renew that failed")
	f.full = nil
	f.want(t, now, 1)
	f.check(t, "tried again", 1)
}

// Renew is the set's; the engine's is reached through it.
func (f *fixture) Renew(id keys.NodeID, age time.Duration, clockBack bool) error {
	return f.Set.Renew(id, age, clockBack)
}
