package mesh

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"warren/keys"
	"warren/keys/canon"
	"warren/mesh/gossip"
	"warren/mesh/link"
	"warren/nat"
	"warren/nat/path"
)

// dialFor is how long a link is tried, the search for a path included.
const dialFor = 12 * time.Second

// neighbour is a member that this host has a link to.
type neighbour struct {
	*link.Link
	instance [8]byte       // of the agent at the other end: a new one after each start
	skew     time.Duration // how far its clock is ahead of ours
	since    time.Time
	tokens   float64 // of datagrams that we forward for it
	filled   time.Time
}

// hello is the first frame of a link.
type hello struct {
	Version  uint64 `cbor:"1,keyasint"` // of this protocol: 1
	Instance []byte `cbor:"2,keyasint"` // 8 bytes, new at each start
	Unix     int64  `cbor:"3,keyasint"` // wall time in milliseconds
	Release  string `cbor:"4,keyasint"`
}

const helloVersion = 1

// envelope is a datagram: a sealed signal on its way through links.
type envelope struct {
	_      struct{} `cbor:",toarray"`
	To     keys.NodeID
	From   keys.NodeID
	Hops   uint64 // how often it may still be passed on
	Sealed []byte
}

const maxHops = 2

// linkConfig joins the links to this node.
func (n *Node) linkConfig() link.Config {
	if _, err := rand.Read(n.instance[:]); err != nil {
		panic("mesh: the system gives no random bytes: " + err.Error())
	}
	h := linked{n}
	return link.Config{
		Conn: n.nat.PacketConn(), Handler: h, Log: n.log,
		Certificate: h.certificate, Verify: h.verify, NodeOf: nodeOf, Hello: h.hello, Join: n.serveJoin,
	}
}

// nodeOf tells which member an address of the packet connection stands for.
func nodeOf(addr net.Addr) (keys.NodeID, bool) {
	a, ok := addr.(nat.Addr)
	return a.Node, ok && !a.Node.IsZero()
}

// linked is the node as its links see it; it comes from their goroutines to the loop.
type linked struct{ *Node }

func (h linked) certificate() (*tls.Certificate, error) {
	return ask(h.ctx, h.Node, func() (*tls.Certificate, error) {
		m, err := h.current()
		if err != nil {
			return nil, err
		}
		return &tls.Certificate{Certificate: [][]byte{m.own.DER}, PrivateKey: m.identity.Signer()}, nil
	})
}

func (h linked) verify(der []byte) (keys.NodeID, error) {
	c, err := keys.ParseCertificate(der)
	if err != nil {
		return keys.NodeID{}, err
	}
	return ask(h.ctx, h.Node, func() (keys.NodeID, error) {
		m, err := h.current()
		if err != nil {
			return keys.NodeID{}, err
		}
		return c.Node, m.roster.Trust(c)
	})
}

func (h linked) hello() []byte {
	b, err := canon.Marshal(hello{
		Version: helloVersion, Instance: h.instance[:], Unix: h.clock.Now().UnixMilli(), Release: h.cfg.Version,
	})
	if err != nil {
		panic("mesh: our hello cannot be encoded: " + err.Error())
	}
	return b
}

// errDuplicate ends one of two links between the same two agents.
var errDuplicate = errors.New("mesh: there is a link already")

// Up implements link.Handler.
func (h linked) Up(l *link.Link, body []byte) error {
	var hi hello
	if err := canon.Unmarshal(body, 1024, &hi); err != nil {
		return err
	}
	if len(hi.Instance) != 8 {
		return fmt.Errorf("mesh: hello of %s: an instance of %d bytes", l.Peer(), len(hi.Instance))
	}
	_, err := ask(h.ctx, h.Node, func() (struct{}, error) {
		m, err := h.current()
		if err != nil || !m.connected() {
			return struct{}{}, errors.Join(err, errStopping)
		}
		now := h.clock.Now()
		return struct{}{}, m.linkUp(&neighbour{
			Link: l, instance: [8]byte(hi.Instance), since: now, skew: time.UnixMilli(hi.Unix).Sub(now).Round(time.Second),
		})
	})
	return err
}

