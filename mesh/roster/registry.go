package roster

import (
	"net/netip"
	"slices"

	"warren/keys"
)

// Owner returns who holds a name: a member, the senior of several, or the first host that has a receipt for it and may
// still become one.
func (r *Roster) Owner(name string) (keys.NodeID, bool) {
	var holder *Member
	for _, m := range r.members {
		if m.Name == name && (holder == nil || m.SeniorTo(holder.Certificate)) {
			holder = m
		}
	}
	if holder != nil {
		return holder.Node, true
	}
	var first redeemed
	for _, list := range r.receipts {
		for _, rec := range list {
			if rec.Name == name && !r.Gone(rec.Node) && (first.Receipt == nil || rec.compare(first) < 0) {
				first = rec
			}
		}
	}
	if first.Receipt != nil {
		return first.Node, true
	}
	return keys.NodeID{}, false
}

// Taken reports whether an address belongs, or is promised, to somebody other than node.
func (r *Roster) Taken(addr netip.Addr, node keys.NodeID) bool {
	for id, m := range r.members {
		if id != node && slices.Contains(m.Addrs, addr) {
			return true
		}
	}
	for _, list := range r.receipts {
		for _, rec := range list {
			if rec.Node != node && !r.Gone(rec.Node) && slices.Contains(rec.Addrs, addr) {
				return true
			}
		}
	}
	return false
}
