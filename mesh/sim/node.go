package sim

import (
	"crypto/ed25519"
	"encoding/binary"
	"slices"
	"time"

	"warren/keys"
	"warren/mesh/gossip"
)

// Node is a simulated member.
type Node struct {
	ID     keys.NodeID
	Public bool

	key       ed25519.PrivateKey
	cert      *gossip.Item
	core      *gossip.Core // nil while it is down
	disk      []*gossip.Item
	seq       uint64 // of its last record
	life      uint64 // counts starts
	wake      int64
	sent      uint64
	newcomers bool          // the roster is to be made anew
	malicious bool          // its core rests, and what it sends is the scenario's
	skew      time.Duration // of its clock
	owners    map[uint32]*gossip.Item
}

// record makes the member's next record.
func (n *Node) record() *gossip.Item {
	n.seq++
	return sign(n.key, gossip.Key{Kind: gossip.KindRecord, Subject: n.ID}, n.seq, make([]byte, 130))
}

// honest reports whether the member runs and does what it should.
func (n *Node) honest() bool { return n.core != nil && !n.malicious }

// items returns all that a core stores.
func items(c *gossip.Core) (all []*gossip.Item) {
	for k := gossip.KindLog; k <= gossip.KindReceipt; k++ {
		all = slices.AppendSeq(all, c.Items(k))
	}
	return all
}

// members makes the roster that the member knows.
func (n *Node) members(s *Sim) (members []gossip.Member) {
	for it := range n.core.Items(gossip.KindCertificate) {
		if n.core.Get(gossip.Key{Kind: gossip.KindLeft, Subject: it.Subject}) == nil {
			members = append(members, gossip.Member{ID: it.Subject, Public: s.nodes[s.index[it.Subject]].Public})
		}
	}
	return members
}

// own has the member note who owns the address in a certificate: the senior one, with equal age the lower id.
func (n *Node) own(cert *gossip.Item) {
	a := addressOf(cert)
	o := n.owners[a]
	if o == nil || sinceOf(cert) < sinceOf(o) || sinceOf(cert) == sinceOf(o) && keys.NodeID(cert.Subject).Compare(o.Subject) < 0 {
		n.owners[a] = cert
	}
}

// learnOwners derives the owners of all addresses from what the core knows.
func (n *Node) learnOwners() {
	n.owners = make(map[uint32]*gossip.Item)
	for it := range n.core.Items(gossip.KindCertificate) {
		n.own(it)
	}
}

// A certificate's payload: public key 32, address 4, since 8 and end 8 in nanoseconds of virtual time.

func addressOf(cert *gossip.Item) uint32 { return binary.BigEndian.Uint32(cert.Body[32:]) }
func sinceOf(cert *gossip.Item) int64    { return int64(binary.BigEndian.Uint64(cert.Body[36:])) }
func endOf(cert *gossip.Item) int64      { return int64(binary.BigEndian.Uint64(cert.Body[44:])) }
