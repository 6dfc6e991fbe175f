package mesh

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"warren/keys"
	"warren/mesh/control"
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
	if n.down {
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
	n.warnSigners()
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
	for _, code := range []string{"single-signer", "store-repaired", "revoked", "name-changed"} {
		n.unwarn(code)
	}
	n.closeStore()
	err := n.folder.Wipe()
	n.down = false
	return errors.Join(err, n.saveSettings(), n.openStore())
}

// notMember is the answer to what only members can do.
func notMember() error {
	return control.Errorf(control.ExitNoNetwork, "found a network with warren init, or enter one with warren join CODE",
		"this host belongs to no network")
}

// current returns the membership, or the error that says that there is none.
func (n *Node) current() (*membership, error) {
	if n.member == nil {
		return nil, notMember()
	}
	return n.member, nil
}

// warnSigners tells in status when the network hangs on one signer.
func (n *Node) warnSigners() {
	n.unwarn("single-signer")
	if n.member != nil && len(n.member.authority().Signers) == 1 {
		n.warnings = append(n.warnings, control.Warning{
			Code: "single-signer", Text: "only one member can sign: keep the recovery key of warren init safe",
		})
	}
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
