// Package mesh is the engine: it joins keys, gossip, paths and the tunnel into one running node, and does what the
// command line asks for. What it decides itself is small: which member is linked, wanted or gone follows from the pure
// cores it drives.
//
// One goroutine, the loop, owns all state of a Node; everybody else sends it a func. It never waits for the network:
// whatever does (a dial, a join, a ping) runs in a goroutine of its own and comes back to the loop with the result.
package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"warren/keys"
	"warren/mesh/clock"
	"warren/mesh/config"
	"warren/mesh/control"
	"warren/mesh/link"
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
	cfg.State = first(cfg.State, config.DefaultState)
	folder, err := state.Open(cfg.State)
	if err != nil {
		return folderError(err)
	}
	defer func() { _ = folder.Close() }()
	file, err := cfg.settings()
	if err != nil {
		return control.Errorf(control.ExitUsage, "warren starts when that is mended", "%w", err)
	}
	if err := tun.Check(); err != nil {
		return tunError(err, "")
	}
	n := &Node{cfg: cfg, log: cfg.Log, clock: wall, folder: folder, calls: make(chan func(), 256)}
	if err := n.readSettings(file); err != nil {
		return err
	}
	return n.open(ctx, config.SocketPath(cfg.State))
}

// settings reads the config file and lays the flags over it.
func (c Config) settings() (config.Config, error) {
	return config.Load(config.Default(), c.State, c.ConfigFile, config.Flags{Interface: c.Interface, ListenPort: c.ListenPort})
}

func folderError(err error) error {
	hint := "choose another folder with --state DIR"
	if e := (*state.Error)(nil); errors.As(err, &e) {
		hint = e.Hint
	}
	code := control.ExitFailed
	if errors.Is(err, os.ErrPermission) {
		code = control.ExitPermission
	}
	return control.Errorf(code, hint, "%w", err)
}

func tunError(err error, name string) error {
	switch {
	case errors.Is(err, tun.ErrPermission):
		return control.Errorf(control.ExitPermission, "run it as root or give it the capability CAP_NET_ADMIN", "%w", err)
	case errors.Is(err, tun.ErrNoTUN):
		return control.Errorf(control.ExitFailed, "load the module (modprobe tun) or pass /dev/net/tun into the container", "%w", err)
	case errors.Is(err, tun.ErrNameTaken):
		return control.Errorf(control.ExitFailed, "choose another name with --interface",
			"the interface name %s is taken", name)
	}
	return control.Errorf(control.ExitFailed, "", "%w", err)
}

// open opens everything, works until ctx ends, and closes everything in reverse.
func (n *Node) open(ctx context.Context, socket string) (err error) {
	if _, err := net.InterfaceByName(n.ifname); err == nil {
		return tunError(tun.ErrNameTaken, n.ifname)
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
	n.links = link.New(n.linkConfig())
	return n.work(ctx, listener)
}

// work runs the parts until ctx ends or one of them fails.
func (n *Node) work(ctx context.Context, listener *control.Listener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n.ctx = ctx
	var wg sync.WaitGroup
	part := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("mesh: %s ended: %w", name, err))
			}
		})
	}
	part("the socket layer", n.nat.Run)
	part("the links", n.links.Run)
	part("the loop", n.loop)
	part("the local API", func(ctx context.Context) error { return listener.Serve(ctx, verbs{n}, n.log) })
	part("the config file", n.watchConfig)
	n.advertise(n.file.Advertise)
	<-ctx.Done()
	wg.Wait()
	n.background.Wait()
	_ = n.engine.Close()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return control.Errorf(control.ExitFailed, "", "%w", cause)
	}
	return nil
}

// openPort opens the remembered port, or another where that one is in use; a configured port must be had.
func (n *Node) openPort() error {
	open := func() (uint16, error) {
		n.nat = nat.New(nat.Config{Port: uint16(n.port), Mark: mark, Log: n.log, Signal: n.signal, Notify: n.noticed})
		return n.nat.Open()
	}
	port, err := open()
	if errors.Is(err, nat.ErrPortInUse) {
		if n.portPinned {
			return control.Errorf(control.ExitFailed, "choose another with --listen-port or listen_port", "UDP port %d is in use", n.port)
		}
		n.warn("port-changed", fmt.Sprintf("UDP port %d was in use: another one was taken and is kept", n.port))
		n.port = 0
		port, err = open()
	}
	if err != nil {
		return control.Errorf(control.ExitFailed, "", "%w", err)
	}
	n.port = int(port)
	if n.portPinned {
		return nil
	}
	return n.saveSettings()
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

// watchConfig reads the config file again when it changes.
func (n *Node) watchConfig(ctx context.Context) error {
	name := first(n.cfg.ConfigFile, config.FilePath(n.cfg.State))
	last := stamp(name)
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := stamp(name)
		if now == last {
			continue
		}
		last = now
		file, err := n.cfg.settings()
		n.post(func() { n.reconfigure(file, err) })
	}
}

// stamp tells one content of a file from another, cheaply.
func stamp(name string) string {
	info, err := os.Stat(filepath.Clean(name))
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
}
