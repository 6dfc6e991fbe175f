package nat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"warren/keys"
	"warren/nat/local"
	"warren/nat/path"
	"warren/nat/peers"
	"warren/nat/udp"
)

// ErrNoAnswer is returned by JoinCheck when nobody at the address answers for the network.
var ErrNoAnswer = errors.New("nat: no answer")

// Config is what a Stack needs; the zero Config works, alone.
type Config struct {
	// Open opens the sockets of a port (0: a random one). Default: OpenSockets with Mark.
	Open func(port uint16) ([]Socket, uint16, error)
	// Port is the UDP port; 0 is a random one.
	Port uint16
	// Mark is set on the sockets that the default Open opens.
	Mark uint32
	// Log gets what happens. Default: nowhere.
	Log *slog.Logger
	// Hosts returns the addresses of own interfaces that others may try. Default: those of the system, without loopback,
	// link-local ones and those of overlays. It is called every 5 s.
	Hosts func() []netip.Addr
	// Signal carries a sealed message to a member, by whatever link. It must not block. It is called from Run.
	Signal func(to keys.NodeID, sealed []byte)
	// Notify tells what happened. It must not block. It is called from Run and may call any method but Run and JoinCheck.
	Notify func(Event)
	// Now is the time, with a monotonic part. Default: time.Now.
	Now func() time.Time
	// Constants are those of the path cores. Default: path.Defaults.
	Constants path.Constants
	// Seed makes the choices of the path cores repeatable. 0 is a random one.
	Seed uint64
}

// Event is one of CandidatesChanged, PathChanged and Called.
type Event interface{ event() }

// CandidatesChanged says that Candidates or NAT return something new.
type CandidatesChanged struct{}

// PathChanged says that PeerStatus of a member returns something new.
type PathChanged struct{ Peer keys.NodeID }

// Called says that a member is about to send a WireGuard handshake, or has sent one: it must be a peer of the device
// when Notify returns, as only then the answer goes out.
type Called struct {
	Peer      keys.NodeID
	ClockBack bool          // its clock went backwards: remove and add the peer, to forget its last handshake
	Age       time.Duration // it has forgotten sessions that are older; 0: it does not say
}

func (CandidatesChanged) event() {}
func (PathChanged) event()       {}
func (Called) event()            {}

// Self is this host as a member of a network.
type Self struct {
	Network   keys.NetworkID
	ID        keys.NodeID
	Key       keys.WGPrivate
	Overlay   []netip.Prefix // addresses in it are never candidates
	ClockBack bool           // each CALL says that the clock went backwards
}

// PeerInfo is what the engine knows about another member.
type PeerInfo struct {
	ID         keys.NodeID
	Name       string // for reasons shown to people
	Key        keys.WGPublic
	Overlay    netip.Addr
	Candidates []keys.Candidate // not changed after SetPeer
	NAT        keys.NAT
}

// name is what people call the member.
func (p *PeerInfo) name() string {
	if p.Name == "" {
		return p.ID.String()[:8]
	}
	return p.Name
}

// PeerStatus is how a member is reached now.
type PeerStatus struct {
	path.Snapshot
	LastTx, LastRx time.Time // tunnel traffic; zero: never
	Reason         string    // why, if State is Unreachable; else ""
}

// NATInfo is what is known about the way out.
type NATInfo = local.NAT //nolint:revive // the NAT, not the package

// Stack is the shell around sockets and path cores. Its methods are safe for concurrent use and, except Run, Open and
// JoinCheck, do not block.
type Stack struct {
	cfg   Config
	bind  *Bind
	conn  net.PacketConn
	loop  *loop
	phase atomic.Int32
}

