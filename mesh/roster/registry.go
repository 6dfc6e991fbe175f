package roster

import (
	"net/netip"
	"slices"

	"warren/keys"
)

// Grant returns an invite's grant, nil if there is none or it was revoked.
func (r *Roster) Grant(invite keys.InviteID) *keys.Grant {
	if r.void[invite] {
		return nil
	}
	return r.grants[invite]
}

// Receipts returns what was redeemed with the invite so far.
func (r *Roster) Receipts(invite keys.InviteID) []*keys.Receipt { return r.receipts[invite] }

// Owner returns who holds a name: a member, or a host that has a receipt for it and may still become one.
func (r *Roster) Owner(name string) (keys.NodeID, bool) {
	for id, m := range r.members {
		if m.Name == name {
			return id, true
		}
	}
	for _, list := range r.receipts {
		i := slices.IndexFunc(list, func(rec *keys.Receipt) bool { return rec.Name == name && !r.gone[rec.Node] })
		if i >= 0 {
			return list[i].Node, true
		}
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
			if rec.Node != node && !r.gone[rec.Node] && slices.Contains(rec.Addrs, addr) {
				return true
			}
		}
	}
	return false
}
