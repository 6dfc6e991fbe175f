// Package path decides how packets to one peer go.
package path

import (
	"time"

	"warren/keys"
)

// Config makes a Core.
type Config struct {
	Self, Peer keys.NodeID
	Seed       uint64 // of transaction ids, session ids and jitter; must be unpredictable outside tests
	Constants  Constants
}

// Core is the path state machine of one peer.
type Core struct {
	cfg Config
}

// New returns the core of an idle peer without candidates. It panics on the zero Constants.
func New(cfg Config) *Core { return &Core{cfg: cfg} }

// Step tells the core what happened at now and returns acts with the actions to do appended. It must be called from
// one goroutine, with times that never go back.
func (c *Core) Step(now time.Time, ev Event, acts []Action) []Action { return acts }

// Snapshot returns the present state.
func (c *Core) Snapshot() Snapshot { return Snapshot{} }