// New returns a Stack; it does nothing before Open and Run.
func New(cfg Config) *Stack {
	if cfg.Open == nil {
		mark := cfg.Mark
		cfg.Open = func(port uint16) ([]Socket, uint16, error) { return OpenSockets(port, mark) }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Hosts == nil {
		cfg.Hosts = local.Hosts
	}
	if cfg.Signal == nil {
		cfg.Signal = func(keys.NodeID, []byte) {}
	}
	if cfg.Notify == nil {
		cfg.Notify = func(Event) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Constants.MaxPairs == 0 {
		cfg.Constants = path.Defaults()
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	in := peers.NewInbox()
	bind := newBind(&cfg, in)
	return &Stack{cfg: cfg, bind: bind, conn: bind.packetConn(), loop: newLoop(&cfg, bind, in)}
}

// The phases of a Stack.
const (
	phaseNew = iota
	phaseOpen
	phaseRun // or after it
)

// Open opens the sockets and returns the port. The error wraps ErrPortInUse where that is the cause.
func (s *Stack) Open() (port uint16, err error) {
	port, err = s.bind.start(s.cfg.Port)
	if err == nil {
		s.phase.CompareAndSwap(phaseNew, phaseOpen)
		s.loop.post(func() { s.loop.local.Port = port })
		s.Reset()
	}
	return port, err
}

// Run does the work until ctx is done, closes the sockets and returns nil. Open must have succeeded; Run is called once.
func (s *Stack) Run(ctx context.Context) error {
	if !s.phase.CompareAndSwap(phaseOpen, phaseRun) {
		return errors.New("nat: running: not open, or run before")
	}
	defer s.bind.stop()
	s.loop.run(ctx)
	return nil
}

// ConnBind returns the bind for the WireGuard device, always the same. Only its receive functions read the sockets, so
// nothing arrives before a device is up on it.
func (s *Stack) ConnBind() conn.Bind { return s.bind }

// PacketConn returns the connection for QUIC, always the same. Its addresses are of type Addr.
func (s *Stack) PacketConn() net.PacketConn { return s.conn }

// SetSelf makes the host a member, or changes what is known about it.
func (s *Stack) SetSelf(self Self) { s.loop.post(func() { s.loop.setSelf(&self) }) }

// ClearSelf makes the host a member of nothing and forgets all peers.
func (s *Stack) ClearSelf() {
	gone := s.bind.roster.clear()
	s.loop.post(func() {
		s.loop.setSelf(nil)
		for _, p := range gone {
			s.loop.removePeer(p)
		}
	})
}

// SetPeer makes a member known, or changes what is known about it. It costs nothing until somebody wants a path.
func (s *Stack) SetPeer(info PeerInfo) {
	p := s.bind.roster.ensure(info.ID)
	p.info.Store(&info)
	p.SetOverlay(info.Overlay)
	s.loop.post(func() { s.loop.setPeer(&info, p) })
}

// RemovePeer forgets a member and its paths. The device must not have it as a peer any more.
func (s *Stack) RemovePeer(id keys.NodeID) {
	if p := s.bind.roster.remove(id); p != nil {
		s.loop.post(func() { s.loop.removePeer(p) })
	}
}

// SetTunnel says whether the device has a member as a peer. An initiation that comes from another member, by a path
// that a check has bound to it, is a knock: Notify hears Called, and if the member is then a peer of the device, it gets
// the initiation that it would have dropped before.
func (s *Stack) SetTunnel(id keys.NodeID, open bool) { s.bind.roster.ensure(id).Tunnel.Store(open) }

// Connect asks for a usable path to a member; PathChanged tells when PeerStatus has one.
func (s *Stack) Connect(id keys.NodeID) { s.loop.event(id, path.Connect{}) }

// SetLinked says whether a control link to a member stands; its path is then kept warm.
func (s *Stack) SetLinked(id keys.NodeID, linked bool) {
	s.loop.post(func() { s.loop.setLinked(id, linked) })
}

// Signal takes in what another Stack gave to its Config.Signal. What the pair did not seal is counted and dropped.
func (s *Stack) Signal(from keys.NodeID, sealed []byte) {
	s.loop.post(func() { s.loop.signalled(from, sealed) })
}

// Restarted says that a member was started anew: its paths are checked again.
func (s *Stack) Restarted(id keys.NodeID) { s.loop.event(id, path.Reset{}) }

// Reset says that the network changed: own addresses are listed anew and all paths in use checked.
func (s *Stack) Reset() { s.loop.post(s.loop.reset) }

// PeerStatus returns how a member is reached. Of one that nobody wanted a path to the zero status, idle.
func (s *Stack) PeerStatus(id keys.NodeID) PeerStatus {
	p := s.bind.roster.get(id)
	if p == nil {
		return PeerStatus{}
	}
	var st PeerStatus
	if snap := p.status.Load(); snap != nil {
		st.Snapshot = *snap
	}
	tx, rx, _ := p.Traffic()
	st.LastTx, st.LastRx = s.bind.clock.Time(tx), s.bind.clock.Time(rx)
	if info := p.info.Load(); st.State == path.Unreachable && info != nil {
		st.Reason = local.Reason(s.NAT(), info.name(), info.NAT, info.Candidates)
	}
	return st
}

// Candidates returns the addresses at which this host might be reached, the best first, at most keys.MaxCandidates.
func (s *Stack) Candidates() []keys.Candidate { return s.loop.view.Load().Candidates }

// NAT returns what is known about the way out.
func (s *Stack) NAT() NATInfo { return s.loop.view.Load().NAT }

// Stats returns counters of what was dropped and why, by name.
func (s *Stack) Stats() map[string]uint64 { return s.bind.counts.All() }

// JoinCheck sends join checks for a network to remote until one is answered, and returns the address to dial. Without a
// deadline in ctx it gives up after 5 s. The error is that of ctx or wraps ErrNoAnswer.
func (s *Stack) JoinCheck(ctx context.Context, network keys.NetworkID, remote netip.AddrPort) (net.Addr, error) {
	remote = udp.Plain(remote)
	j := newJoin(network, remote)
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
	}
	s.loop.post(func() { s.loop.checks.join(j) })
	defer s.loop.post(func() { s.loop.checks.leave(j) })
	select {
	case <-j.done:
		return Addr{Remote: remote}, nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, fmt.Errorf("nat: checking %v: %w", remote, ErrNoAnswer)
		}
		return nil, fmt.Errorf("nat: checking %v: %w", remote, ctx.Err())
	}
}
