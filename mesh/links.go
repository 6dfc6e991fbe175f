package mesh

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"warren/keys"
	"warren/mesh/gossip"
	"warren/mesh/link"
	"warren/mesh/neighbours"
	"warren/nat"
	"warren/nat/path"
)

// dialFor is how long a link is tried, the search for a path included.
const dialFor = 12 * time.Second

// linkConfig joins the links to this node.
func (n *Node) linkConfig() link.Config {
	_, _ = rand.Read(n.run[:]) // it never fails
	now := time.Now()
	n.since.Store(&now)
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
		return &tls.Certificate{Certificate: [][]byte{m.Own.DER}, PrivateKey: m.Identity.Signer()}, nil
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
	return neighbours.Hello{Run: h.run, Age: time.Since(*h.since.Load()), Release: h.cfg.Version}.Encode(h.clock.Now())
}

// Up implements link.Handler.
func (h linked) Up(l *link.Link, body []byte) error {
	hello, err := neighbours.ParseHello(body, h.clock.Now())
	if err != nil {
		return err
	}
	_, err = ask(h.ctx, h.Node, func() (struct{}, error) {
		m, err := h.current()
		if err != nil || !m.connected() {
			return struct{}{}, errors.Join(err, errStopping)
		}
		return struct{}{}, m.linkUp(l, hello)
	})
	return err
}

// linkUp takes a new link, or refuses it.
func (m *membership) linkUp(l *link.Link, hello neighbours.Hello) error {
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
	h.post(func() {
		hungUp := link.HungUp(cause)
		if m := h.member; m != nil && m.near.Remove(l, hungUp, h.clock.Now()) {
			h.log.Info("link lost", "peer", l.Peer(), "err", cause)
			h.nat.SetLinked(l.Peer(), false)
			m.step(gossip.LinkDown{Peer: l.Peer(), ByPeer: hungUp})
		}
	})
}

// unlink closes the link to a peer, if there is one, without telling gossip.
func (m *membership) unlink(peer keys.NodeID) {
	if m.near.Close(peer) {
		m.nat.SetLinked(peer, false)
	}
}

// Gossip implements link.Handler.
func (h linked) Gossip(l *link.Link, body []byte) {
	h.post(func() {
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
	h.tryPost(func() {
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
func (n *Node) signal(to keys.NodeID, sealed []byte) {
	n.tryPost(func() {
		if n.member != nil {
			n.member.near.Send(to, sealed)
		}
	})
}

// dial looks for a path to a member and then links to it.
func (m *membership) dial(peer keys.NodeID) {
	if !m.connected() || m.near.Get(peer) != nil {
		return
	}
	m.dials[peer] = m.clock.Now().Add(dialFor)
	m.nat.Connect(peer)
}

func (m *membership) dialFailed(peer keys.NodeID) {
	delete(m.dials, peer)
	if m.near.Get(peer) == nil {
		m.step(gossip.DialFailed{Peer: peer})
	}
}

// noticed is told by the paths of what happened there. It must not wait for the loop, which asks the paths.
func (n *Node) noticed(ev nat.Event) {
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
		err := m.links.Dial(ctx, nat.Addr{Node: peer}, peer)
		if err == nil {
			return
		}
		m.log.Debug("link not made", "peer", peer, "err", err)
		m.post(func() { m.dialFailed(peer) })
	})
}