// linkUp takes a new link, or refuses it. Of two links between the same agents both ends keep the one that the lower
// id dialled; an agent that was started anew has no old link, whatever we still believe.
func (m *membership) linkUp(l *neighbour) error {
	peer := l.Peer()
	if old := m.links[peer]; old != nil {
		byLower := l.Dialed() == (m.id().Compare(peer) < 0)
		if old.instance == l.instance && old.Dialed() != l.Dialed() && !byLower {
			return errDuplicate
		}
		old.Close()
	}
	if last, known := m.instances[peer]; known && last != l.instance {
		if err := m.tunnels.renew(peer); err != nil {
			m.log.Warn("tunnel not renewed", "peer", peer, "err", err)
		}
	}
	m.instances[peer] = l.instance
	m.links[peer] = l
	delete(m.dials, peer)
	m.nat.SetLinked(peer, true)
	m.log.Info("linked", "peer", peer, "dialed", l.Dialed())
	m.step(gossip.LinkUp{Peer: peer})
	m.speak()
	return nil
}

// Down implements link.Handler.
func (h linked) Down(l *link.Link, cause error) {
	h.post(func() {
		if h.member == nil || h.member.links[l.Peer()] == nil || h.member.links[l.Peer()].Link != l {
			return
		}
		h.member.linkDown(l.Peer(), link.HungUp(cause))
		h.log.Info("link lost", "peer", l.Peer(), "err", cause)
	})
}

func (m *membership) linkDown(peer keys.NodeID, byPeer bool) {
	delete(m.links, peer)
	// A neighbour that fell silent is not believed to be there; one that hung up is.
	delete(m.heard, peer)
	if byPeer {
		m.heard[peer] = m.clock.Now()
	}
	m.nat.SetLinked(peer, false)
	m.step(gossip.LinkDown{Peer: peer, ByPeer: byPeer})
}

// unlink closes the link to a peer, if there is one, without telling gossip.
func (m *membership) unlink(peer keys.NodeID) {
	if l := m.links[peer]; l != nil {
		delete(m.links, peer)
		m.nat.SetLinked(peer, false)
		l.Close()
	}
}

// Gossip implements link.Handler.
func (h linked) Gossip(l *link.Link, body []byte) {
	h.post(func() {
		if m := h.member; m != nil && m.links[l.Peer()] != nil && m.links[l.Peer()].Link == l {
			m.step(gossip.Received{Peer: l.Peer(), Body: body})
		}
	})
}

// Datagram implements link.Handler.
func (h linked) Datagram(l *link.Link, body []byte) {
	var e envelope
	if err := canon.Unmarshal(body, 1200, &e); err != nil {
		return
	}
	h.post(func() {
		m := h.member
		if m == nil || m.links[l.Peer()] == nil {
			return
		}
		if e.To == m.id() {
			h.nat.Signal(e.From, e.Sealed)
			return
		}
		if m.links[l.Peer()].mayForward(h.clock.Now()) {
			m.forward(e, l.Peer())
		}
	})
}

// mayForward limits what we pass on for one neighbour: 50 datagrams a second, 100 at once.
func (l *neighbour) mayForward(now time.Time) bool {
	const rate, burst = 50, 100
	if l.filled.IsZero() {
		l.tokens = burst
	} else {
		l.tokens = min(burst, l.tokens+rate*now.Sub(l.filled).Seconds())
	}
	l.filled = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}

// forward passes a signal on towards its receiver: on the link to it, or to a neighbour that the receiver named.
func (m *membership) forward(e envelope, from keys.NodeID) {
	if l := m.links[e.To]; l != nil {
		m.sendEnvelope(l, e)
		return
	}
	if e.Hops == 0 {
		return
	}
	e.Hops--
	for _, id := range m.towards(e.To, 1) {
		if id != from {
			m.sendEnvelope(m.links[id], e)
		}
	}
}

