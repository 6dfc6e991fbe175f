package nat

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"warren/nat/count"
	"warren/nat/demux"
	"warren/nat/peers"
	"warren/nat/ring"
)

// receiver reads one socket for the device.
type receiver struct {
	bind  *Bind
	sock  Socket
	flows []Flow
	cache *peers.Cache
	fails int
}

// receive is a conn.ReceiveFunc: WireGuard stays where it is, everything else is taken out of the batch.
func (r *receiver) receive(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
	if len(r.flows) < len(bufs) {
		r.flows = make([]Flow, len(bufs))
	}
	n, err := r.sock.ReadBatch(bufs, sizes, r.flows)
	if err != nil {
		return 0, r.failed(err)
	}
	r.fails = 0
	now := r.bind.clock.Now()
	stamp := r.bind.clock.Stamp(now)
	for i := range n {
		if sizes[i] == 0 {
			continue
		}
		b := bufs[i][:sizes[i]]
		class := Classify(b)
		if class != demux.WireGuard {
			sizes[i] = 0
			r.control(class, b, r.flows[i], now, stamp)
			continue
		}
		src := r.cache.Intern(r.flows[i])
		src.Heard(stamp)
		if peer := src.Peer(); peer != nil {
			peer.Received(b, src)
			if b[0] == demux.TypeInitiation && !r.admits(peer, b, src, stamp) {
				sizes[i] = 0
				continue
			}
		}
		eps[i] = src
	}
	return n, nil
}

// control keeps what is not WireGuard for its reader, or drops it.
func (r *receiver) control(class Class, data []byte, flow Flow, now time.Time, stamp int64) {
	b := r.bind
	switch class {
	case demux.STUN:
		b.keep(b.stun, data, ring.Origin{Flow: flow, At: now}, count.STUNFull)
	case demux.QUIC:
		switch src := r.cache.Get(flow); {
		case src == nil || !src.Known():
			b.counts.Add(count.QUICStranger)
		case demux.LongHeader(data) && !src.Fresh(stamp, quicFresh):
			b.counts.Add(count.QUICStale)
		default:
			b.keep(b.quic, data, ring.Origin{Flow: flow, From: src.Addr(), At: now}, count.QUICFull)
		}
	case demux.Relay:
		b.counts.Add(count.RxRelay)
	case demux.Unknown, demux.WireGuard:
		b.counts.Add(count.RxUnknown)
	}
}

// keep copies a control packet into to, or drops it where that is full.
func (b *Bind) keep(to *ring.Ring, data []byte, o ring.Origin, full count.Reason) {
	switch {
	case len(data) > ring.MaxPacket:
		b.counts.Add(count.RxLong)
	case !to.Keep(data, o):
		b.counts.Add(full)
	}
}

// admits reports whether the device shall have the initiation data, which came from src, p's. It is not to have one
// that crosses ours. And one that knocks must wait.
func (r *receiver) admits(p *peers.Peer, data []byte, src *Source, stamp int64) bool {
	if p.Chosen() != nil && p.Handshake.Crosses(stamp) {
		r.bind.counts.Add(count.InitiationCrossed)
		return false
	}
	if p.Tunnel.Load() {
		p.Handshake.Accepted(stamp)
		return true
	}
	r.bind.knocks.Keep(p, data, src)
	return false
}

// failed turns an error of a socket into one after which the device reads on, unless the socket is closed: upstream ends
// its reader at once on a net.Error that is not temporary, and after a row of errors with a third of a second between
// them. So none is a net.Error, and every second one is not shown at all.
func (r *receiver) failed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return net.ErrClosed
	}
	r.bind.counts.Add(count.RxFailed)
	if r.fails++; r.fails%2 == 0 {
		return nil
	}
	return fmt.Errorf("nat: receiving: %w", err)
}
