package roster

import (
	"net/netip"
	"slices"
	"time"

	"warren/keys"
	"warren/mesh/gossip"
)

// Member is one host of the network, as its certificate and its newest record say. It is replaced, never changed:
// callers may keep it, and must change nothing.
type Member struct {
	*keys.Certificate
	Record *keys.Record // nil until one arrived
}

// Reachable reports whether the member says that it can be reached from outside.
func (m *Member) Reachable() bool { return m.Record != nil && m.Record.ReachableUDP }

// Roster is what is known of a network. Make it with New.
type Roster struct {
	authority *keys.Authority
	now       func() time.Time // net time

	members  map[keys.NodeID]*Member
	gone     map[keys.NodeID]bool // left or revoked: never again
	grants   map[keys.InviteID]*keys.Grant
	receipts map[keys.InviteID][]*keys.Receipt
	void     map[keys.InviteID]bool // revoked invites
}

// New returns a roster of nobody. now is the net time at which new relationships are judged.
func New(authority *keys.Authority, now func() time.Time) *Roster {
	return &Roster{
		authority: authority, now: now,
		members: map[keys.NodeID]*Member{}, gone: map[keys.NodeID]bool{},
		grants: map[keys.InviteID]*keys.Grant{}, receipts: map[keys.InviteID][]*keys.Receipt{},
		void: map[keys.InviteID]bool{},
	}
}

// Authority is the log at its newest known entry.
func (r *Roster) Authority() *keys.Authority { return r.authority }

// Member returns a member, nil if there is none with that id.
func (r *Roster) Member(id keys.NodeID) *Member { return r.members[id] }

// Gone reports whether the node left or was revoked.
func (r *Roster) Gone(id keys.NodeID) bool { return r.gone[id] }

// Members returns all members, this host included, sorted by id.
func (r *Roster) Members() []*Member {
	all := make([]*Member, 0, len(r.members))
	for _, m := range r.members {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *Member) int { return a.Node.Compare(b.Node) })
	return all
}

// Owners says to whom each overlay address belongs. A disputed one stays with the senior member.
func (r *Roster) Owners() map[netip.Addr]keys.NodeID {
	owners := make(map[netip.Addr]keys.NodeID, 2*len(r.members))
	for _, m := range r.members {
		for _, a := range m.Addrs {
			if o, taken := owners[a]; !taken || m.SeniorTo(r.members[o].Certificate) {
				owners[a] = m.Node
			}
		}
	}
	return owners
}

// Names says which member a host name belongs to. A disputed one stays with the senior member, and the junior is found
// under its name with the first 6 characters of its id.
func (r *Roster) Names() map[keys.NodeID]string {
	holder := make(map[string]*Member, len(r.members))
	for _, m := range r.members {
		if h := holder[m.Name]; h == nil || m.SeniorTo(h.Certificate) {
			holder[m.Name] = m
		}
	}
	names := make(map[keys.NodeID]string, len(r.members))
	for id, m := range r.members {
		names[id] = m.Name
		if holder[m.Name] != m {
			names[id] = m.Name + "-" + id.String()[:6]
		}
	}
	return names
}

// Apply takes over an item that Verify accepted, or that the store remembered, and returns the member whom it
// concerns, zero if none. What cannot be read any more is skipped.
func (r *Roster) Apply(it *gossip.Item) keys.NodeID {
	id := keys.NodeID(it.Subject)
	switch it.Kind {
	case gossip.KindLog:
		if int(it.Seq) == len(r.authority.Entries) {
			if next, err := r.authority.Append(it.Body); err == nil {
				r.authority = next
			}
		}
		return keys.NodeID{}
	case gossip.KindCertificate:
		if c, err := keys.ParseCertificate(it.Body); err == nil && !r.gone[id] {
			m := &Member{Certificate: c}
			if old := r.members[id]; old != nil {
				m.Record = old.Record
			}
			r.members[id] = m
		}
	case gossip.KindRecord:
		if rec, err := r.record(it); err == nil {
			r.members[id] = &Member{Certificate: r.members[id].Certificate, Record: rec}
		}
	case gossip.KindLeft:
		r.remove(id)
	case gossip.KindRevocation:
		return r.applyRevocation(it)
	case gossip.KindGrant:
		if g, err := keys.PeekGrant(it.Body); err == nil {
			r.grants[g.Invite] = g
		}
		return keys.NodeID{}
	case gossip.KindReceipt:
		if rec, err := keys.PeekReceipt(it.Body); err == nil && !r.redeemed(rec) {
			r.receipts[rec.Invite] = append(r.receipts[rec.Invite], rec)
		}
		return keys.NodeID{}
	}
	return id
}

func (r *Roster) redeemed(rec *keys.Receipt) bool {
	return slices.ContainsFunc(r.receipts[rec.Invite], func(o *keys.Receipt) bool { return o.Node == rec.Node })
}

func (r *Roster) remove(id keys.NodeID) {
	r.gone[id] = true
	delete(r.members, id)
}

func (r *Roster) applyRevocation(it *gossip.Item) keys.NodeID {
	rev, err := keys.ParseRevocation(it.Body, r.authority)
	if err != nil {
		return keys.NodeID{}
	}
	switch {
	case !rev.Node.IsZero():
		r.remove(rev.Node)
		return rev.Node
	case !rev.Invite.IsZero():
		r.void[rev.Invite] = true
	case rev.Serial != nil:
		for id, m := range r.members {
			if m.Issuer == rev.Issuer && m.Serial.Cmp(rev.Serial) == 0 {
				delete(r.members, id)
				return id
			}
		}
	}
	return keys.NodeID{}
}
