package nat

import (
	"encoding/binary"
	"hash/maphash"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"warren/keys"
	"warren/nat/demux"
	"warren/nat/path"
)

// clock counts nanoseconds; 0 is "never", as it starts at 1.
type clock struct {
	now  func() time.Time
	base time.Time
}

func (c clock) nanos() int64 { return c.stamp(c.now()) }

func (c clock) stamp(t time.Time) int64 { return int64(t.Sub(c.base)) + 1 }

// time is the inverse of stamp; the zero time for 0.
func (c clock) time(stamp int64) time.Time {
	if stamp == 0 {
		return time.Time{}
	}
	return c.base.Add(time.Duration(stamp - 1))
}

// A Source is where packets come from: the conn.Endpoint that receive functions hand to the WireGuard device, one per
// path. The device keeps an endpoint only after it authenticated a packet from it; that is what makes a Send towards it
// a proof. The Source that ParseEndpoint gives has no path, only a peer.
type Source struct {
	path   path.Path
	remote net.Addr // Addr{Remote: …}, made once

	peer    atomic.Pointer[Peer] // who proved by a check to be there; nil: nobody yet
	rx      atomic.Int64         // last WireGuard packet
	proven  atomic.Int64         // last report that the device took its packets for authentic
	checked atomic.Int64         // last authenticated check, or answer, of a member
	joined  atomic.Int64         // the same of a joiner, or of the member that a joiner asks
	gone    atomic.Bool          // no longer in the table
}

var _ conn.Endpoint = (*Source)(nil)

// direct reports whether s is a way to send by, not only the name of a peer.
func (s *Source) direct() bool { return s.path.Remote.IsValid() }

// used is when anything last came from s.
func (s *Source) used() int64 { return max(s.rx.Load(), s.checked.Load(), s.joined.Load()) }

// fresh reports whether a check from or to s was authenticated within d of now.
func (s *Source) fresh(now int64, d time.Duration) bool {
	at := max(s.checked.Load(), s.joined.Load())
	return at != 0 && now-at <= int64(d)
}

// addr is what PacketConn calls s: the member, unless a joiner was heard there since.
func (s *Source) addr() net.Addr {
	if peer := s.peer.Load(); peer != nil && s.joined.Load() <= s.checked.Load() {
		return peer.self.remote
	}
	return s.remote
}

// ClearSrc does nothing: the source address is part of the path.
func (s *Source) ClearSrc() {}

// SrcIP returns the local address of the path, the zero Addr if the kernel chooses it.
func (s *Source) SrcIP() netip.Addr { return s.path.Local.Addr() }

// SrcToString returns the local address of the path.
func (s *Source) SrcToString() string { return s.path.Local.String() }

// DstIP returns the address by which the device limits handshakes: the remote one, or that of the peer in the overlay
// where there is none.
func (s *Source) DstIP() netip.Addr {
	if s.direct() {
		return s.path.Remote.Addr()
	}
	if peer := s.peer.Load(); peer != nil {
		if info := peer.info.Load(); info != nil {
			return info.Overlay
		}
	}
	return netip.IPv6Unspecified()
}

// DstToString returns the remote address, or the id of the peer where there is none.
func (s *Source) DstToString() string {
	if s.direct() {
		return s.path.Remote.String()
	}
	if peer := s.peer.Load(); peer != nil {
		return peer.id.String()
	}
	return ""
}

// DstToBytes returns what the cookie of a handshake is bound to.
func (s *Source) DstToBytes() []byte {
	b, _ := netip.AddrPortFrom(s.DstIP(), s.path.Remote.Port()).MarshalBinary()
	return b
}

// initiation is the newest WireGuard message of type 1 for a peer, kept to be sent again.
type initiation struct {
	at       time.Time
	msg      []byte
	answered atomic.Bool
}

// Signs are what the data path tells the loop about a peer.
const (
	signInitiation = 1 << iota // a message of type 1 left
	signProven                 // the device authenticated packets of another Source, or new ones
	signTraffic                // tunnel traffic after a silence
	signKnock                  // an initiation came, and the device does not have the peer
)

