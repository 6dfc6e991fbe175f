// Package simnet is an Internet in memory: hosts, NAT boxes with the behaviours of RFC 4787, delay, jitter and loss,
// all drawn from one seed. It carries UDP datagrams only and knows nothing of what is in them.
//
// It runs in one of two ways. With Run it is an event heap on virtual time, on the caller's goroutine: the same seed
// and the same calls give the same Trace, bit for bit. With Config.Live and Serve it follows the clock, which inside
// testing/synctest is a fake one; hosts then give packet connections, and only the draws of chance are repeatable, not
// their order.
//
// It is made for tests of package path and of the shell above it.
package simnet

import (
	"container/heap"
	"context"
	"encoding/binary"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// Config describes the wires of a Net.
type Config struct {
	Seed   uint64
	Live   bool          // follow the clock, by Serve, instead of virtual time, by Run
	Start  time.Time     // of virtual time; the zero time means 2026-01-01
	Delay  time.Duration // one way across the Internet
	Jitter time.Duration // added at random, up to this; packets may overtake each other
	Loss   float64       // chance that a packet is lost on the Internet, 0 to 1
	LAN    time.Duration // one way inside a LAN; default 200 µs
}

// Packet is a datagram under way. Its body belongs to the net and must not be changed.
type Packet struct {
	From, To netip.AddrPort
	Body     []byte
}

// Net is one simulated Internet. Its methods may be called from any goroutine.
type Net struct {
	mu    sync.Mutex
	cfg   Config
	now   time.Time
	queue events
	order uint64
	rand  *rand.Rand
	trace hash.Hash64
	drop  func(Packet) bool
	root  *Segment
	kick  chan struct{}
}

// New returns an Internet without hosts.
func New(cfg Config) *Net {
	if cfg.Start.IsZero() {
		cfg.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if cfg.LAN == 0 {
		cfg.LAN = 200 * time.Microsecond
	}
	n := &Net{
		cfg: cfg, now: cfg.Start, trace: fnv.New64a(), kick: make(chan struct{}, 1),
		rand: rand.New(rand.NewPCG(cfg.Seed, 0x73696d6e6574)),
	}
	n.root = &Segment{net: n, stations: map[netip.Addr]station{}}
	return n
}

// Internet returns the segment that everything public is on.
func (n *Net) Internet() *Segment { return n.root }

// Now returns the net's time.
func (n *Net) Now() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.clock()
}

func (n *Net) clock() time.Time {
	if n.cfg.Live {
		return time.Now()
	}
	return n.now
}

// Trace returns a hash of all that was sent so far: when, from where, to where, what, and whether it was lost.
func (n *Net) Trace() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.trace.Sum64()
}

// SetLoss changes the chance of loss.
func (n *Net) SetLoss(loss float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cfg.Loss = loss
}

// SetDrop installs a filter on the Internet: packets for which drop returns true are lost. It sees addresses as outside
// of NATs, must not call the net, and may be nil.
func (n *Net) SetDrop(drop func(Packet) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.drop = drop
}

// After calls f once d has passed, from Run or Serve.
func (n *Net) After(d time.Duration, f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at(n.clock().Add(d), f)
}

// at wants the lock.
func (n *Net) at(t time.Time, f func()) {
	n.order++
	heap.Push(&n.queue, event{at: t, order: n.order, do: f})
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// Run lets virtual time go on by d and does what happens until then.
func (n *Net) Run(d time.Duration) {
	end := n.Now().Add(d)
	for n.step(end) {
	}
}

// step does the next event not after end; without one it sets the clock to end and returns false.
func (n *Net) step(end time.Time) bool {
	n.mu.Lock()
	if len(n.queue) == 0 || n.queue[0].at.After(end) {
		n.now = end
		n.mu.Unlock()
		return false
	}
	next := heap.Pop(&n.queue).(event)
	if next.at.After(n.now) {
		n.now = next.at
	}
	n.mu.Unlock()
	next.do()
	return true
}

// Serve lets a Live net follow the clock until ctx is done.
func (n *Net) Serve(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		for n.step(time.Now()) {
		}
		n.mu.Lock()
		wait := time.Hour
		if len(n.queue) > 0 {
			wait = time.Until(n.queue[0].at)
		}
		n.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-n.kick:
		case <-timer.C:
		}
	}
}

// note adds a packet to the trace; it wants the lock.
func (n *Net) note(p Packet, lost bool) {
	var b [9]byte
	binary.BigEndian.PutUint64(b[:], uint64(n.clock().Sub(n.cfg.Start)))
	if lost {
		b[8] = 1
	}
	n.trace.Write(b[:])
	n.trace.Write([]byte(p.From.String() + ">" + p.To.String() + ":"))
	n.trace.Write(p.Body)
}

type event struct {
	at    time.Time
	order uint64
	do    func()
}

type events []event

func (e events) Len() int      { return len(e) }
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e events) Less(i, j int) bool {
	if !e[i].at.Equal(e[j].at) {
		return e[i].at.Before(e[j].at)
	}
	return e[i].order < e[j].order
}
func (e *events) Push(x any) { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	(*e)[len(*e)-1] = event{}
	*e = (*e)[:len(*e)-1]
	return last
}
