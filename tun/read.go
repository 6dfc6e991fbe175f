package tun

import (
	"errors"
	"net/netip"
	"os"
	"time"

	wgtun "golang.zx2c4.com/wireguard/tun"

	"warren/tun/icmp"
)

const (
	// headroom is what is left before a packet for Write; a kernel device puts a virtio header there.
	headroom = 16
	// maxFailures in a row mean that the kernel device is lost.
	maxFailures = 100
	// wantedEvery is the least time between two calls of Wanted for one peer.
	wantedEvery = time.Second
	// maxAnswers is how many ICMP answers are given in a second.
	maxAnswers = 100
)

// reader is the state of the goroutine that calls Read. Nobody else touches it.
type reader struct {
	d *Device

	// The last destination looked up, its owner, and the owners it was looked up in.
	owners *owners
	dst    netip.Addr
	peer   *peer

	rearm    bool          // the read deadline is to be set anew
	expiry   time.Duration // when the first held packet expires; 0 is never
	failures int           // failed reads of the kernel device in a row

	answers struct {
		bufs   [][]byte // one packet to write, with headroom
		second time.Duration
		given  int
	}
}

func (r *reader) init(d *Device) {
	r.d = d
	r.answers.bufs = [][]byte{make([]byte, headroom, headroom+icmp.MaxAnswer)}
}

// lookup returns the owner of dst, or nil. Packets come in runs of one destination, so the last one is kept.
func (r *reader) lookup(o *owners, dst netip.Addr) *peer {
	if r.owners != o || r.dst != dst {
		r.owners, r.dst, r.peer = o, dst, o.byAddr[dst]
	}
	return r.peer
}

// Read implements wgtun.Device: it waits for packets from the kernel or from within and returns those that
// may go out now; the size of the others is set to 0. One goroutine may call it. The error is os.ErrClosed,
// after Close, or nil: any other would make wireguard close its device.
//
// Waking a blocked Read takes no lock. Whoever has something for the reader stores it first and then moves
// the read deadline of the kernel device into the past. The reader sets the deadline first and then looks at
// what is stored. So either it sees it, or its next read of the kernel returns at once.
func (d *Device) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	r := &d.reader
	for {
		if d.closed.Load() {
			return 0, os.ErrClosed
		}
		if r.rearm {
			r.arm()
		}
		if d.queue.pending.Load() {
			if n := r.injected(bufs, sizes, offset); n > 0 {
				return n, nil
			}
			continue
		}
		k := d.kernel.Load()
		if k == nil {
			r.idle()
			continue
		}
		n, err := k.Read(bufs, sizes, offset)
		if err == nil {
			r.failures = 0
			r.sort(bufs, sizes[:n], offset)
			return n, nil
		}
		if n = r.failed(k, n, err); n > 0 {
			r.sort(bufs, sizes[:n], offset)
			return n, nil
		}
	}
}

// failed judges an error of the kernel device and returns how many of the n packets are good.
func (r *reader) failed(k *kernel, n int, err error) int {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		r.rearm = true
		return 0
	}
	if errors.Is(err, wgtun.ErrTooManySegments) {
		r.failures = 0
		r.d.count.segments.Add(1)
		return n
	}
	closed := errors.Is(err, os.ErrClosed)
	if !closed {
		r.d.count.readErrors.Add(1)
		r.failures++
	}
	if closed || r.failures >= maxFailures {
		r.failures = 0
		// Detach, Attach and Close take the device away before they close it, so then this is not a loss.
		if r.d.kernel.CompareAndSwap(k, nil) {
			closeKernel(k, r.d.cfg.Log)
			r.d.cfg.Log.Warn("kernel device lost", "err", err)
			if r.d.cfg.Lost != nil {
				r.d.cfg.Lost(err)
			}
		}
	}
	return 0
}