// A Peer is a member as the data path sees it: a few atomics, written by the loop and read by Send, or the reverse.
type Peer struct {
	id   keys.NodeID
	self Source // the endpoint that ParseEndpoint gives; its remote is Addr{Node: id}

	chosen atomic.Pointer[Source] // where packets go; nil: no path
	back   atomic.Pointer[Source] // where an authentic request came from last
	proven atomic.Pointer[Source] // newest of which the device took a packet for authentic
	first  atomic.Pointer[initiation]
	last   atomic.Pointer[Source] // where a transport message came from last
	tx     atomic.Int64
	active atomic.Bool // the loop samples tx and rx
	info   atomic.Pointer[PeerInfo]
	status atomic.Pointer[path.Snapshot]
	theirs atomic.Int64           // when the device last got an initiation from it
	leads  atomic.Bool            // of two initiations at the same time ours counts
	tunnel atomic.Bool            // the device has it as a peer
	knock  atomic.Pointer[packet] // newest initiation that came before that

	inbox *inbox
	signs atomic.Uint32
	next  *Peer // while signs are raised
}

func newPeer(id keys.NodeID, in *inbox) *Peer {
	p := &Peer{id: id, inbox: in}
	p.self.remote = Addr{Node: id}
	p.self.peer.Store(p)
	return p
}

// route notes what leaves for p by src and returns the Source to send it by, or nil for none.
func (p *Peer) route(src *Source, bufs [][]byte, now time.Time, stamp int64) *Source {
	switch bufs[0][0] {
	case demux.TypeCookie:
		return src // it goes to sources that have proved nothing
	case demux.TypeInitiation:
		p.first.Store(&initiation{at: now, msg: append([]byte(nil), bufs[0]...)})
		p.raise(signInitiation)
		if p.answering(stamp) {
			return nil // if it answers, ours is void; if not, ours leaves as a resend
		}
	case demux.TypeResponse:
		// The device has forgotten its own handshake for that of the peer.
		if first := p.first.Load(); first != nil {
			first.answered.Store(true)
		}
	case demux.TypeTransport:
		if len(bufs) > 1 || len(bufs[0]) > demux.SizeTransport {
			p.tx.Store(stamp)
			if !p.active.Load() {
				p.raise(signTraffic)
			}
		}
	}
	if src.direct() {
		p.prove(src, stamp)
	}
	if chosen := p.chosen.Load(); chosen != nil {
		return chosen
	}
	if src.direct() {
		return src
	}
	return p.back.Load()
}

// prove reports that the device holds src for authentic, if packets came from it since the last report.
func (p *Peer) prove(src *Source, stamp int64) {
	last := src.proven.Load()
	if src.rx.Load() <= last || (stamp-last < int64(time.Second) && p.proven.Load() == src) {
		return
	}
	src.proven.Store(stamp)
	p.proven.Store(src)
	p.raise(signProven)
}

// received notes a WireGuard packet from src, which is bound to p.
func (p *Peer) received(b []byte, src *Source) {
	switch b[0] {
	case demux.TypeTransport:
		if p.last.Load() != src {
			p.last.Store(src)
		}
		if !p.active.Load() {
			p.raise(signTraffic)
		}
	case demux.TypeResponse:
		// The index of the sender in a type 1 is that of the receiver in its type 2.
		if first := p.first.Load(); first != nil &&
			binary.LittleEndian.Uint32(first.msg[4:]) == binary.LittleEndian.Uint32(b[8:]) {
			first.answered.Store(true)
		}
	}
}

// traffic returns when tunnel packets left and came last, and where from.
func (p *Peer) traffic() (tx, rx int64, from path.Path) {
	if last := p.last.Load(); last != nil {
		rx, from = last.rx.Load(), last.path
	}
	return p.tx.Load(), rx, from
}

func (p *Peer) raise(sign uint32) {
	if p.signs.Or(sign) == 0 {
		p.inbox.push(p)
	}
}

// inbox lists peers with signs raised: many push, the loop takes all.
type inbox struct {
	head atomic.Pointer[Peer]
	wake chan struct{} // of size 1
}

func (in *inbox) push(p *Peer) {
	for {
		head := in.head.Load()
		p.next = head
		if in.head.CompareAndSwap(head, p) {
			break
		}
	}
	in.ring()
}

