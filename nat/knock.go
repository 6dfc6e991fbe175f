package nat

import (
	"net"

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

// knocks reports whether b, which came from src, is to wait until the device has its sender as a peer. It is then kept.
func (b *Bind) knocks(p *Peer, data []byte, src *Source) bool {
	if data[0] != demux.TypeInitiation || p.tunnel.Load() || len(data) > maxPacket {
		return false
	}
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
	return true
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
