package roster

import (
	"net/netip"
	"slices"

	"warren/keys"
	"warren/mesh/gossip"
)

// granted is an invite.
type granted struct {
	*keys.Grant
	item *gossip.Item
}

// redeemed is one use of an invite.
type redeemed struct {
	*keys.Receipt
	item *gossip.Item
}

// compare orders the uses of an invite, first come first.
func (a redeemed) compare(b redeemed) int {
	if c := a.At.Compare(b.At); c != 0 {
		return c
	}
	return a.Node.Compare(b.Node)
}

func (r *Roster) applyGrant(it *gossip.Item) {
	g, err := keys.ParseGrant(it.Body, r.authority)
	if err == nil && it.Newer(r.grants[g.Invite].item) {
		r.grants[g.Invite] = granted{g, it}
	}
}

func (r *Roster) applyReceipt(it *gossip.Item) {
	rec, err := keys.PeekReceipt(it.Body)
	if err != nil {
		return
	}
	list := r.receipts[rec.Invite]
	i := slices.IndexFunc(list, func(o redeemed) bool { return o.Node == rec.Node })
	switch {
	case i < 0:
		list = append(list, redeemed{rec, it})
	case it.Newer(list[i].item):
		list[i] = redeemed{rec, it}
	}
	slices.SortFunc(list, redeemed.compare)
	r.receipts[rec.Invite] = list
}

// Grant returns an invite's grant, nil if there is none, it was revoked, or its signer is none any more.
func (r *Roster) Grant(invite keys.InviteID) *keys.Grant {
	if r.barred.invites[invite] {
		return nil
	}
	return r.grants[invite].Grant
}

// Receipts returns what was redeemed with the invite so far, the first one first.
func (r *Roster) Receipts(invite keys.InviteID) []*keys.Receipt {
	list := make([]*keys.Receipt, len(r.receipts[invite]))
	for i, rec := range r.receipts[invite] {
		list[i] = rec.Receipt
	}
	return list
}

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
