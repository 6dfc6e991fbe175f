package roster

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"warren/keys"
	"warren/mesh/gossip"
)

func isError(err, target error) bool { return errors.Is(err, target) }
func isUnknown(err error) bool       { return errors.Is(err, gossip.ErrUnknown) }
func sum(b []byte) [32]byte          { return sha256.Sum256(b) }

// lie returns the item with another subject or seq than its body has.
func lie(it *gossip.Item, subject bool) *gossip.Item {
	c := *it
	if subject {
		c.Subject[3] ^= 1
	} else {
		c.Seq++
	}
	return &c
}

// spoil returns the item with one bit of its body changed.
func spoil(it *gossip.Item, at int) *gossip.Item {
	c := *it
	c.Body = append([]byte(nil), it.Body...)
	c.Body[(at+len(c.Body))%len(c.Body)] ^= 1
	return &c
}

// TestVerifyForgeries: lies are found whatever their kind, and blamed on who passed them on.
func TestVerifyForgeries(t *testing.T) {
	w, other := newWorld(), newWorld()
	r := w.roster()
	h, victim := w.issue(0, nil, keys.Profile{}), w.issue(0, nil, keys.Profile{})
	grant, invite := w.grant(0, 1)
	receipt := w.receipt(0, keys.Receipt{Invite: invite, Node: h.Node, Name: "a", At: start})
	revocation := w.revoke(0, keys.Revocation{Invite: invite})
	stranger := other.issue(0, h.Identity, keys.Profile{})
	learn(t, r, []*gossip.Item{h.item(), victim.item()})

	foreign := keys.Record{Node: h.Node, Seq: 1}
	foreignItem := RecordItem(&foreign, must(keys.SignRecord(foreign, h.Identity, other.authority.Network)))
	stolen := *h.says(7, true)
	stolen.Subject = victim.Node

	for name, it := range map[string]*gossip.Item{
		"certificate under another subject": lie(h.item(), true),
		"certificate with another seq":      lie(h.item(), false),
		"certificate with a bad signature":  spoil(h.item(), -1),
		"certificate of another network":    stranger.item(),
		"record under another subject":      &stolen,
		"record with another seq":           lie(h.says(1, true), false),
		"record with a bad signature":       spoil(h.says(1, true), -1),
		"record of another network":         foreignItem,
		"left of another":                   {Key: gossip.Key{Kind: gossip.KindLeft, Subject: victim.Node}, Body: h.leaves().Body},
		"grant under another subject":       lie(grant, true),
		"grant with a seq":                  lie(grant, false),
		"grant with a bad signature":        spoil(grant, -1),
		"receipt under another subject":     lie(receipt, true),
		"revocation under another subject":  lie(revocation, true),
		"revocation with a bad signature":   spoil(revocation, -1),
		"a kind that does not exist":        {Key: gossip.Key{Kind: 99}, Body: []byte{1}},
		"log entry under another subject":   lie(LogItems(w.authority.Entries)[2], true),
		"no CBOR":                           {Key: gossip.Key{Kind: gossip.KindGrant}, Body: []byte("hello")},
	} {
		if err := r.Verify(it); err == nil || isUnknown(err) {
			t.Errorf("%s: Verify = %v, want an error that blames", name, err)
		}
	}
	// A log entry that follows the head but is signed by nobody who may.
	entry := must(other.authority.SetPolicy(keys.Policy{StrictExpiry: true}, other.root))
	forged := LogItems([][]byte{entry})[0]
	forged.Seq = uint64(len(w.authority.Entries))
	if err := r.Verify(forged); err == nil {
		t.Error("Verify took a log entry of another network")
	}
}

