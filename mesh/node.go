package mesh

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"warren/keys"
	"warren/mesh/clock"
	"warren/mesh/config"
	"warren/mesh/control"
	"warren/mesh/endpoints"
	"warren/mesh/gossip"
	"warren/mesh/hint"
	"warren/mesh/link"
	"warren/mesh/loop"
	"warren/mesh/settings"
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
	*loop.Loop
	life

	settings.Settings // the loop's, once it runs
	warnings          // the loop's
	current           // the loop's
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

// life is how a node ends, and what must end before.
type life struct {
	ctx        context.Context // background work ends with it
	fail       context.CancelCauseFunc
	background sync.WaitGroup
	joining    sync.Mutex // held by the one join that may be under way
}

// current is what this host is now.
type current struct {
	member *membership // nil while it belongs to no network
	wake   *time.Timer // of the gossip core
}

// membership returns what this host is, or the error that says that it is nothing.
func (c *current) membership() (*membership, error) {
	if c.member == nil {
		return nil, control.NoNetwork()
	}
	return c.member, nil
}

// mayBegin reports why this host can neither found nor join a network.
func (c *current) mayBegin() error {
	if c.member == nil {
		return nil
	}
	return control.Errorf(control.ExitFailed, "warren leave forgets it", "this host is a member of the network %q already",
		c.member.authority().Name)
}

// live returns the membership if it is connected, else nil.
func (c *current) live() *membership {
	if c.member == nil || !c.member.connected() {
		return nil
	}
	return c.member
}

// warnings are what status tells a person besides what was asked; the newest text of a code counts.
type warnings struct {
	list []control.Warning
	log  *slog.Logger
}

func (w *warnings) warn(code, text string) {
	w.unwarn(code)
	w.list = append(w.list, control.Warning{Code: code, Text: text})
	w.log.Warn("warning", "code", code, "text", text)
}

func (w *warnings) unwarn(codes ...string) {
	w.list = slices.DeleteFunc(w.list, func(old control.Warning) bool { return slices.Contains(codes, old.Code) })
}

// allWarnings returns a copy.
func (w *warnings) allWarnings() control.List[control.Warning] {
	return append(control.List[control.Warning]{}, w.list...)
}

// own is the loop: it runs funcs, and what falls due, until ctx ends. Then the system is left as it was found.
func (n *Node) own(ctx context.Context) error {
	n.wake = time.NewTimer(0)
	defer n.wake.Stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	if err := n.load(); err != nil {
		return err
	}
	for {
		select {
		case f := <-n.Calls():
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

// save writes the settings.
func (n *Node) save() error {
	if err := n.Save(n.folder); err != nil {
		return hint.Folder(err)
	}
	return nil
}

// warnInert names the keys of the config file that have no effect yet.
func (n *Node) warnInert() {
	n.unwarn("config-inert")
	if keys := n.File.Inert(); len(keys) > 0 {
		n.warn("config-inert", "the config file sets what has no effect yet: "+strings.Join(keys, ", "))
	}
}

// reconfigure takes over a config file that changed; err says why where it is bad.
func (n *Node) reconfigure(f config.Config, err error) {
	if err != nil {
		n.warn("config", "the config file is bad, the old values stay: "+err.Error())
		return
	}
	n.unwarn("config", "config-restart")
	if n.Pending(f) {
		n.warn("config-restart", "listen_port and interface take effect when the agent starts again")
	}
	n.File = f
	n.warnInert()
	n.advertise(f.Advertise)
}

// advertise takes over the addresses that the config file advertises; names are looked up in the background.
func (n *Node) advertise(texts []string) {
	n.background.Go(func() {
		addrs, err := endpoints.Resolve(n.ctx, texts)
		n.Post(func() {
			if err != nil {
				n.warn("advertise", "advertised addresses are not used: "+err.Error())
				return
			}
			n.unwarn("advertise")
			n.Advertised = addrs
			if n.member != nil {
				n.member.speak()
			}
		})
	})
}

// packetFor is told by the device of a first packet for a member without a tunnel. The device asks again in a second.
func (n *Node) packetFor(id keys.NodeID) {
	n.TryPost(func() {
		if n.live() != nil {
			n.want(id)
		}
	})
}

// want opens the tunnel to a member.
func (n *Node) want(id keys.NodeID) {
	if err := n.tunnels.Want(id, n.clock.Now()); err != nil {
		n.log.Debug("tunnel not opened", "peer", id, "err", err)
	}
}

// interfaceLost is told by the device that somebody removed the interface, or that it failed: it is made anew.
func (n *Node) interfaceLost(cause error) {
	n.TryPost(func() {
		m := n.live()
		if m == nil {
			return
		}
		n.log.Warn("interface lost, making it anew", "iface", n.Interface, "err", cause)
		m.disconnect()
		if err := m.connect(); err != nil {
			n.warn("interface", "the interface was lost and could not be made anew: "+err.Error())
		}
	})
}
