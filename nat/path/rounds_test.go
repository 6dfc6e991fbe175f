package path

import (
	"net/netip"
	"testing"
	"time"

	"warren/keys"
)

// A Tick that comes after all interest ended must not ask for a time that has passed: the caller would turn for ever.
func TestLateTick(t *testing.T) {
	c := New(Config{Self: keys.NodeID{1}, Peer: keys.NodeID{2}})
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c.Step(now, Candidates{Remote: []keys.Candidate{{Kind: keys.Host, Addr: netip.MustParseAddrPort("192.0.2.1:1")}}}, nil)
	c.Step(now, Connect{}, nil)
	c.Step(now.Add(6*time.Second), Tick{}, nil)
	now = now.Add(time.Hour)
	c.Step(now, Tick{}, nil)
	if due := c.due(); !due.IsZero() && !due.After(now) {
		t.Errorf("due at %v, it is %v", due, now)
	}
}
