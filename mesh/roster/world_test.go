package roster

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"warren/keys"
	"warren/mesh/gossip"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// start is when the networks of the tests were founded.
var start = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// world is a network with two signers, whose log has an entry for each, and a clock.
type world struct {
	root      *keys.Root
	authority *keys.Authority
	cas       [2]*keys.CA
	now       time.Time
}

func newWorld() *world {
	w := &world{root: must(keys.NewRoot()), now: start.Add(time.Hour)}
	genesis, _, err := keys.Found(keys.Founding{Name: "lab", Created: start}, w.root, must(keys.NewRoot()).Public())
	if err != nil {
		panic(err)
	}
	w.authority = must(keys.Replay([][]byte{genesis}))
	for i := range w.cas {
		node := must(keys.NewIdentity()).ID()
		w.cas[i] = must(keys.NewCA(w.authority.Network, w.authority.Name, w.authority.Prefixes(), node, start))
		w.append(must(w.authority.AddSigner(w.cas[i].Certificate(), w.root)))
	}
	return w
}

// append makes an entry the newest of the log, and returns it as an item.
func (w *world) append(entry []byte) *gossip.Item {
	w.authority = must(w.authority.Append(entry))
	items := LogItems(w.authority.Entries)
	return items[len(items)-1]
}

// drop removes a signer, and keeps what is named of what it signed.
func (w *world) drop(signer int, keep keys.Keep) *gossip.Item {
	return w.append(must(w.authority.RemoveSigner(w.cas[signer].Key(), keep, w.root)))
}

func (w *world) roster() *Roster { return New(w.authority, func() time.Time { return w.now }) }

// host is somebody with a key and a certificate.
type host struct {
	*keys.Identity
	*keys.Certificate
}

// issue makes a host whose certificate is as the profile says; zero fields are chosen.
func (w *world) issue(signer int, id *keys.Identity, p keys.Profile) host {
	if id == nil {
		id = must(keys.NewIdentity())
	}
	if p.Name == "" {
		p.Name = "h-" + id.ID().String()[:8]
	}
	if p.WG.IsZero() {
		p.WG = must(keys.NewWGPrivate()).Public()
	}
	if p.Since.IsZero() {
		p.Since = start
	}
	if p.NotBefore.IsZero() {
		p.NotBefore = start
	}
	if p.NotAfter.IsZero() {
		p.NotAfter = p.NotBefore.Add(90 * 24 * time.Hour)
	}
	return host{id, must(keys.ParseCertificate(must(w.cas[signer].Issue(p, id.Public()))))}
}

func (h host) item() *gossip.Item { return CertificateItem(h.Certificate) }

// says is a record of the host's; reachable tells records of one seq apart.
func (h host) says(seq uint64, reachable bool) *gossip.Item {
	rec := keys.Record{Node: h.ID(), Seq: seq, ReachableUDP: reachable}
	return RecordItem(&rec, must(keys.SignRecord(rec, h.Identity, h.Network)))
}

func (h host) leaves() *gossip.Item {
	return LeftItem(h.ID(), must(keys.SignLeft(h.Identity, h.Network)))
}

func (w *world) revoke(signer int, rev keys.Revocation) *gossip.Item {
	rev.At = start
	return &gossip.Item{
		Key:  gossip.Key{Kind: gossip.KindRevocation, Subject: revoked(&rev)},
		Body: must(keys.SignRevocation(rev, w.cas[signer])),
	}
}

func (w *world) grant(signer int, uses uint32) (*gossip.Item, keys.InviteID) {
	code := keys.JoinCode{Network: w.authority.Network, Seed: must(keys.NewSeed())}
	inv := code.Invite()
	g := keys.Grant{Invite: inv.ID, Key: must(keys.NewIdentity()).Public(), Uses: uses, Expires: start.Add(time.Hour), Issued: start}
	return GrantItem(&g, must(keys.SignGrant(g, w.cas[signer]))), inv.ID
}

func (w *world) receipt(signer int, rec keys.Receipt) *gossip.Item {
	if len(rec.Addrs) == 0 {
		rec.Addrs = []netip.Addr{rec.Node.Addr(w.authority.Network)}
	}
	return ReceiptItem(&rec, must(keys.SignReceipt(rec, w.cas[signer])))
}

// learn gives items to a roster as gossip does: each is verified first, and what cannot be judged yet is tried again
// later. Of two items with one key only the newer one is kept. A forged item fails the test.
func learn(t *testing.T, r *Roster, items []*gossip.Item) {
	t.Helper()
	store := map[gossip.Key]*gossip.Item{}
	for progress := true; progress; {
		progress = false
		var later []*gossip.Item
		for _, it := range items {
			if !it.Newer(store[it.Key]) {
				continue
			}
			switch err := r.Verify(it); {
			case err == nil:
				store[it.Key] = it
				r.Apply(it)
				progress = true
			case errors.Is(err, gossip.ErrUnknown):
				later = append(later, it)
			default:
				t.Fatalf("item of kind %d: %v", it.Kind, err)
			}
		}
		items = later
	}
}

// permutations calls f with the items in up to n orders, all of them where there are no more.
func permutations(items []*gossip.Item, n int, f func(order []*gossip.Item)) {
	total := 1
	for i := range items {
		total *= i + 1
	}
	if total > n {
		rnd := rand.New(rand.NewPCG(1, 2))
		for range n {
			order := slices.Clone(items)
			rnd.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			f(order)
		}
		return
	}
	var heap func(k int, a []*gossip.Item)
	heap = func(k int, a []*gossip.Item) {
		if k <= 1 {
			f(slices.Clone(a))
			return
		}
		for i := range k {
			heap(k-1, a)
			if k%2 == 0 {
				a[i], a[k-1] = a[k-1], a[i]
			} else {
				a[0], a[k-1] = a[k-1], a[0]
			}
		}
	}
	heap(len(items), slices.Clone(items))
}
