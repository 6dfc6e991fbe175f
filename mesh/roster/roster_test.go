package roster

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"warren/keys"
	"warren/mesh/gossip"
)

// TestTrust: whose certificate opens a link.
func TestTrust(t *testing.T) {
	const day = 24 * time.Hour
	for name, tt := range map[string]struct {
		prepare func(w *world, r *Roster) host
		want    error // nil: trusted; gossip.ErrUnknown: perhaps later
		never   bool  // an error that does not wrap gossip.ErrUnknown
	}{
		"newcomer": {prepare: func(w *world, _ *Roster) host { return w.issue(0, nil, keys.Profile{}) }},
		"expired newcomer": {prepare: func(w *world, _ *Roster) host {
			h := w.issue(0, nil, keys.Profile{})
			w.now = h.NotAfter.Add(time.Second)
			return h
		}, want: keys.ErrExpired},
		"newcomer of the future": {prepare: func(w *world, _ *Roster) host {
			return w.issue(0, nil, keys.Profile{NotBefore: w.now.Add(day)})
		}, want: keys.ErrNotYetValid},
		"expired member": {prepare: func(w *world, r *Roster) host {
			h := w.issue(0, nil, keys.Profile{})
			r.Apply(h.item())
			w.now = h.NotAfter.Add(day)
			return h
		}},
		"expired member under a strict policy": {prepare: func(w *world, r *Roster) host {
			h := w.issue(0, nil, keys.Profile{})
			r.Apply(h.item())
			r.Apply(w.append(must(w.authority.SetPolicy(keys.Policy{StrictExpiry: true}, w.root))))
			w.now = h.NotAfter.Add(day)
			return h
		}, want: keys.ErrExpired},
		"member when this host's clock is at 1970": {prepare: func(w *world, r *Roster) host {
			h := w.issue(0, nil, keys.Profile{})
			r.Apply(h.item())
			w.now = time.Unix(0, 0)
			return h
		}},
		"revoked member": {prepare: func(w *world, r *Roster) host {
			h := w.issue(0, nil, keys.Profile{})
			r.Apply(h.item())
			r.Apply(w.revoke(1, keys.Revocation{Node: h.Node}))
			return h
		}, never: true},
		"revoked before it was known": {prepare: func(w *world, r *Roster) host {
			h := w.issue(0, nil, keys.Profile{})
			r.Apply(w.revoke(1, keys.Revocation{Node: h.Node}))
			return h
		}, never: true},
		"a new certificate of a revoked member": {prepare: func(w *world, r *Roster) host {
			h := w.issue(0, nil, keys.Profile{})
			r.Apply(w.revoke(1, keys.Revocation{Node: h.Node}))
			return w.issue(1, h.Identity, keys.Profile{NotBefore: start.Add(time.Minute)})
		}, never: true},
		"revoked certificate": {prepare: func(w *world, r *Roster) host {
			h := w.issue(0, nil, keys.Profile{})
			r.Apply(h.item())
			r.Apply(w.revoke(1, keys.Revocation{Serial: h.Serial, Issuer: h.Issuer}))
			return h
		}, never: true},
		"a certificate older than a revoked one": {prepare: func(w *world, r *Roster) host {
			old := w.issue(0, nil, keys.Profile{})
			h := w.issue(0, old.Identity, keys.Profile{NotBefore: start.Add(time.Minute)})
			r.Apply(h.item())
			r.Apply(w.revoke(1, keys.Revocation{Serial: h.Serial, Issuer: h.Issuer}))
			return old
		}, never: true},
		"a new certificate after a revoked one": {prepare: func(w *world, r *Roster) host {
			h := w.issue(0, nil, keys.Profile{})
			r.Apply(h.item())
			r.Apply(w.revoke(1, keys.Revocation{Serial: h.Serial, Issuer: h.Issuer}))
			return w.issue(1, h.Identity, keys.Profile{NotBefore: start.Add(time.Minute)})
		}},
		"member that left": {prepare: func(w *world, r *Roster) host {
			h := w.issue(0, nil, keys.Profile{})
			r.Apply(h.item())
			r.Apply(h.leaves())
			return h
		}, never: true},
		"a signer that the log does not name yet": {prepare: func(w *world, r *Roster) host {
			ca := must(keys.NewCA(w.authority.Network, "lab", w.authority.Prefixes(), must(keys.NewIdentity()).ID(), start))
			w.cas[1] = ca
			return w.issue(1, nil, keys.Profile{})
		}, want: keys.ErrUnknownSigner},
		"a signer that was removed": {prepare: func(w *world, r *Roster) host {
			h := w.issue(1, nil, keys.Profile{})
			r.Apply(h.item())
			r.Apply(w.drop(1, keys.Keep{}))
			return h
		}, want: keys.ErrUnknownSigner},
		"another network": {prepare: func(*world, *Roster) host { return newWorld().issue(0, nil, keys.Profile{}) }, never: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			r := w.roster()
			h := tt.prepare(w, r)
			err := r.Trust(h.Certificate)
			switch {
			case tt.never && (err == nil || isUnknown(err)):
				t.Errorf("Trust = %v, want a no for good", err)
			case tt.want != nil && (!isUnknown(err) || !isError(err, tt.want)):
				t.Errorf("Trust = %v, want %v, and that it may change", err, tt.want)
			case !tt.never && tt.want == nil && err != nil:
				t.Errorf("Trust = %v, want nil", err)
			}
		})
	}
}