// arm drops the held packets that have expired and sets the read deadline to the next expiry.
func (r *reader) arm() {
	r.rearm = false
	now := r.d.clock.now()
	if r.expiry != 0 && r.expiry <= now {
		var expired []packet
		expired, r.expiry = r.d.hold.expire(now)
		r.d.count.expired.Add(uint64(len(expired)))
		for _, p := range expired {
			if !p.own {
				r.answer(p.data, now)
			}
		}
	}
	if k := r.d.kernel.Load(); k != nil {
		var at time.Time
		if r.expiry != 0 {
			at = r.d.clock.start.Add(r.expiry)
		}
		// It fails only when k is being closed; then its Read returns.
		_ = k.deadline.SetReadDeadline(at)
	}
}

// idle waits, without a kernel device, until there is something to look at.
func (r *reader) idle() {
	if r.expiry == 0 {
		<-r.d.wake
		return
	}
	t := time.NewTimer(r.expiry - r.d.clock.now())
	defer t.Stop()
	select {
	case <-r.d.wake:
	case <-t.C:
		r.rearm = true
	}
}

// sort decides about each packet: those that must not go out now get size 0.
func (r *reader) sort(bufs [][]byte, sizes []int, offset int) {
	now, table := r.d.clock.now(), r.d.owners.Load()
	for i, size := range sizes {
		if size == 0 {
			continue
		}
		b := bufs[i][offset : offset+size]
		dst, ok := icmp.Destination(b)
		if !ok {
			r.d.count.malformed.Add(1)
			sizes[i] = 0
			continue
		}
		p := r.lookup(table, dst)
		if p == nil {
			r.d.count.nobody.Add(1)
			r.answer(b, now)
			sizes[i] = 0
			continue
		}
		p.used.Store(int64(now))
		if !p.ready.Load() && !r.keep(p, packet{until: now + holdFor}, b, now) {
			sizes[i] = 0
		}
	}
}

// injected moves injected packets into bufs and returns how many.
func (r *reader) injected(bufs [][]byte, sizes []int, offset int) (n int) {
	now, table := r.d.clock.now(), r.d.owners.Load()
	for _, in := range r.d.queue.take(len(bufs)) {
		dst, _ := icmp.Destination(in.data)
		p := r.lookup(table, dst)
		if p == nil || len(in.data) > len(bufs[n])-offset {
			r.d.count.nobody.Add(1)
			continue
		}
		p.used.Store(int64(now))
		if !p.ready.Load() && !r.keep(p, in, in.data, now) {
			continue
		}
		sizes[n] = copy(bufs[n][offset:], in.data)
		n++
	}
	return n
}

// keep holds a copy of b for a peer that is not ready and tells that the peer is wanted. It reports true, and
// holds nothing, when the peer has become ready.
func (r *reader) keep(p *peer, in packet, b []byte, now time.Duration) (ready bool) {
	if in.data == nil {
		in.data = append(make([]byte, 0, len(b)), b...)
	}
	switch r.d.hold.add(p, in) {
	case becameReady:
		return true
	case held:
		r.d.count.held.Add(1)
		if r.expiry == 0 || in.until < r.expiry {
			r.expiry, r.rearm = in.until, true
		}
	case holdFull:
		r.d.count.heldDropped.Add(1)
	}
	if r.d.cfg.Wanted != nil && (p.wanted == 0 || now-p.wanted >= wantedEvery) {
		p.wanted = now
		r.d.cfg.Wanted(p.id)
	}
	return false
}

// answer tells the sender of b, this host, that the destination cannot be reached.
func (r *reader) answer(b []byte, now time.Duration) {
	a, k := &r.answers, r.d.kernel.Load()
	if k == nil {
		return
	}
	if second := now.Truncate(time.Second); second != a.second {
		a.second, a.given = second, 0
	}
	if a.given >= maxAnswers {
		return
	}
	answer, ok := icmp.AppendUnreachable(a.bufs[0][:headroom], b)
	if !ok {
		return
	}
	a.given++
	a.bufs[0] = answer
	if _, err := k.Write(a.bufs, headroom); err != nil {
		r.d.count.writeErrors.Add(1)
		return
	}
	r.d.count.unreachable.Add(1)
}