// TestVerifyUnknown: what an honest neighbour may pass on is never held against it, though it may not be judged now.
func TestVerifyUnknown(t *testing.T) {
	w := newWorld()
	r := w.roster()
	h := w.issue(0, nil, keys.Profile{})
	late := w.issue(0, nil, keys.Profile{})
	policy := must(w.authority.SetPolicy(keys.Policy{StrictExpiry: true}, w.root))
	first := w.append(policy)
	second := w.append(must(w.authority.SetPolicy(keys.Policy{}, w.root)))
	fork := must(r.authority.SetPolicy(keys.Policy{Lifetime: time.Hour}, w.root))
	for name, it := range map[string]*gossip.Item{
		"record without a certificate": h.says(1, true),
		"left without a certificate":   h.leaves(),
		"a log entry too early":        second,
		"certificate from tomorrow":    w.issue(0, nil, keys.Profile{NotBefore: w.now.Add(time.Hour)}).item(),
	} {
		if err := r.Verify(it); !isUnknown(err) {
			t.Errorf("%s: Verify = %v, want that it cannot be judged yet", name, err)
		}
	}
	learn(t, r, []*gossip.Item{first})
	if err := r.Verify(LogItems([][]byte{policy, policy, fork})[2]); !isUnknown(err) {
		t.Errorf("another entry at a place that is taken: %v", err)
	}
	next := LogItems([][]byte{policy, policy, policy, policy, fork})[4]
	if err := r.Verify(next); !isUnknown(err) {
		t.Errorf("the entry of a fork: Verify = %v, want no blame", err)
	}
	// Certificate, record and last word of somebody who is gone: all must keep the same items, whatever came first.
	r.Apply(w.revoke(0, keys.Revocation{Node: late.Node}))
	for _, it := range []*gossip.Item{late.item(), late.says(1, true)} {
		if err := r.Verify(it); err != nil {
			t.Errorf("an item of kind %d of a revoked member: %v, want that it is kept", it.Kind, err)
		}
		r.Apply(it)
	}
	if r.Member(late.Node) != nil || r.Trust(late.Certificate) == nil {
		t.Error("a revoked member came back with its certificate")
	}
}

// TestForgedItemsAreCounted: the gossip core with a roster as its judge drops and counts what is forged, stores nothing of
// it, and hangs up on who goes on; it goes on with who passes on what cannot be judged.
func TestForgedItemsAreCounted(t *testing.T) {
	w := newWorld()
	r := w.roster()
	self, peer := w.issue(0, nil, keys.Profile{}), w.issue(0, nil, keys.Profile{})
	for _, who := range []host{self, peer} {
		r.Apply(who.item())
	}
	core := gossip.New(gossip.Config{Self: self.Node, Seed: 1, Verifier: r}, []*gossip.Item{self.item(), peer.item()})
	// The other side's core makes the messages; it believes everything.
	sender := gossip.New(gossip.Config{Self: peer.Node, Seed: 2, Verifier: gullible{}}, nil)
	members := []gossip.Member{{ID: self.Node}, {ID: peer.Node}}
	sender.Step(w.now, gossip.Roster{Members: members}, nil)
	sender.Step(w.now, gossip.LinkUp{Peer: self.Node}, nil)
	core.Step(w.now, gossip.Roster{Members: members}, nil)
	core.Step(w.now, gossip.LinkUp{Peer: peer.Node}, nil)
	push := func(it *gossip.Item) (acts []gossip.Action) {
		for _, a := range sender.Step(w.now, gossip.Publish{Item: it}, nil) {
			if s, ok := a.(gossip.Send); ok {
				acts = core.Step(w.now, gossip.Received{Peer: peer.Node, Body: s.Body}, acts)
			}
		}
		return acts
	}
	for i := range 5 {
		push(w.issue(0, nil, keys.Profile{NotBefore: w.now.Add(time.Duration(i+1) * time.Hour)}).says(1, true))
	}
	if s := core.Stats(); s.Unknown != 5 || s.Forged != 0 || s.Links != 1 {
		t.Errorf("after items that cannot be judged: %+v, want 5 unknown and the link", s)
	}
	before := core.Len()
	hungUp := false
	for range 3 {
		h := w.issue(0, nil, keys.Profile{})
		for _, a := range push(spoil(h.item(), -1)) {
			if _, ok := a.(gossip.Hangup); ok {
				hungUp = true
			}
		}
		if r.Member(h.Node) != nil {
			t.Error("a forged certificate made a member")
		}
	}
	if s := core.Stats(); s.Forged != 3 || core.Len() != before || !hungUp {
		t.Errorf("after forged items: %+v, %d items (before: %d), hung up %v", s, core.Len(), before, hungUp)
	}
}

type gullible struct{}

func (gullible) Verify(*gossip.Item) error { return nil }