// TestSignerRemoved: with a signer goes what it signed, but for what the entry that removes it keeps.
func TestSignerRemoved(t *testing.T) {
	w := newWorld()
	r := w.roster()
	kept, lost, other, back, gone := w.issue(1, nil, keys.Profile{}), w.issue(1, nil, keys.Profile{}), w.issue(0, nil, keys.Profile{}),
		w.issue(0, nil, keys.Profile{}), w.issue(0, nil, keys.Profile{})
	expelled, stays := w.revoke(1, keys.Revocation{Node: back.Node}), w.revoke(1, keys.Revocation{Node: gone.Node})
	grant, invite := w.grant(1, 1)
	learn(t, r, []*gossip.Item{kept.item(), lost.item(), other.item(), back.item(), gone.item(), expelled, stays, grant})
	if got := nodes(r); !equalNodes(got, kept, lost, other) || r.Grant(invite) == nil {
		t.Fatalf("before: members %v, want kept, lost and other", got)
	}
	before := r.Member(other.Node)
	r.Apply(w.drop(1, keys.Keep{
		Certificates: [][32]byte{sum(kept.DER)}, Revocations: [][32]byte{sum(stays.Body)},
	}))
	if got := nodes(r); !equalNodes(got, kept, other, back) {
		t.Errorf("members %v, want kept, other and back", got)
	}
	if r.Grant(invite) != nil {
		t.Error("an invite of the removed signer is still good")
	}
	if r.Member(other.Node) != before {
		t.Error("a member of whom nothing changed was replaced")
	}
	if r.Gone(back.Node) || !r.Gone(gone.Node) {
		t.Errorf("revocations: gone %v and %v, want false and true", r.Gone(back.Node), r.Gone(gone.Node))
	}
}

// TestDisputes: of two members with one name, or one address, the senior has it, in every order of arrival.
func TestDisputes(t *testing.T) {
	w := newWorld()
	shared := netip.MustParseAddr("100.64.0.7")
	make := func(since time.Duration, signer int) host {
		id := must(keys.NewIdentity())
		return w.issue(signer, id, keys.Profile{
			Name: "printer", Since: start.Add(since), Addrs: []netip.Addr{id.ID().Addr(w.authority.Network), shared},
		})
	}
	senior, junior, same := make(0, 0), make(time.Second, 1), make(time.Second, 1)
	impostor := w.issue(0, nil, keys.Profile{Name: "printer-" + junior.Node.String()[:6], Since: start.Add(time.Hour)})
	items := []*gossip.Item{
		senior.item(), junior.item(), same.item(), impostor.item(), senior.says(1, true), junior.says(1, true), junior.says(2, false),
	}
	var want string
	permutations(items, 50, func(order []*gossip.Item) {
		r := w.roster()
		learn(t, r, order)
		names := r.Names()
		if got := r.Owners()[shared]; got != senior.Node || names[senior.Node] != "printer" {
			t.Fatalf("the address belongs to %s, the names are %v; want the senior %s", got, names, senior.Node)
		}
		if owner, ok := r.Owner("printer"); !ok || owner != senior.Node {
			t.Fatalf("Owner = %s, want the senior", owner)
		}
		seen := map[string]bool{}
		for _, n := range names {
			if seen[n] || !keys.ValidName(n) {
				t.Fatalf("names %v: one is not a name, or given twice", names)
			}
			seen[n] = true
		}
		if rec := r.Member(junior.Node).Record; rec == nil || rec.Seq != 2 || rec.ReachableUDP {
			t.Fatalf("record %+v, want the newer one", rec)
		}
		got := fmt.Sprint(names)
		if want == "" {
			want = got
		}
		if got != want {
			t.Fatalf("names %s in one order, %s in another", want, got)
		}
	})
}

