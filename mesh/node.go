package mesh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"warren/mesh/clock"
	"warren/mesh/config"
	"warren/mesh/control"
	"warren/mesh/gossip"
	"warren/mesh/link"
	"warren/mesh/state"
	"warren/mesh/tunnels"
	"warren/nat"
	"warren/tun"
)

// Node is one agent. Its fields are set before the loop starts, but for those of the loop.
type Node struct {
	cfg   Config
	log   *slog.Logger
	clock clock.Clock

	folder     *state.Folder
	store      *state.Store
	closeStore func()

	parts
	ctx        context.Context // of Run; background work ends with it
	calls      chan func()
	background sync.WaitGroup
	joining    sync.Mutex // held by the one join that may be under way

	settings
	member *membership // nil while this host belongs to no network; the loop's
	wake   *time.Timer // of the gossip core; the loop's
}

// parts are what a node is made of; each is safe for concurrent use.
type parts struct {
	nat     *nat.Stack
	dev     *tun.Device
	engine  tun.Engine
	tunnels *tunnels.Set
	links   *link.Transport
	run     [8]byte                   // of the agent: random, new at each start
	since   atomic.Pointer[time.Time] // when it last began without tunnels
}

// settings are what the command line, the config file and the folder say; the loop's, once it runs.
type settings struct {
	port       int
	portPinned bool // by flag or file: a port in use is then an error
	ifname     string
	down       bool // told so by a person, remembered
	file       config.Config
	advertised []netip.AddrPort
	warnings   []control.Warning
}

// remembered is the content of the settings file.
type remembered struct {
	Port int  `json:"port"`
	Down bool `json:"down"`
}

// readSettings joins flags, config file and folder: the first that says something wins.
func (n *Node) readSettings(file config.Config) error {
	n.file = file
	var r remembered
	text, err := n.folder.ReadFile(state.SettingsFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return control.Errorf(control.ExitFailed, "", "%w", err)
	default:
		if err := json.Unmarshal(text, &r); err != nil {
			n.log.Warn("settings not readable, taking the defaults", "err", err)
		}
	}
	n.port, n.down = r.Port, r.Down
	if file.ListenPort != 0 {
		n.port, n.portPinned = file.ListenPort, true
	}
	n.ifname = file.Interface
	n.warnInert()
	return nil
}

// warnInert names the keys of the config file that have no effect yet.
func (n *Node) warnInert() {
	n.unwarn("config-inert")
	if keys := n.file.Inert(); len(keys) > 0 {
		n.warn("config-inert", "the config file sets what has no effect yet: "+strings.Join(keys, ", "))
	}
}

// saveSettings writes what must be known at the next start.
func (n *Node) saveSettings() error {
	text, err := json.Marshal(remembered{Port: n.port, Down: n.down})
	if err != nil {
		return fmt.Errorf("mesh: encoding the settings: %w", err)
	}
	if err := n.folder.WriteFile(state.SettingsFile, text); err != nil {
		return control.Errorf(control.ExitFailed, "", "%w", err)
	}
	return nil
}

// warn keeps a warning for status; the newest text of a code counts.
func (n *Node) warn(code, text string) {
	n.unwarn(code)
	n.warnings = append(n.warnings, control.Warning{Code: code, Text: text})
	n.log.Warn(text, "code", code)
}

func (n *Node) unwarn(code string) {
	kept := n.warnings[:0]
	for _, w := range n.warnings {
		if w.Code != code {
			kept = append(kept, w)
		}
	}
	n.warnings = kept
}

// loop runs funcs, and what falls due, until ctx ends. Then the system is left as it was found.
func (n *Node) loop(ctx context.Context) error {
	n.wake = time.NewTimer(0)
	defer n.wake.Stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	if err := n.load(); err != nil {
		return err
	}
	for {
		select {
		case f := <-n.calls:
			f()
		case <-n.wake.C:
			if n.member != nil {
				n.member.step(gossip.Tick{})
			}
		case <-sweep.C:
			if n.member != nil {
				n.member.sweep()
			}
		case <-ctx.Done():
			if n.member != nil {
				n.member.disconnect()
			}
			return nil
		}
	}
}

// post sends the loop a func without waiting for it. It blocks only while the loop is behind.
func (n *Node) post(f func()) {
	select {
	case n.calls <- f:
	case <-n.ctx.Done():
	}
}

// tryPost is post for callers that must not wait; what the loop has no room for is lost.
func (n *Node) tryPost(f func()) {
	select {
	case n.calls <- f:
	default:
	}
}

// errStopping is what a caller sees whose question the loop no longer takes.
var errStopping = control.Errorf(control.ExitNotRunning, "", "the agent is stopping")

// ask runs f in the loop of n and returns what it returns.
func ask[T any](ctx context.Context, n *Node, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	var zero T
	select {
	case n.calls <- func() { v, err := f(); done <- result{v, err} }:
	case <-n.ctx.Done():
		return zero, errStopping
	case <-ctx.Done():
		return zero, ctx.Err()
	}
	select {
	case r := <-done:
		return r.value, r.err
	case <-n.ctx.Done():
		return zero, errStopping
	}
}

// reconfigure takes over a config file that changed; err says why where it is bad.
func (n *Node) reconfigure(f config.Config, err error) {
	if err != nil {
		n.warn("config", "the config file is bad, the old values stay: "+err.Error())
		return
	}
	n.unwarn("config")
	if f.ListenPort != n.file.ListenPort || f.Interface != n.file.Interface {
		n.warn("config-restart", "listen_port and interface take effect when the agent starts again")
	}
	n.file = f
	n.warnInert()
	n.advertise(f.Advertise)
}

// first returns the first value that is not zero.
func first[T comparable](values ...T) (v T) {
	for _, v = range values {
		var zero T
		if v != zero {
			return v
		}
	}
	return v
}
