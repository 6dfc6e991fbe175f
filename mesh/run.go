// Package mesh is the engine: it joins keys, gossip, paths and the tunnel into one running node, and does what the
// command line asks for. What it decides itself is small: which member is linked, wanted or gone follows from the pure
// cores it drives.
//
// One goroutine, the loop, owns all state of a Node; everybody else sends it a func. It never waits for the network:
// whatever does (a dial, a join, a ping) runs in a goroutine of its own and comes back to the loop with the result.
package mesh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"warren/keys"
	"warren/mesh/clock"
	"warren/mesh/config"
	"warren/mesh/control"
	"warren/mesh/hint"
	"warren/mesh/link"
	"warren/mesh/loop"
	"warren/mesh/settings"
	"warren/mesh/state"
	"warren/mesh/tunnels"
	"warren/nat"
	"warren/tun"
)

// Config says where an agent lives. Zero values mean what the command line's defaults mean.
type Config struct {
	State      string // the state folder; "": /var/lib/warren
	ConfigFile string // "": the default one of the state folder, which need not exist
	Interface  string // "": the configured one, or warren0
	ListenPort int    // 0: the configured or the remembered one
	Version    string
	Log        *slog.Logger
}

// mark is what our own UDP packets carry, so that a rule can keep them out of our own tunnel.
const mark = 0x7761

// Run runs an agent until ctx ends, then undoes what it did to the system and returns nil. An error tells what a
// person should know, as *control.Error.
func Run(ctx context.Context, cfg Config) error {
	wall, err := clock.FromEnv()
	if err != nil {
		return control.Errorf(control.ExitUsage, "a Go duration such as -2h45m", "%w", err)
	}
	cfg.State = cmp.Or(cfg.State, config.DefaultState)
	folder, err := state.Open(cfg.State)
	if err != nil {
		return hint.Folder(err)
	}
	defer func() { _ = folder.Close() }()
	file, err := cfg.settings()
	if err != nil {
		return control.Errorf(control.ExitUsage, "warren starts when that is mended", "%w", err)
	}
	if err := tun.Check(); err != nil {
		return hint.TUN(err, "")
	}
	set, err := settings.Load(folder, file, cfg.Log)
	if err != nil {
		return hint.Folder(err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n := &Node{
		cfg: cfg, log: cfg.Log, clock: wall, folder: folder, Loop: loop.New(ctx.Done()), life: life{ctx: ctx, fail: cancel},
		Settings: set, warnings: warnings{log: cfg.Log},
	}
	n.warnInert()
	return n.open(config.SocketPath(cfg.State))
}

// settings reads the config file and lays the flags over it.
func (c Config) settings() (config.Config, error) {
	return config.Load(config.Default(), c.State, c.ConfigFile, config.Flags{Interface: c.Interface, ListenPort: c.ListenPort})
}

// open opens everything, works until ctx ends, and closes everything in reverse.
func (n *Node) open(socket string) (err error) {
	if _, err := net.InterfaceByName(n.Interface); err == nil {
		return hint.TUN(tun.ErrNameTaken, n.Interface)
	}
	listener, err := control.Listen(socket)
	if err != nil {
		return control.Errorf(control.ExitFailed, "", "%w", err)
	}
	defer func() { _ = listener.Close() }()
	if err := n.openStore(); err != nil {
		return control.Errorf(control.ExitFailed, "", "%w", err)
	}
	defer func() { n.closeStore() }()
	if err := n.openPort(); err != nil {
		return err
	}
	n.dev = tun.NewDevice(tun.DeviceConfig{MTU: tun.DefaultMTU, Log: n.log, Wanted: n.packetFor, Lost: n.interfaceLost})
	if n.engine, err = tun.NewWireGuard(n.dev, n.nat.ConnBind(), mark, n.log); err != nil {
		return control.Errorf(control.ExitFailed, "", "%w", err)
	}
	n.tunnels = tunnels.New(n.engine, func(id keys.NodeID, ready bool) {
		n.nat.SetTunnel(id, ready)
		n.dev.SetReady(id, ready)
	})
	n.links = link.New(linked{n}.config())
	return n.work(listener)
}

// work runs the parts until ctx ends or one of them fails.
func (n *Node) work(listener *control.Listener) error {
	ctx := n.ctx
	var wg sync.WaitGroup
	part := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				n.fail(fmt.Errorf("mesh: %s ended: %w", name, err))
			}
		})
	}
	part("the socket layer", n.nat.Run)
	part("the links", n.links.Run)
	part("the loop", n.own)
	part("the local API", func(ctx context.Context) error { return listener.Serve(ctx, verbs{n}, n.log) })
	part("the config file", n.watch)
	n.advertise(n.File.Advertise)
	<-ctx.Done()
	wg.Wait()
	n.background.Wait()
	_ = n.engine.Close()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return control.AsError(cause)
	}
	return nil
}

// openPort opens the remembered port, or another where that one is in use; a configured port must be had.
func (n *Node) openPort() error {
	open := func() (uint16, error) {
		n.nat = nat.New(nat.Config{Port: uint16(n.Port), Mark: mark, Log: n.log, Signal: linked{n}.signal, Notify: linked{n}.noticed})
		return n.nat.Open()
	}
	port, err := open()
	if errors.Is(err, nat.ErrPortInUse) {
		if n.Pinned {
			return control.Errorf(control.ExitFailed, "choose another with --listen-port or listen_port", "UDP port %d is in use", n.Port)
		}
		n.warn("port-changed", fmt.Sprintf("UDP port %d was in use: another one was taken and is kept", n.Port))
		n.Port = 0
		port, err = open()
	}
	if err != nil {
		return control.Errorf(control.ExitFailed, "", "%w", err)
	}
	n.Port = int(port)
	if n.Pinned {
		return nil
	}
	return n.save()
}

// openStore opens the items on disk and lets them be written in the background until closeStore.
func (n *Node) openStore() error {
	s, err := n.folder.OpenStore(n.log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			n.log.Error("members not written", "err", err)
		}
	}()
	n.store = s
	n.closeStore = func() {
		cancel()
		<-done
		if err := s.Close(); err != nil {
			n.log.Error("store not closed", "err", err)
		}
	}
	return nil
}

// watch takes over the config file when it changes.
func (n *Node) watch(ctx context.Context) error {
	config.Watch(ctx, cmp.Or(n.cfg.ConfigFile, config.FilePath(n.cfg.State)), func() {
		file, err := n.cfg.settings()
		n.Post(func() { n.reconfigure(file, err) })
	})
	return nil
}
