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

// Roster is what is known of a network. Make it with New. What it says depends on the items that it was told of, and not
// on their order.
type Roster struct {
	authority *keys.Authority
	now       func() time.Time // net time

	// Of each kind the newest items.
	certificates map[keys.NodeID]*keys.Certificate
	records      map[keys.NodeID]said
	left         map[keys.NodeID]bool
	revocations  map[[32]byte][]byte
	invites

	// What follows from them and the log.
	members map[keys.NodeID]*Member
	barred  barred
}

// said is a member's newest record.
type said struct {
	*keys.Record
	item *gossip.Item
}

// New returns a roster of nobody. now is the net time at which new relationships are judged.
func New(authority *keys.Authority, now func() time.Time) *Roster {
	return &Roster{
		authority: authority, now: now,
		certificates: map[keys.NodeID]*keys.Certificate{}, records: map[keys.NodeID]said{},
		left: map[keys.NodeID]bool{}, revocations: map[[32]byte][]byte{},
		invites: newInvites(), members: map[keys.NodeID]*Member{}, barred: newBarred(),
	}
}

// Authority is the log at its newest known entry.
func (r *Roster) Authority() *keys.Authority { return r.authority }

// Member returns a member, nil if there is none with that id.
func (r *Roster) Member(id keys.NodeID) *Member { return r.members[id] }

// Gone reports whether the node left or was revoked.
func (r *Roster) Gone(id keys.NodeID) bool { return r.left[id] || r.barred.nodes[id] }

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
		if holder[m.Name] == m {
			continue
		}
		// Nobody can be granted a name that takes this one's place: what is taken gets more of the id.
		for n, taken := 6, true; taken; n++ {
			suffix := "-" + id.String()[:n]
			names[id] = m.Name[:min(len(m.Name), maxName-len(suffix))] + suffix
			taken = holder[names[id]] != nil
		}
	}
	return names
}

// maxName is the longest host name.
const maxName = 63

// Apply takes over an item that Verify accepted, or that the store remembered, and returns the member whom it
// concerns, zero if none. What is older than what is known, or cannot be read any more, is skipped.
func (r *Roster) Apply(it *gossip.Item) keys.NodeID {
	id := keys.NodeID(it.Subject)
	switch it.Kind {
	case gossip.KindLog:
		r.applyLog(it)
		return keys.NodeID{}
	case gossip.KindCertificate:
		r.applyCertificate(it)
	case gossip.KindRecord:
		if rec, err := r.record(it); err == nil && it.Newer(r.records[id].item) {
			r.records[id] = said{rec, it}
		}
	case gossip.KindLeft:
		r.left[id] = true
	case gossip.KindRevocation:
		return r.applyRevocation(it)
	case gossip.KindGrant:
		r.applyGrant(it, r.authority)
		return keys.NodeID{}
	case gossip.KindReceipt:
		r.applyReceipt(it)
		return keys.NodeID{}
	}
	r.refresh(id)
	return id
}

func (r *Roster) applyLog(it *gossip.Item) {
	if it.Seq != uint64(len(r.authority.Entries)) {
		return
	}
	next, err := r.authority.Append(it.Body)
	if err != nil {
		return
	}
	removed := len(next.Signers) < len(r.authority.Signers)
	if r.authority = next; removed {
		r.rejudge()
	}
}

func (r *Roster) applyCertificate(it *gossip.Item) {
	c, err := keys.ParseCertificate(it.Body)
	if err != nil {
		return
	}
	if old := r.certificates[c.Node]; old == nil || it.Newer(CertificateItem(old)) {
		r.certificates[c.Node] = c
	}
}

// refresh makes a node a member, or none, as what is known of it demands. A member of whom nothing changed stays the
// same *Member.
func (r *Roster) refresh(id keys.NodeID) {
	c := r.certificates[id]
	if c == nil || r.Gone(id) || r.barred.certificate(c) || !r.outlives(c) {
		delete(r.members, id)
		return
	}
	next := Member{Certificate: c, Record: r.records[id].Record}
	if m := r.members[id]; m == nil || *m != next {
		r.members[id] = &next
	}
}

// outlives reports whether a certificate that was verified once still has a signer, or was kept.
func (r *Roster) outlives(c *keys.Certificate) bool {
	if _, ok := r.authority.Signer(c.Issuer); ok {
		return true
	}
	return r.authority.Verify(c, within(c, r.now())) == nil
}