// signal sends a sealed CALL, ACK or GO: called by the paths' loop, so it must not wait. It may be lost, as any
// datagram may be.
func (n *Node) signal(to keys.NodeID, sealed []byte) {
	n.tryPost(func() {
		if n.member != nil {
			n.member.emit(envelope{To: to, From: n.member.id(), Hops: maxHops, Sealed: sealed})
		}
	})
}

func (m *membership) emit(e envelope) {
	if l := m.links[e.To]; l != nil {
		m.sendEnvelope(l, e)
		return
	}
	for _, id := range m.towards(e.To, 2) {
		m.sendEnvelope(m.links[id], e)
	}
}

func (m *membership) sendEnvelope(l *neighbour, e envelope) {
	b, err := canon.Marshal(e)
	if err != nil {
		panic("mesh: an envelope cannot be encoded: " + err.Error())
	}
	l.Datagram(b)
}

// towards returns up to n neighbours that may know the way to a member: those it named as its contacts, else public
// ones, else any.
func (m *membership) towards(to keys.NodeID, n int) []keys.NodeID {
	var named, public, others []keys.NodeID
	rec := m.recordOf(to)
	for _, id := range sorted(m.links) {
		who := m.roster.Member(id)
		switch {
		case rec != nil && slices.Contains(rec.Contacts, id):
			named = append(named, id)
		case who != nil && who.Reachable():
			public = append(public, id)
		default:
			others = append(others, id)
		}
	}
	all := append(append(named, public...), others...)
	return all[:min(n, len(all))]
}

// sorted returns the ids of a map in order.
func sorted[V any](byID map[keys.NodeID]V) []keys.NodeID {
	return slices.SortedFunc(maps.Keys(byID), keys.NodeID.Compare)
}

// dial looks for a path to a member and then links to it.
func (m *membership) dial(peer keys.NodeID) {
	if !m.connected() || m.links[peer] != nil {
		return
	}
	m.dials[peer] = m.clock.Now().Add(dialFor)
	m.nat.Connect(peer)
}

func (m *membership) dialFailed(peer keys.NodeID) {
	delete(m.dials, peer)
	if m.links[peer] == nil {
		m.step(gossip.DialFailed{Peer: peer})
	}
}

// noticed is told by the paths of what happened there. It must not wait for the loop, which asks the paths.
func (n *Node) noticed(ev nat.Event) {
	switch e := ev.(type) {
	case nat.Called:
		// The answer to the call goes out when we return: the tunnel must stand by then.
		n.want(e.Peer)
		if e.Restarted || e.ClockBack {
			if err := n.tunnels.renew(e.Peer); err != nil {
				n.log.Debug("tunnel not renewed", "peer", e.Peer, "err", err)
			}
		}
	case nat.PathChanged:
		n.tryPost(func() {
			if n.member != nil {
				n.member.pathChanged(e.Peer)
			}
		})
	case nat.CandidatesChanged:
		n.tryPost(func() {
			if n.member != nil {
				n.member.speak()
			}
		})
	}
}

// pathChanged dials where a link was wanted and a path has come up.
func (m *membership) pathChanged(peer keys.NodeID) {
	until, wanted := m.dials[peer]
	st := m.nat.PeerStatus(peer)
	switch {
	case !wanted:
		return
	case st.State == path.Unreachable:
		m.dialFailed(peer)
		return
	case !st.Usable:
		return
	}
	delete(m.dials, peer)
	m.background.Go(func() {
		ctx, cancel := context.WithDeadline(m.ctx, until)
		defer cancel()
		err := m.Node.links.Dial(ctx, nat.Addr{Node: peer}, peer)
		if err == nil {
			return
		}
		m.log.Debug("link not made", "peer", peer, "err", err)
		m.post(func() { m.dialFailed(peer) })
	})
}
