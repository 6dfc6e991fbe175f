package mesh

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"time"

	"warren/keys"
	"warren/mesh/clock"
	"warren/mesh/control"
	"warren/mesh/endpoints"
	"warren/mesh/gossip"
	"warren/mesh/join"
	"warren/mesh/neighbours"
	"warren/mesh/roster"
	"warren/mesh/vault"
	"warren/tun"
)

// membership is what this host is in its network. The loop's, but for what never changes.
type membership struct {
	*Node
	*vault.Member

	roster *roster.Roster
	gossip *gossip.Core
	near   *neighbours.Table
	iface  *tun.Interface                 // nil while disconnected
	dials  map[keys.NodeID]time.Time      // links wanted, until when
	told   map[keys.NodeID]*roster.Member // what the paths know of members
	dirty  bool                           // the roster changed: peers must be told
	swept  time.Time                      // when tunnels were last swept
	skew   time.Duration                  // how far the clock of who let us in is ahead of ours
}

// id is this host's node id.
func (m *membership) id() keys.NodeID { return m.Own.Node }

func (m *membership) authority() *keys.Authority { return m.roster.Authority() }

// load takes up the membership that the folder holds, if it holds one.
func (n *Node) load() error {
	held, authority, err := vault.Vault{Folder: n.folder}.Load()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return control.Errorf(control.ExitFailed, "restore the state folder from a copy, or move it away and join again",
			"the membership in %s cannot be read: %w", n.folder.Dir(), err)
	}
	if r := n.store.Report(); r.Aside != "" {
		n.warn("store-repaired", fmt.Sprintf("the store of members was damaged (%s) and is kept as %s; %d entries were restored",
			r.Cause, r.Aside, r.Restored))
	}
	items, err := n.store.Load()
	if err != nil {
		return control.Errorf(control.ExitFailed, "", "%w", err)
	}
	items = append(roster.LogItems(authority.Entries), items...)
	m := n.adopt(held, authority, append(items, roster.CertificateItem(held.Own)))
	if n.Down {
		return nil
	}
	return m.connect()
}

// adopt makes this node the member that held says, with the items that are known of the network. Nothing is connected
// yet.
func (n *Node) adopt(held *vault.Member, authority *keys.Authority, items []*gossip.Item) *membership {
	m := &membership{Node: n, Member: held, dials: map[keys.NodeID]time.Time{}, told: map[keys.NodeID]*roster.Member{}}
	m.roster = roster.New(authority, m.netTime)
	m.near = neighbours.New(m.id(), func(id keys.NodeID) (in neighbours.Introduction) {
		if who := m.roster.Member(id); who != nil && who.Record != nil {
			in.Public, in.Contacts = who.Reachable(), who.Record.Contacts
		}
		return in
	})
	n.member = m
	for kind := gossip.KindLog; kind <= gossip.KindReceipt; kind++ {
		for _, it := range items {
			if it.Kind == kind {
				m.roster.Apply(it)
			}
		}
	}
	m.gossip = gossip.New(gossip.Config{Self: m.id(), Seed: rand.Uint64(), Verifier: m.roster}, items)
	n.store.Put(items...)
	return m
}

// recordOf returns the newest record of a member, nil if there is none.
func (m *membership) recordOf(id keys.NodeID) *keys.Record {
	if who := m.roster.Member(id); who != nil {
		return who.Record
	}
	return nil
}

// forget wipes the membership from memory and disk.
func (n *Node) forget() error {
	n.member.disconnect()
	n.member = nil
	n.unwarn("store-repaired", "revoked", "name-changed")
	n.closeStore()
	err := n.folder.Wipe()
	n.Down = false
	return errors.Join(err, n.save(), n.openStore())
}

// issuedItems are what a newcomer got with its certificate, as gossip items.
func issuedItems(issued *join.Issued) []*gossip.Item {
	items := make([]*gossip.Item, 0, len(issued.Items))
	for _, it := range issued.Items {
		items = append(items, &gossip.Item{
			Key: gossip.Key{Kind: gossip.Kind(it.Kind), Subject: it.Subject}, Seq: it.Seq, Body: it.Body,
		})
	}
	return items
}

// netTime is what the clocks of the members agree on, and never before this program was built. Where two clocks disagree
// that one is right by which our own certificate is valid. Before the first link the clock of who let us in counts like a
// neighbour's.
func (m *membership) netTime() time.Time {
	var more []time.Duration
	if len(m.near.IDs()) == 0 {
		more = append(more, m.skew)
	}
	own := m.clock.Now()
	ahead := m.near.Median(func(ahead time.Duration) bool {
		at := own.Add(ahead)
		return at.After(m.Own.NotBefore) && at.Before(m.Own.NotAfter)
	}, more...)
	now := own.Add(ahead)
	if built := clock.BuildDate(); now.Before(built) {
		return built
	}
	return now
}

// speak publishes what this host says of itself, if that changed, and reports whether it did.
func (m *membership) speak() bool {
	if !m.connected() {
		return false
	}
	last := m.recordOf(m.id())
	var named []keys.NodeID
	if last != nil {
		named = last.Contacts
	}
	rec := keys.Record{
		Node: m.id(), Candidates: m.candidates(), Contacts: m.near.Contacts(named),
		ReachableUDP: m.reachable(), Version: m.cfg.Version,
	}
	seen := m.nat.NAT()
	rec.NAT = keys.NAT{Mapping: seen.Mapping, Filtering: seen.Filtering}
	if last != nil {
		rec.Seq = last.Seq
		if roster.SameRecord(&rec, last) {
			return false
		}
	}
	rec.Seq++
	signed, err := keys.SignRecord(rec, m.Identity, m.authority().Network)
	if err != nil {
		m.log.Error("record not made", "err", err)
		return false
	}
	m.step(gossip.Publish{Item: roster.RecordItem(&rec, signed)})
	return true
}

// candidates are the addresses at which others may try this host: those advertised by a person first.
func (m *membership) candidates() []keys.Candidate {
	var all []keys.Candidate
	for _, a := range m.Advertised {
		all = append(all, keys.Candidate{Kind: keys.Mapped, Addr: a})
	}
	for _, c := range m.nat.Candidates() {
		if !slices.ContainsFunc(all, func(o keys.Candidate) bool { return o.Addr == c.Addr }) {
			all = append(all, c)
		}
	}
	return all[:min(len(all), keys.MaxCandidates)]
}

// reachable reports whether others can reach this host unasked: it was seen to be so, a person says so, or an interface
// of it has a public address.
func (m *membership) reachable() bool {
	return m.nat.NAT().Reachable || len(m.Advertised) > 0 ||
		slices.ContainsFunc(m.nat.Candidates(), func(c keys.Candidate) bool { return c.Kind == keys.Host && endpoints.Public(c.Addr.Addr()) })
}
