package mesh

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"warren/keys"
	"warren/mesh/gossip"
	"warren/mesh/hint"
	"warren/mesh/vault"
	"warren/nat"
	"warren/tun"
)

// sweepEvery is how often the loop looks for what fell due.
const sweepEvery = time.Second

// connect makes the membership live: paths, tunnels, the interface and links.
func (m *membership) connect() error {
	network := m.authority().Network
	prefixes := m.authority().Prefixes()
	if err := tun.Cleanup(prefixes, mark); err != nil {
		m.log.Warn("leftovers not removed", "err", err)
	}
	var addrs []netip.Prefix
	for _, a := range m.Own.Addrs {
		addrs = append(addrs, netip.PrefixFrom(a, a.BitLen()))
	}
	iface, err := tun.Create(tun.InterfaceConfig{
		Name: m.Interface, MTU: tun.DefaultMTU, Addrs: addrs, Prefixes: prefixes, Mark: mark, Log: m.log,
	})
	if err != nil {
		return hint.TUN(err, m.Interface)
	}
	if err := m.dev.Attach(iface.Device()); err != nil {
		_ = iface.Close()
		return hint.TUN(err, m.Interface)
	}
	m.iface = iface
	now := time.Now()
	m.since.Store(&now)
	if err := m.engine.SetKey(m.WG); err != nil {
		return err
	}
	m.nat.SetSelf(nat.Self{Network: network, ID: m.id(), Key: m.WG, Overlay: prefixes, ClockBack: now.Before(m.Own.NotBefore)})
	m.tellPeers()
	m.speak()
	for _, id := range slices.Collect(maps.Keys(m.dials)) {
		ties{m}.failed(id) // it was tried without a network
	}
	m.step(gossip.NetworkChanged{})
	m.log.Info("connected", "network", m.authority().Name, "iface", m.Interface, "node", m.id())
	return nil
}

// connected reports whether the membership is live.
func (m *membership) connected() bool { return m.iface != nil }

// disconnect undoes connect. The membership stays.
func (m *membership) disconnect() {
	if !m.connected() {
		return
	}
	for _, id := range m.near.IDs() {
		ties{m}.drop(id)
		m.step(gossip.LinkDown{Peer: id})
	}
	clear(m.told)
	m.tunnels.Allow(nil)
	m.dev.SetOwners(nil)
	m.dev.Detach()
	if err := m.iface.Close(); err != nil {
		m.log.Warn("interface not removed", "iface", m.Interface, "err", err)
	}
	m.iface = nil
	m.nat.ClearSelf()
}

// step drives the gossip core with one event and does what it asks for.
func (m *membership) step(ev gossip.Event) {
	for _, act := range m.gossip.Step(m.clock.Now(), ev, nil) {
		m.act(act)
	}
	if m.dirty {
		m.dirty = false
		m.tellPeers()
	}
}

func (m *membership) act(act gossip.Action) {
	switch a := act.(type) {
	case gossip.Send:
		if l := m.near.Get(a.Peer); l != nil {
			l.Gossip(a.Body, a.Sync)
		}
	case gossip.Dial:
		ties{m}.dial(a.Peer)
	case gossip.Hangup:
		delete(m.dials, a.Peer)
		ties{m}.drop(a.Peer)
	case gossip.Stored:
		m.store.Put(a.Item)
		m.stored(a.Item)
	case gossip.Removed:
		m.store.Delete(a.Key)
	case gossip.Misbehaved:
		m.log.Warn("member misbehaves", "peer", a.Peer, "why", a.Why)
	case gossip.Wake:
		m.wake.Reset(max(0, a.At.Sub(m.clock.Now())))
	}
}

// stored takes over an item that gossip accepted.
func (m *membership) stored(it *gossip.Item) {
	who := m.roster.Apply(it)
	switch {
	case it.Kind == gossip.KindLog:
		if err := (vault.Vault{Folder: m.folder}).WriteLog(m.authority()); err != nil {
			m.log.Error("log not written", "err", err)
		}
	case who == m.id():
		m.aboutSelf(it)
	case who.IsZero():
		return
	}
	m.dirty = true
	if it.Kind == gossip.KindRecord {
		m.near.Heard(who, m.clock.Now())
	}
	if m.roster.Gone(who) {
		ties{m}.drop(who)
	}
}

// aboutSelf looks at what others remember of this host.
func (m *membership) aboutSelf(it *gossip.Item) {
	if it.Kind == gossip.KindRecord {
		m.speak() // if others remember something else of us than what is so
	}
	if it.Kind == gossip.KindRevocation {
		m.warn("revoked", "this host was expelled from the network")
	}
}

// tellPeers gives the roster to those who act on it: paths, tunnels, the device, gossip.
func (m *membership) tellPeers() {
	if !m.connected() {
		return
	}
	owners := m.roster.Owners()
	names := m.roster.Names()
	known := map[keys.NodeID]tun.Peer{}
	lines := []gossip.Member{}
	present := map[keys.NodeID]bool{}
	for _, who := range m.roster.Members() {
		lines = append(lines, gossip.Member{ID: who.Node, Public: who.Reachable()})
		if who.Node == m.id() {
			continue
		}
		present[who.Node] = true
		peer := tun.Peer{ID: who.Node, Key: who.WG}
		info := nat.PeerInfo{ID: who.Node, Name: names[who.Node], Key: who.WG}
		for _, a := range who.Addrs {
			if owners[a] == who.Node {
				peer.Allowed = append(peer.Allowed, netip.PrefixFrom(a, a.BitLen()))
				info.Overlay = a
			}
		}
		if who.Record != nil {
			info.Candidates, info.NAT = who.Record.Candidates, who.Record.NAT
		}
		known[who.Node] = peer
		if m.told[who.Node] != who {
			m.told[who.Node] = who
			m.nat.SetPeer(info)
		}
	}
	m.tunnels.Allow(known)
	for id := range m.told {
		if !present[id] {
			delete(m.told, id)
			m.nat.RemovePeer(id)
		}
	}
	m.dev.SetOwners(owners)
	m.step(gossip.Roster{Members: lines})
}

// sweep does what falls due about once a second.
func (m *membership) sweep() {
	now := m.clock.Now()
	for id, until := range m.dials {
		if now.After(until) {
			ties{m}.failed(id)
		}
	}
	if now.Sub(m.swept) >= 5*time.Second {
		m.swept = now
		m.tunnels.Sweep(now)
	}
}
