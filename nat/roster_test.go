package nat

import (
	"testing"

	"warren/keys"
	"warren/nat/path"
)

// What a core calls a path and what the data path calls a way are the same.
func TestWayOfPath(t *testing.T) {
	relay := keys.NodeID{3}
	local, remote := addr("10.0.0.1:1"), addr("10.0.0.2:2")
	seen := map[any]bool{}
	for _, p := range []path.Path{
		{},
		path.UDP(remote),
		{Kind: path.DirectUDP, Local: local, Remote: remote},
		{Kind: path.DirectTLS, Remote: remote},
		{Kind: path.RelayUDP, Relay: relay, Slot: 7},
		{Kind: path.RelayTLS, Relay: relay, Slot: 7},
	} {
		w := wayOf(p)
		if got := pathOf(w); got != p {
			t.Errorf("%v became %v", p, got)
		}
		if seen[w] {
			t.Errorf("%v is the way of another path", p)
		}
		seen[w] = true
	}
}
