package peers

import (
	"net"
	"sync"

	"golang.zx2c4.com/wireguard/conn"

	"warren/nat/count"
	"warren/nat/demux"
)

// Knock is an initiation that came before the device had its sender as a peer. The device would have dropped it.
type Knock struct {
	from *Source
	msg  [demux.SizeInitiation]byte
}

// TakeKnock returns the newest initiation of p that waits, or nil. It does not wait any more.
func (p *Peer) TakeKnock() *Knock { return p.knock.Swap(nil) }

// Knocks are the initiations that wait: one with each Peer until the device has that as a peer, then for the device.
type Knocks struct {
	counts *count.Set
	held   chan *Knock // for the device
	pool   sync.Pool   // of *Knock
}

// NewKnocks returns Knocks of which at most size wait for the device. It adds to counts.
func NewKnocks(size int, counts *count.Set) *Knocks {
	return &Knocks{counts: counts, held: make(chan *Knock, size)}
}

// Keep copies an initiation that came from src, and raises the sign of p, its sender. It displaces the one before. One
// of another length than demux.SizeInitiation is refused, as the device does.
func (ks *Knocks) Keep(p *Peer, data []byte, src *Source) {
	k, ok := ks.pool.Get().(*Knock)
	if !ok {
		k = new(Knock)
	}
	if len(data) != len(k.msg) {
		ks.Refuse(k)
		return
	}
	k.from = src
	copy(k.msg[:], data)
	if old := p.knock.Swap(k); old != nil {
		ks.pool.Put(old)
	}
	p.Raise(Knocked)
}

// Refuse drops k, which is no longer the caller's.
func (ks *Knocks) Refuse(k *Knock) {
	ks.counts.Add(count.KnockRefused)
	ks.pool.Put(k)
}

// Admit hands k to the device, or refuses it if too many wait. k is no longer the caller's.
func (ks *Knocks) Admit(k *Knock) {
	select {
	case ks.held <- k:
	default:
		ks.Refuse(k)
	}
}

// Receiver returns the receive function for what was admitted. It ends with ended.
func (ks *Knocks) Receiver(ended <-chan struct{}) conn.ReceiveFunc {
	return func(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		select {
		case k := <-ks.held:
			sizes[0], eps[0] = copy(bufs[0], k.msg[:]), k.from
			ks.pool.Put(k)
			return 1, nil
		case <-ended:
			return 0, net.ErrClosed
		}
	}
}