func (in *inbox) ring() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// each takes every peer out and calls f with its signs.
func (in *inbox) each(f func(p *Peer, signs uint32)) {
	for p := in.head.Swap(nil); p != nil; {
		next := p.next
		f(p, p.signs.Swap(0)) // from here on p may be pushed again
		p = next
	}
}

// peers are the members that the data path knows.
type peers struct {
	sync.RWMutex
	byID  map[keys.NodeID]*Peer
	inbox *inbox
}

func (ps *peers) get(id keys.NodeID) *Peer {
	ps.RLock()
	defer ps.RUnlock()
	return ps.byID[id]
}

// ensure returns the Peer of id, a new one if there is none.
func (ps *peers) ensure(id keys.NodeID) *Peer {
	ps.Lock()
	defer ps.Unlock()
	p := ps.byID[id]
	if p == nil {
		p = newPeer(id, ps.inbox)
		ps.byID[id] = p
	}
	return p
}

// remove takes out the Peer of id and returns it, or nil.
func (ps *peers) remove(id keys.NodeID) *Peer {
	ps.Lock()
	defer ps.Unlock()
	p := ps.byID[id]
	delete(ps.byID, id)
	return p
}

// clear takes out every Peer and returns them.
func (ps *peers) clear() map[keys.NodeID]*Peer {
	ps.Lock()
	defer ps.Unlock()
	gone := ps.byID
	ps.byID = make(map[keys.NodeID]*Peer)
	return gone
}

// table interns Sources. Strangers can fill it, so it is bounded and sheds the least useful of a few.
type table struct {
	sync.RWMutex
	byPath map[path.Path]*Source
	limit  int
}

func newTable(limit int) *table { return &table{byPath: make(map[path.Path]*Source), limit: limit} }

func direct(f Flow) path.Path {
	return path.Path{Kind: path.DirectUDP, Local: f.Local, Remote: f.Remote}
}

// get returns the Source of p, or nil.
func (t *table) get(p path.Path) *Source {
	t.RLock()
	defer t.RUnlock()
	return t.byPath[p]
}

// intern returns the Source of p, a new one if there is none.
func (t *table) intern(p path.Path) *Source {
	if s := t.get(p); s != nil {
		return s
	}
	t.Lock()
	defer t.Unlock()
	if s := t.byPath[p]; s != nil {
		return s
	}
	if len(t.byPath) >= t.limit {
		t.shed()
	}
	s := &Source{path: p, remote: Addr{Remote: p.Remote}}
	t.byPath[p] = s
	return s
}

// shed forgets one Source: of a few at random one without a peer, else the longest unused that carries no traffic. A
// device that still holds it may go on sending by it.
func (t *table) shed() {
	const few = 16
	var worst *Source
	looked := 0
	for _, s := range t.byPath {
		peer := s.peer.Load()
		switch {
		case peer != nil && peer.chosen.Load() == s:
			continue
		case worst == nil, peer == nil && worst.peer.Load() != nil,
			(peer == nil) == (worst.peer.Load() == nil) && s.used() < worst.used():
			worst = s
		}
		if looked++; looked == few {
			break
		}
	}
	if worst != nil {
		worst.gone.Store(true)
		delete(t.byPath, worst.path)
	}
}

// unbind takes peer off all its Sources.
func (t *table) unbind(peer *Peer) {
	t.RLock()
	defer t.RUnlock()
	for _, s := range t.byPath {
		s.peer.CompareAndSwap(peer, nil)
	}
}

// cache is the part of the table that one receive function asks first, without a lock.
type cache struct {
	seed  maphash.Seed
	flow  Flow
	last  *Source
	slots [256]*Source
}

// find returns the Source of flow, or nil if the table has none and create is false.
func (c *cache) find(t *table, flow Flow, create bool) *Source {
	if c.last != nil && c.flow == flow && !c.last.gone.Load() {
		return c.last
	}
	slot := &c.slots[maphash.Comparable(c.seed, flow)%uint64(len(c.slots))]
	s := *slot
	if s == nil || s.gone.Load() || s.path != direct(flow) {
		if create {
			s = t.intern(direct(flow))
		} else {
			s = t.get(direct(flow))
		}
		if s == nil {
			return nil
		}
		*slot = s
	}
	c.flow, c.last = flow, s
	return s
}
