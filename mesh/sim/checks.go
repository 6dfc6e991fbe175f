package sim

import (
	"bytes"
	"fmt"
	"maps"

	"warren/mesh/gossip"
)

// check holds the state of a core to its bounds.
func (s *Sim) check(i int32) {
	c := s.nodes[i].core
	st, members := c.Stats(), len(s.nodes)
	switch {
	case st.Links >= members:
		s.breach("member %d has %d links in a network of %d", i, st.Links, members)
	case st.Peers > members:
		s.breach("member %d remembers %d peers in a network of %d", i, st.Peers, members)
	case st.Wants > maxWants*st.Links:
		s.breach("member %d waits for %d items on %d links", i, st.Wants, st.Links)
	case c.Len() > 3*members: // a certificate, a record, a last word
		s.breach("member %d has %d items of %d members", i, c.Len(), members)
	}
}

// maxWants is how many answers a core may wait for on a link.
const maxWants = 2048

// checkStored holds a core to what it may accept.
func (s *Sim) checkStored(i int32, it *gossip.Item) {
	good := s.authority.good[verdict{it.Key, it.Seq}]
	if good == nil || !bytes.Equal(good.Body, it.Body) {
		s.breach("member %d accepted kind %d, seq %d of %x, which nobody verified", i, it.Kind, it.Seq, it.Subject[:4])
	}
}

// Equal returns nil if nothing was broken, and all honest members that run have equal stores and agree on the owner of
// each address; else who differs.
func (s *Sim) Equal() error {
	if s.broken != nil {
		return s.broken
	}
	var first *Node
	for i, n := range s.nodes {
		if !n.honest() {
			continue
		}
		if first == nil {
			first = n
		}
		if first.core.Root() != n.core.Root() {
			return fmt.Errorf("sim: seed %d: at %v member %d has another store (%d items, the first %d)",
				s.cfg.Seed, s.Now(), i, n.core.Len(), first.core.Len())
		}
		if !maps.Equal(first.owners, n.owners) {
			return fmt.Errorf("sim: seed %d: at %v member %d names other owners of addresses", s.cfg.Seed, s.Now(), i)
		}
	}
	return nil
}

// islands returns the sizes of the parts that the links make of the honest members that run.
func (n *network) islands() (sizes []int) {
	nodes := *n.nodes
	near := make([][]int32, len(nodes))
	for p, l := range n.links {
		if !l.dead && !l.cut {
			near[p.a], near[p.b] = append(near[p.a], p.b), append(near[p.b], p.a)
		}
	}
	seen := make([]bool, len(nodes))
	for i, nd := range nodes {
		if seen[i] || !nd.honest() {
			continue
		}
		seen[i] = true
		island := []int32{int32(i)}
		for at := 0; at < len(island); at++ {
			for _, j := range near[island[at]] {
				if !seen[j] && nodes[j].honest() {
					seen[j] = true
					island = append(island, j)
				}
			}
		}
		sizes = append(sizes, len(island))
	}
	return sizes
}