// TestOrderDoesNotMatter: renewals, revocations, leavings, records and log entries give the same roster in every order.
func TestOrderDoesNotMatter(t *testing.T) {
	w := newWorld()
	first := w.authority
	renewed := w.issue(0, nil, keys.Profile{})
	again := w.issue(0, renewed.Identity, keys.Profile{NotBefore: start.Add(time.Minute), Name: "renewed"})
	twice := w.issue(1, renewed.Identity, keys.Profile{NotBefore: start.Add(time.Minute), Name: "renewed-too"})
	left, bad, serial, lost := w.issue(0, nil, keys.Profile{}), w.issue(0, nil, keys.Profile{}), w.issue(1, nil, keys.Profile{}),
		w.issue(1, nil, keys.Profile{})
	items := []*gossip.Item{
		renewed.item(), again.item(), twice.item(), renewed.says(3, true), renewed.says(3, false), renewed.says(2, true),
		left.item(), left.says(1, true), left.leaves(), bad.item(), bad.says(1, true), w.revoke(0, keys.Revocation{Node: bad.Node}),
		serial.item(), w.revoke(0, keys.Revocation{Serial: serial.Serial, Issuer: serial.Issuer}), lost.item(),
	}
	items = append(items, w.drop(1, keys.Keep{Certificates: [][32]byte{sum(serial.DER), sum(twice.DER)}}))
	want := ""
	permutations(items, 50, func(order []*gossip.Item) {
		r := New(first, func() time.Time { return w.now })
		learn(t, r, order)
		m := r.Member(renewed.Node)
		if m == nil {
			t.Fatalf("the renewed member is missing in %v", nodes(r))
		}
		got := fmt.Sprintf("%v %s %d %v", nodes(r), m.Name, m.Record.Seq, m.Reachable())
		if want == "" {
			want = got
		}
		if got != want || len(r.Members()) != 1 {
			t.Fatalf("one order gives\n%s\nanother\n%s", want, got)
		}
	})
	// What the store remembers is applied in the order of kinds, not verified again.
	permutations(items, 20, func(order []*gossip.Item) {
		slices.SortStableFunc(order, func(a, b *gossip.Item) int { return int(a.Kind) - int(b.Kind) })
		r := New(first, func() time.Time { return w.now })
		for _, it := range order {
			r.Apply(it)
		}
		m := r.Member(renewed.Node)
		if got := fmt.Sprintf("%v %s %d %v", nodes(r), m.Name, m.Record.Seq, m.Reachable()); got != want {
			t.Fatalf("from the store\n%s\nwant\n%s", got, want)
		}
	})
}

