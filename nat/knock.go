package nat

import (
	"net"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"warren/keys"
	"warren/nat/demux"
)

// maxKnocks is how many initiations wait for the device at most.
const maxKnocks = 64

// SetTunnel says whether the device has a member as a peer. An initiation that comes from another member, by a path
// that a check has bound to it, is a knock: Notify hears Called, and if the member is then a peer of the device, it gets
// the initiation that it would have dropped before.
func (s *Stack) SetTunnel(id keys.NodeID, open bool) { s.bind.peers.ensure(id).tunnel.Store(open) }

// crossFor is how long an own initiation counts that is not answered.
const crossFor = 3 * time.Second

// justNow is how long the device may take to answer an initiation.
const justNow = 50 * time.Millisecond

// answering reports whether the device is about to answer an initiation of p.
func (p *Peer) answering(stamp int64) bool {
	theirs := p.theirs.Load()
	return theirs != 0 && stamp-theirs < int64(justNow)
}

// admits reports whether the device shall have data, which came from src, p's, at now. It is not to have an initiation
// while one of ours is on its way, as where each end takes the other's, both answer, neither takes the answer, and for
// 5 s none tries again: that of the lower id counts. And one that knocks must wait.
func (b *Bind) admits(p *Peer, data []byte, src *Source, now time.Time, stamp int64) bool {
	if data[0] != demux.TypeInitiation {
		return true
	}
	first := p.first.Load()
	if p.leads.Load() && first != nil && !first.answered.Load() && now.Sub(first.at) < crossFor && p.chosen.Load() != nil {
		b.counts.add(droppedCross)
		return false
	}
	if p.tunnel.Load() {
		p.theirs.Store(stamp)
		return true
	}
	b.knock(p, data, src)
	return false
}

// knock keeps an initiation until the device has its sender as a peer.
func (b *Bind) knock(p *Peer, data []byte, src *Source) {
	k, ok := b.packets.Get().(*packet)
	if !ok {
		k = new(packet)
	}
	k.flow, k.src = Flow{Local: src.path.Local, Remote: src.path.Remote}, src
	k.n = copy(k.data[:], data)
	if old := p.knock.Swap(k); old != nil {
		b.packets.Put(old)
	}
	p.raise(signKnock)
}

// knocked wakes the tunnel to m and hands the device what m sent.
func (l *loop) knocked(p *Peer) {
	k := p.knock.Swap(nil)
	if k == nil {
		return
	}
	l.cfg.Notify(Called{Peer: p.id})
	if !p.tunnel.Load() {
		l.bind.counts.add(droppedKnock)
		l.bind.packets.Put(k)
		return
	}
	p.theirs.Store(l.bind.clock.nanos())
	select {
	case l.bind.held <- k:
	default:
		l.bind.counts.add(droppedKnock)
		l.bind.packets.Put(k)
	}
}

// heldReceiver returns the receive function for initiations that were held back. It ends with ended.
func (b *Bind) heldReceiver(ended <-chan struct{}) conn.ReceiveFunc {
	return func(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		select {
		case k := <-b.held:
			sizes[0], eps[0] = copy(bufs[0], k.bytes()), k.src
			b.packets.Put(k)
			return 1, nil
		case <-ended:
			return 0, net.ErrClosed
		}
	}
}
