package mesh

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"net"
	"time"

	"warren/keys"
	"warren/mesh/gossip"
	"warren/mesh/link"
	"warren/mesh/loop"
	"warren/mesh/neighbours"
	"warren/nat"
	"warren/nat/path"
)

// dialFor is how long a link is tried, the search for a path included.
const dialFor = 12 * time.Second

// linked is the node as its links and paths see it; it comes from their goroutines to the loop.
type linked struct{ *Node }

// config joins the links to this node.
func (h linked) config() link.Config {
	_, _ = rand.Read(h.run[:]) // it never fails
	now := time.Now()
	h.since.Store(&now)
	return link.Config{
		Conn: h.nat.PacketConn(), Handler: h, Log: h.log,
		Certificate: h.certificate, Verify: h.verify, NodeOf: nodeOf, Hello: h.hello, Join: h.serveJoin,
	}
}

// nodeOf tells which member an address of the packet connection stands for.
func nodeOf(addr net.Addr) (keys.NodeID, bool) {
	a, ok := addr.(nat.Addr)
	return a.Node, ok && !a.Node.IsZero()
}

func (h linked) certificate() (*tls.Certificate, error) {
	return loop.Ask(h.ctx, h.Loop, func() (*tls.Certificate, error) {
		m, err := h.membership()
		if err != nil {
			return nil, err
		}
		return &tls.Certificate{Certificate: [][]byte{m.Own.DER}, PrivateKey: m.Identity.Signer()}, nil
	})
}

func (h linked) verify(der []byte) (keys.NodeID, error) {
	c, err := keys.ParseCertificate(der)
	if err != nil {
		return keys.NodeID{}, err
	}
	return loop.Ask(h.ctx, h.Loop, func() (keys.NodeID, error) {
		m, err := h.membership()
		if err != nil {
			return keys.NodeID{}, err
		}
		return c.Node, m.roster.Trust(c)
	})
}

func (h linked) hello() []byte {
	return neighbours.Hello{Run: h.run, Age: time.Since(*h.since.Load()), Release: h.cfg.Version}.Encode(h.clock.Now())
}

// Up implements link.Handler.
func (h linked) Up(l *link.Link, body []byte) error {
	hello, err := neighbours.ParseHello(body, h.clock.Now())
	if err != nil {
		return err
	}
	return loop.Do(h.ctx, h.Loop, func() error {
		m := h.live()
		if m == nil {
			return loop.ErrStopping
		}
		return ties{m}.up(l, hello)
	})
}

// ties are the links of a membership, those wanted and those that stand.
type ties struct{ *membership }

// up takes a new link, or refuses it.
func (m ties) up(l *link.Link, hello neighbours.Hello) error {
	peer := l.Peer()
	if _, err := m.near.Add(l, hello); err != nil {
		return err
	}
	// It may have forgotten the session: without this the tunnel would take WireGuard's 15 s to notice.
	if err := m.tunnels.Renew(peer, hello.Age, false); err != nil {
		m.log.Warn("tunnel not renewed", "peer", peer, "err", err)
	}
	delete(m.dials, peer)
	m.nat.SetLinked(peer, true)
	m.log.Info("linked", "peer", peer, "dialed", l.Dialed())
	m.step(gossip.LinkUp{Peer: peer})
	m.speak()
	return nil
}

// Down implements link.Handler.
func (h linked) Down(l *link.Link, cause error) {
	h.Post(func() {
		hungUp := link.HungUp(cause)
		if m := h.member; m != nil && m.near.Remove(l, hungUp, h.clock.Now()) {
			h.log.Info("link lost", "peer", l.Peer(), "err", cause)
			h.nat.SetLinked(l.Peer(), false)
			m.step(gossip.LinkDown{Peer: l.Peer(), ByPeer: hungUp})
		}
	})
}

// drop closes the link to a peer, if there is one, without telling gossip.
func (m ties) drop(peer keys.NodeID) {
	if m.near.Close(peer) {
		m.nat.SetLinked(peer, false)
	}
}

// Gossip implements link.Handler.
func (h linked) Gossip(l *link.Link, body []byte) {
	h.Post(func() {
		if m := h.member; m != nil && m.near.Holds(l) {
			m.step(gossip.Received{Peer: l.Peer(), Body: body})
		}
	})
}

// Datagram implements link.Handler.
func (h linked) Datagram(l *link.Link, body []byte) {
	s, err := neighbours.ParseSignal(body)
	if err != nil {
		return
	}
	h.TryPost(func() {
		m := h.member
		switch {
		case m == nil:
		case s.To == m.id():
			h.nat.Signal(s.From, s.Sealed)
		default:
			m.near.Forward(s, l.Peer(), h.clock.Now())
		}
	})
}

// signal sends a sealed CALL, ACK or GO: called by the paths' loop, so it must not wait. It may be lost, as any
// datagram may be.
func (n linked) signal(to keys.NodeID, sealed []byte) {
	n.TryPost(func() {
		if n.member != nil {
			n.member.near.Send(to, sealed)
		}
	})
}

// dial looks for a path to a member and then links to it.
func (m ties) dial(peer keys.NodeID) {
	if m.near.Get(peer) != nil {
		return
	}
	m.dials[peer] = m.clock.Now().Add(dialFor)
	if m.connected() {
		m.nat.Connect(peer)
	}
}

func (m ties) failed(peer keys.NodeID) {
	delete(m.dials, peer)
	if m.near.Get(peer) == nil {
		m.step(gossip.DialFailed{Peer: peer})
	}
}

// noticed is told by the paths of what happened there. It must not wait for the loop, which asks the paths.
func (n linked) noticed(ev nat.Event) {
	switch e := ev.(type) {
	case nat.Called:
		// The answer to the call goes out when we return: the tunnel must stand by then.
		n.want(e.Peer)
		if e.Age == 0 {
			return
		}
		if err := n.tunnels.Renew(e.Peer, e.Age, e.ClockBack); err != nil {
			n.log.Debug("tunnel not renewed", "peer", e.Peer, "err", err)
		}
	case nat.PathChanged:
		n.TryPost(func() {
			if n.member != nil {
				ties{n.member}.pathChanged(e.Peer)
			}
		})
	case nat.CandidatesChanged:
		n.TryPost(func() {
			if n.member != nil && n.member.speak() {
				n.member.step(gossip.NetworkChanged{})
			}
		})
	}
}

// pathChanged dials where a link was wanted and a path has come up.
func (m ties) pathChanged(peer keys.NodeID) {
	until, wanted := m.dials[peer]
	st := m.nat.PeerStatus(peer)
	switch {
	case !wanted:
		return
	case st.State == path.Unreachable:
		m.failed(peer)
		return
	case !st.Usable:
		return
	}
	delete(m.dials, peer)
	m.background.Go(func() {
		ctx, cancel := context.WithDeadline(m.ctx, until)
		defer cancel()
		err := m.links.Dial(ctx, nat.Addr{Node: peer}, peer)
		if err == nil {
			return
		}
		m.log.Debug("link not made", "peer", peer, "err", err)
		m.Post(func() { m.failed(peer) })
	})
}