// TestInvites: what grants and receipts say, in every order.
func TestInvites(t *testing.T) {
	w := newWorld()
	grant, invite := w.grant(0, 3)
	void, revokedInvite := w.grant(0, 1)
	a, b := must(keys.NewIdentity()).ID(), must(keys.NewIdentity()).ID()
	v4 := netip.MustParseAddr("100.64.0.9")
	items := []*gossip.Item{
		grant, void, w.revoke(1, keys.Revocation{Invite: revokedInvite}),
		w.receipt(0, keys.Receipt{Invite: invite, Node: a, Name: "nas", At: start, Addrs: []netip.Addr{a.Addr(w.authority.Network), v4}}),
		w.receipt(1, keys.Receipt{Invite: invite, Node: b, Name: "nas", At: start.Add(time.Second)}),
		w.receipt(1, keys.Receipt{Invite: invite, Node: a, Name: "nas-2", At: start.Add(time.Minute)}), // the same host at another signer
	}
	want := ""
	permutations(items, 100, func(order []*gossip.Item) {
		r := w.roster()
		learn(t, r, order)
		list := r.Receipts(invite)
		if r.Grant(invite) == nil || r.Grant(revokedInvite) != nil || r.Grant(keys.InviteID{1}) != nil || len(list) != 2 {
			t.Fatalf("%d receipts, want one for each host; a revoked invite has no grant", len(list))
		}
		owner, _ := r.Owner("nas")
		got := fmt.Sprint(list[0].Node, list[0].Name, list[1].Node, owner, r.Taken(v4, b), r.Taken(v4, a))
		if want == "" {
			want = got
		}
		if got != want || r.Taken(v4, a) {
			t.Fatalf("one order gives\n%s\nanother\n%s", want, got)
		}
	})
	r := w.roster()
	learn(t, r, items[:5])
	if owner, ok := r.Owner("nas"); !ok || owner != a || !r.Taken(v4, b) {
		t.Errorf("a name and an address that were promised: owner %s, taken %v; want %s", owner, r.Taken(v4, b), a)
	}
	r.Apply(w.revoke(0, keys.Revocation{Node: a}))
	if owner, _ := r.Owner("nas"); owner != b || r.Taken(v4, b) {
		t.Errorf("after the first host was revoked: owner %s, taken %v; want the second, and a free address", owner, r.Taken(v4, b))
	}
	if _, ok := r.Owner("nobody"); ok {
		t.Error("a name that nobody has is owned")
	}
}

// TestRecords: a record of somebody unknown waits, an older one is skipped, and the same member stays the same value.
func TestRecords(t *testing.T) {
	w := newWorld()
	r := w.roster()
	h := w.issue(0, nil, keys.Profile{})
	if err := r.Verify(h.says(1, true)); !isUnknown(err) {
		t.Errorf("Verify of a stranger's record: %v, want that it cannot be judged yet", err)
	}
	r.Apply(h.says(9, true)) // without a certificate: skipped
	learn(t, r, []*gossip.Item{h.item(), h.says(5, true)})
	m := r.Member(h.Node)
	if r.Apply(h.says(4, false)) != h.Node || r.Member(h.Node) != m || !m.Reachable() {
		t.Errorf("an older record changed the member: %+v", r.Member(h.Node).Record)
	}
	r.Apply(h.says(6, false))
	if r.Member(h.Node) == m || r.Member(h.Node).Reachable() || !m.Reachable() {
		t.Error("a newer record must make a new *Member, and leave the old one as it is")
	}
	renewed := w.issue(0, h.Identity, keys.Profile{NotBefore: start.Add(time.Minute), Name: "new-name"})
	r.Apply(renewed.item())
	if m := r.Member(h.Node); m.Name != "new-name" || m.Record == nil || m.Record.Seq != 6 {
		t.Errorf("after a renewal: %s with record %+v, want the new name and the record of before", m.Name, m.Record)
	}
	r.Apply(h.item())
	if m := r.Member(h.Node); m.Name != "new-name" {
		t.Errorf("an older certificate renamed the member to %s", m.Name)
	}
}

func nodes(r *Roster) (ids []keys.NodeID) {
	for _, m := range r.Members() {
		ids = append(ids, m.Node)
	}
	return ids
}

func equalNodes(got []keys.NodeID, want ...host) bool {
	set := map[keys.NodeID]bool{}
	for _, h := range want {
		set[h.Node] = true
	}
	return len(got) == len(set) && maps.Equal(set, func() map[keys.NodeID]bool {
		m := map[keys.NodeID]bool{}
		for _, id := range got {
			m[id] = true
		}
		return m
	}())
}
