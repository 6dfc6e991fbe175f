package roster

import (
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

// invites is the bookkeeping of what was granted and redeemed.
type invites struct {
	grants   map[keys.InviteID]granted
	receipts map[keys.InviteID][]redeemed
	void     map[keys.InviteID]bool // revoked
}

func newInvites() invites {
	return invites{
		grants: map[keys.InviteID]granted{}, receipts: map[keys.InviteID][]redeemed{}, void: map[keys.InviteID]bool{},
	}
}

func (v *invites) applyGrant(it *gossip.Item, a *keys.Authority) {
	g, err := keys.ParseGrant(it.Body, a)
	if err == nil && it.Newer(v.grants[g.Invite].item) {
		v.grants[g.Invite] = granted{g, it}
	}
}

// dropGrants forgets the grants whose signer is none any more.
func (v *invites) dropGrants(a *keys.Authority) {
	for invite, g := range v.grants {
		if _, err := keys.ParseGrant(g.item.Body, a); err != nil {
			delete(v.grants, invite)
		}
	}
}

func (v *invites) applyReceipt(it *gossip.Item) {
	rec, err := keys.PeekReceipt(it.Body)
	if err != nil {
		return
	}
	list := v.receipts[rec.Invite]
	i := slices.IndexFunc(list, func(o redeemed) bool { return o.Node == rec.Node })
	switch {
	case i < 0:
		list = append(list, redeemed{rec, it})
	case it.Newer(list[i].item):
		list[i] = redeemed{rec, it}
	}
	slices.SortFunc(list, redeemed.compare)
	v.receipts[rec.Invite] = list
}

// Grant returns an invite's grant, nil if there is none, it was revoked, or its signer is none any more.
func (v *invites) Grant(invite keys.InviteID) *keys.Grant {
	if v.void[invite] {
		return nil
	}
	return v.grants[invite].Grant
}

// Receipts returns what was redeemed with the invite so far, the first one first.
func (v *invites) Receipts(invite keys.InviteID) []*keys.Receipt {
	list := make([]*keys.Receipt, len(v.receipts[invite]))
	for i, rec := range v.receipts[invite] {
		list[i] = rec.Receipt
	}
	return list
}
