// Package tun is the interface between this host and the overlay: a device for the WireGuard engine, the
// kernel's interface behind it, and the engine itself.
//
// The three parts are made and ended apart:
//
//	WireGuard (Engine) -- Device -- Interface (kernel)
//
// The engine runs from the start of the agent on a Device, because its goroutines also read the UDP sockets.
// An Interface is attached to the Device while the host is up, and detached when it is down; the engine never
// notices. On its way from kernel to engine the Device sorts packets by destination: packets for a member
// whose tunnel is not configured yet are held for some seconds while the owner of the Device is asked for it;
// packets for an address of nobody are answered by ICMP. It also sends and catches the echoes of Ping.
//
// The package knows members only by their ids and addresses. It opens no UDP socket (the engine is given a
// conn.Bind), finds no paths and reads no certificates. What may come in from a peer is decided by the engine's
// allowed addresses.
//
// On the data path there is no allocation, no goroutine or channel besides wireguard's own, and no lock that
// the control path holds.
package tun

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	wgtun "golang.zx2c4.com/wireguard/tun"

	"warren/keys"
)

// DefaultMTU is the largest IP packet of the overlay: with 32 bytes of WireGuard, 8 of a relay's frame and 48
// of UDP over IPv6 it fits into 1500.
const DefaultMTU = 1408

// DeviceConfig is what NewDevice needs.
type DeviceConfig struct {
	// MTU is the overlay's, constant for the life of the Device. Default DefaultMTU.
	MTU int
	// Log gets changes of the kernel device. Default: discarded.
	Log *slog.Logger
	// Wanted is told of a member to which this host sends packets while it is not ready: at the first packet
	// and then at most once a second while more come. It is called from the goroutine that reads the Device,
	// so it must not block, and must not call the Device or the engine. Default: nobody is told.
	Wanted func(keys.NodeID)
	// Lost is told that the attached kernel device failed or was removed by somebody else. The Device is then
	// detached. Called like Wanted. Default: nobody is told.
	Lost func(error)
}

// Device is a wireguard tun.Device that is up from NewDevice to Close, with or without a kernel device
// attached. Read, File, Events, Name, MTU, BatchSize and Write are for the engine, and Read for one goroutine
// only; the other methods may be called from any goroutine except from within the callbacks.
type Device struct {
	cfg    DeviceConfig
	clock  clock
	kernel atomic.Pointer[kernel] // nil while detached
	owners atomic.Pointer[owners]
	closed atomic.Bool
	wake   chan struct{} // wakes a Read that waits without a kernel device
	events chan wgtun.Event
	reader reader
	hold   holder
	queue  injection
	pings  pinger
	count  counters

	control control
}

// control is what the control path has to itself.
type control struct {
	sync.Mutex // guards the below, and changes of kernel, owners and closed against each other
	peers      map[keys.NodeID]*peer
}

// clock tells the time since the Device was made.
type clock struct{ start time.Time }

// now is never 0.
func (c clock) now() time.Duration { return time.Since(c.start) + 1 }

// owners says to whom each overlay address belongs. It is immutable.
type owners struct{ byAddr map[netip.Addr]*peer }

// peer is what the data path knows of a member.
type peer struct {
	id     keys.NodeID
	ready  atomic.Bool   // written under holder's lock
	used   atomic.Int64  // last packet towards it, as Duration since the clock's start; 0 is never
	held   []packet      // guarded by holder's lock
	wanted time.Duration // last call of Wanted since the clock's start; 0 is never; only the reader touches it
}

// kernel is an attached device and the means to wake a Read of it.
type kernel struct {
	wgtun.Device
	deadline deadliner
}

type deadliner interface{ SetReadDeadline(time.Time) error }

// past is a read deadline that has passed.
var past = time.Unix(1, 0)

var _ wgtun.Device = (*Device)(nil)

