package tun

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"warren/keys"
)

const (
	// holdFor is how long a packet waits for its peer, holdPeer how many wait for one and holdAll for all.
	holdFor  = 5 * time.Second
	holdPeer = 64
	holdAll  = 4096
)

// packet is an IP packet that waits inside the Device.
type packet struct {
	data  []byte
	until time.Duration // when it expires, since the clock's start
	own   bool          // made by Ping: nobody wants an ICMP answer
}

// holder keeps the packets of peers that are not ready. Its lock is never taken for a peer that is.
type holder struct {
	mu      sync.Mutex
	total   int
	waiting map[*peer]struct{}
}

type verdict int

const (
	held verdict = iota
	holdFull
	becameReady
)

func (h *holder) add(p *peer, in packet) verdict {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p.ready.Load() {
		return becameReady
	}
	if len(p.held) >= holdPeer || h.total >= holdAll {
		return holdFull
	}
	if h.waiting == nil {
		h.waiting = make(map[*peer]struct{})
	}
	h.waiting[p] = struct{}{}
	p.held = append(p.held, in)
	h.total++
	return held
}

// setReady changes p and returns the packets that were held for it, if it is ready now.
func (h *holder) setReady(p *peer, ready bool) []packet {
	h.mu.Lock()
	defer h.mu.Unlock()
	p.ready.Store(ready)
	if !ready {
		return nil
	}
	return h.takeLocked(p)
}

// drop forgets what is held for p and returns how many packets that were.
func (h *holder) drop(p *peer) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.takeLocked(p))
}

func (h *holder) takeLocked(p *peer) []packet {
	list := p.held
	p.held = nil
	h.total -= len(list)
	delete(h.waiting, p)
	return list
}

// clear forgets all packets and returns how many that were.
func (h *holder) clear() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p := range h.waiting {
		n += len(h.takeLocked(p))
	}
	return n
}

// expire takes out the packets whose time has come and returns when the next one's comes, or 0.
func (h *holder) expire(now time.Duration) (expired []packet, next time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p := range h.waiting {
		var keep []packet
		for _, in := range h.takeLocked(p) {
			if in.until <= now {
				expired = append(expired, in)
				continue
			}
			keep = append(keep, in)
			if next == 0 || in.until < next {
				next = in.until
			}
		}
		if len(keep) > 0 {
			p.held = keep
			h.total += len(keep)
			h.waiting[p] = struct{}{}
		}
	}
	return expired, next
}

// injection is the queue of packets that Read shall return though they do not come from the kernel.
type injection struct {
	mu      sync.Mutex
	list    []packet
	pending atomic.Bool // list is not empty
}

func (q *injection) put(list ...packet) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(q.list, list...)
	q.pending.Store(true)
}

// take returns up to n packets, oldest first.
func (q *injection) take(n int) []packet {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = min(n, len(q.list))
	list := q.list[:n:n]
	q.list = q.list[n:]
	if len(q.list) == 0 {
		q.list = nil
		q.pending.Store(false)
	}
	return list
}

// SetOwners says to which member each overlay address belongs; it replaces what was said before. Packets held
// for members without an address are dropped. The map is not kept. A new member is not ready.
func (d *Device) SetOwners(byAddr map[netip.Addr]keys.NodeID) {
	d.control.Lock()
	defer d.control.Unlock()
	next := &owners{byAddr: make(map[netip.Addr]*peer, len(byAddr))}
	named := make(map[keys.NodeID]bool)
	for addr, id := range byAddr {
		named[id] = true
		next.byAddr[addr] = d.control.peer(id)
	}
	d.owners.Store(next)
	for id, p := range d.control.peers {
		if !named[id] {
			d.count.heldDropped.Add(uint64(d.hold.drop(p)))
			if !p.ready.Load() {
				delete(d.control.peers, id)
			}
		}
	}
}

// SetReady says whether the engine can take packets for the member (true: it has the peer and its allowed
// addresses), or whether they are to be held. Held packets go out when it becomes ready. It may be called
// before SetOwners names the member.
func (d *Device) SetReady(id keys.NodeID, ready bool) {
	d.control.Lock()
	defer d.control.Unlock()
	list := d.hold.setReady(d.control.peer(id), ready)
	if len(list) > 0 {
		d.queue.put(list...)
		d.wakeReader()
	}
}

// peer returns what is kept of a member. The caller holds the lock.
func (c *control) peer(id keys.NodeID) *peer {
	p := c.peers[id]
	if p == nil {
		p = &peer{id: id}
		c.peers[id] = p
	}
	return p
}

// LastUsed returns when this host last had a packet for the member, ready or not; the zero time is never.
// It does not say when one came from the member: that is in the engine's Stats.
func (d *Device) LastUsed(id keys.NodeID) time.Time {
	d.control.Lock()
	defer d.control.Unlock()
	p := d.control.peers[id]
	if p == nil {
		return time.Time{}
	}
	if used := p.used.Load(); used != 0 {
		return d.clock.start.Add(time.Duration(used))
	}
	return time.Time{}
}
