package peers

import "sync/atomic"

// Signs are what the data path tells the loop about a Peer.
type Signs uint32

// The signs.
const (
	Initiation Signs = 1 << iota // a message of type 1 left, or wanted to
	Proven                       // the device authenticated packets of another Source, or new ones
	Traffic                      // tunnel traffic after a silence
	Knocked                      // an initiation came, and the device does not have the peer
)

// Inbox lists Peers with Signs raised: many push, one takes all. It costs nothing while nothing happens.
type Inbox struct {
	head atomic.Pointer[Peer]
	wake chan struct{} // of size 1
}

// NewInbox returns an empty Inbox.
func NewInbox() *Inbox { return &Inbox{wake: make(chan struct{}, 1)} }

// Wake is where the reader waits: something comes out after each push, or Ring, that it has not seen yet.
func (in *Inbox) Wake() <-chan struct{} { return in.wake }

// Ring wakes the reader. It does not block.
func (in *Inbox) Ring() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

func (in *Inbox) push(p *Peer) {
	for {
		head := in.head.Load()
		p.next = head
		if in.head.CompareAndSwap(head, p) {
			break
		}
	}
	in.Ring()
}

// Each takes every Peer out and calls f with its Signs. f may raise others.
func (in *Inbox) Each(f func(p *Peer, signs Signs)) {
	for p := in.head.Swap(nil); p != nil; {
		next := p.next
		f(p, Signs(p.signs.Swap(0))) // from here on p may be pushed again
		p = next
	}
}