// NewDevice returns a Device without a kernel device. It sends wgtun.EventUp at once and no other event.
func NewDevice(cfg DeviceConfig) *Device {
	if cfg.MTU == 0 {
		cfg.MTU = DefaultMTU
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Device{cfg: cfg, clock: clock{time.Now()}, wake: make(chan struct{}, 1), events: make(chan wgtun.Event, 1)}
	d.owners.Store(&owners{})
	d.control.peers = make(map[keys.NodeID]*peer)
	d.pings.init()
	d.reader.init(d)
	d.events <- wgtun.EventUp
	return d
}

// Attach lets packets flow from and to k, which the Device closes at Detach, Close, or when another is
// attached. The read deadline of k must work, on itself or on its File; else the error wraps
// os.ErrNoDeadline and k stays the caller's. It returns an error wrapping os.ErrClosed after Close.
// The events of k are not read.
func (d *Device) Attach(k wgtun.Device) error {
	deadline, ok := k.(deadliner)
	if !ok {
		f := k.File()
		if f == nil {
			return fmt.Errorf("tun: attaching: %w", os.ErrNoDeadline)
		}
		deadline = f
	}
	d.control.Lock()
	defer d.control.Unlock()
	if d.closed.Load() {
		return fmt.Errorf("tun: attaching: %w", os.ErrClosed)
	}
	// The passed deadline makes the first Read of k return, so that what was injected while the reader changed
	// over to k is seen.
	if err := deadline.SetReadDeadline(past); err != nil {
		return fmt.Errorf("tun: attaching: %w", err)
	}
	if old := d.kernel.Swap(&kernel{k, deadline}); old != nil {
		closeKernel(old, d.cfg.Log)
	}
	d.wakeReader()
	return nil
}

// Detach closes the kernel device, if there is one, and forgets held packets. Packets from peers are dropped
// and counted until the next Attach.
func (d *Device) Detach() {
	d.control.Lock()
	defer d.control.Unlock()
	d.detachLocked()
}

func (d *Device) detachLocked() {
	if k := d.kernel.Swap(nil); k != nil {
		closeKernel(k, d.cfg.Log)
	}
	d.count.heldDropped.Add(uint64(d.hold.clear()))
}

func closeKernel(k *kernel, log *slog.Logger) {
	if err := k.Close(); err != nil {
		log.Debug("closing the kernel device failed", "err", err)
	}
}

// wakeReader makes a blocked Read look at the injected packets and the attached device again. The caller has
// stored what Read shall see before.
func (d *Device) wakeReader() {
	if k := d.kernel.Load(); k != nil {
		// It fails only when k is being closed, which wakes the reader too.
		_ = k.deadline.SetReadDeadline(past)
	}
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Write implements wgtun.Device: it passes packets to the kernel, but for answers to Ping. It never fails:
// what the kernel does not take is counted.
func (d *Device) Write(bufs [][]byte, offset int) (int, error) {
	n := len(bufs)
	if d.pings.waiting.Load() != 0 {
		if bufs = d.pings.catch(bufs, offset); len(bufs) == 0 {
			return n, nil
		}
	}
	k := d.kernel.Load()
	if k == nil {
		d.count.detached.Add(uint64(len(bufs)))
		return n, nil
	}
	if _, err := k.Write(bufs, offset); err != nil {
		d.count.writeErrors.Add(1)
	}
	return n, nil
}

// File implements wgtun.Device; there is none.
func (d *Device) File() *os.File { return nil }

// MTU implements wgtun.Device.
func (d *Device) MTU() (int, error) { return d.cfg.MTU, nil }

// Name implements wgtun.Device: the kernel device's name, or "detached".
func (d *Device) Name() (string, error) {
	if k := d.kernel.Load(); k != nil {
		return k.Name()
	}
	return "detached", nil
}

// Events implements wgtun.Device. The channel is closed by Close.
func (d *Device) Events() <-chan wgtun.Event { return d.events }

// BatchSize implements wgtun.Device.
func (d *Device) BatchSize() int { return conn.IdealBatchSize }

// Close implements wgtun.Device: it closes the kernel device, and Read and Ping return os.ErrClosed from now
// on. The engine calls it when it is closed.
func (d *Device) Close() error {
	d.control.Lock()
	defer d.control.Unlock()
	if d.closed.Swap(true) {
		return nil
	}
	d.detachLocked()
	d.wakeReader()
	d.pings.close()
	close(d.events)
	return nil
}

// counters count what did not go its normal way, in packets where nothing else is said.
type counters struct {
	held, heldDropped, expired     atomic.Uint64
	nobody, malformed, unreachable atomic.Uint64
	detached                       atomic.Uint64
	segments                       atomic.Uint64 // super-packets of more segments than a batch
	readErrors, writeErrors        atomic.Uint64 // calls
}

// Stats returns counters by name: packets held for peers that were not ready (held), dropped because too many
// were held or their peer went away (held_dropped) or because they waited too long (expired); packets for
// addresses of nobody (nobody), packets that are no IP (malformed), ICMP answers given (unreachable), packets
// of peers dropped without a kernel device (detached), reads cut short (segments), failed reads and writes of
// the kernel device (read_errors, write_errors).
func (d *Device) Stats() map[string]uint64 {
	c := &d.count
	return map[string]uint64{
		"held": c.held.Load(), "held_dropped": c.heldDropped.Load(), "expired": c.expired.Load(),
		"nobody": c.nobody.Load(), "malformed": c.malformed.Load(), "unreachable": c.unreachable.Load(),
		"detached": c.detached.Load(), "segments": c.segments.Load(),
		"read_errors": c.readErrors.Load(), "write_errors": c.writeErrors.Load(),
	}
}
