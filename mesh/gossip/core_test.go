package gossip

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"warren/keys"
)

func id(b byte) (n keys.NodeID) {
	n[0], n[31] = b, b
	return n
}

// rules judges items by their bodies.
type rules struct{ asked int }

var errBad = errors.New("bad signature")

func (r *rules) Verify(it *Item) error {
	r.asked++
	switch string(it.Body) {
	case "forged":
		return errBad
	case "unknown":
		return fmt.Errorf("no certificate: %w", ErrUnknown)
	}
	return nil
}

// harness drives one core; self is id(100).
type harness struct {
	t     *testing.T
	core  *Core
	rules *rules
	now   time.Time
	acts  []Action
	wake  time.Time
}

func newHarness(t *testing.T, cfg Config, items ...*Item) *harness {
	h := &harness{t: t, rules: &rules{}, now: time.Unix(1e9, 0)}
	cfg.Self, cfg.Verifier = id(100), h.rules
	h.core = New(cfg, items)
	return h
}

// step does one step; acts are then those of this step.
func (h *harness) step(ev Event) {
	h.acts = h.core.Step(h.now, ev, nil)
	for _, a := range h.acts {
		if w, ok := a.(Wake); ok {
			h.wake = w.At
		}
	}
}

// run lets time pass, ticking when asked to, and collects the actions.
func (h *harness) run(d time.Duration) (all []Action) {
	for end := h.now.Add(d); ; {
		if h.wake.IsZero() || h.wake.After(end) {
			h.now = end
			h.acts = all
			return all
		}
		h.now, h.wake = h.wake, time.Time{}
		h.step(Tick{})
		all = append(all, h.acts...)
	}
}

// linked makes the ids the roster, together with self, and links them.
func (h *harness) linked(ids ...keys.NodeID) {
	h.roster(ids...)
	for _, n := range ids {
		h.step(LinkUp{n})
	}
}

func (h *harness) roster(ids ...keys.NodeID) {
	members := []Member{{ID: id(100)}}
	for _, n := range ids {
		members = append(members, Member{ID: n})
	}
	h.step(Roster{members})
}

func (h *harness) receive(from keys.NodeID, m *message) {
	h.step(Received{from, h.core.codec.encode(m)})
}

func (h *harness) push(from keys.NodeID, items ...*Item) {
	h.receive(from, &message{kind: typePush, items: items})
}

// did returns the actions of one type.
func did[A Action](h *harness) (found []A) {
	for _, a := range h.acts {
		if a, ok := a.(A); ok {
			found = append(found, a)
		}
	}
	return found
}

// sent returns the messages of one kind, with those they went to.
func (h *harness) sent(kind uint8) (to []keys.NodeID, messages []*message) {
	for _, s := range did[Send](h) {
		m, err := h.core.codec.decode(s.Body)
		if err != nil {
			h.t.Fatalf("sent %x: %v", s.Body, err)
		}
		if m.kind == kind {
			to, messages = append(to, s.Peer), append(messages, m)
		}
	}
	return to, messages
}

func TestPushPassesOnWhatIsNewerOnce(t *testing.T) {
	h := newHarness(t, Config{})
	h.linked(id(1), id(2), id(3))
	tests := []struct {
		name string
		item *Item
		want bool
	}{
		{"first", item(KindRecord, 9, 5, "a"), true},
		{"same again", item(KindRecord, 9, 5, "a"), false},
		{"older", item(KindRecord, 9, 4, "b"), false},
		{"newer", item(KindRecord, 9, 6, "c"), true},
		{"forged", item(KindRecord, 9, 7, "forged"), false},
		{"unknown", item(KindRecord, 9, 7, "unknown"), false},
	}
	for _, tt := range tests {
		h.push(id(1), tt.item)
		to, _ := h.sent(typePush)
		if got := len(did[Stored](h)) == 1; got != tt.want {
			t.Errorf("%s: stored %v, want %v", tt.name, got, tt.want)
		}
		if want := []keys.NodeID{id(2), id(3)}; tt.want != slices.Equal(to, want) {
			t.Errorf("%s: passed on to %v, want %v: %v", tt.name, to, want, tt.want)
		}
	}
	if got := h.core.Get(item(KindRecord, 9, 0, "").Key); got.Seq != 6 {
		t.Errorf("stored seq: got %d, want 6", got.Seq)
	}
	if h.rules.asked != 4 {
		t.Errorf("verifications: got %d, want 4", h.rules.asked)
	}
}

// Two bodies with one sequence number give one winner in whatever order they come.
func TestEquivocationHasOneWinner(t *testing.T) {
	a, b := item(KindRecord, 9, 1, "a"), item(KindRecord, 9, 1, "b")
	x, y := newHarness(t, Config{}), newHarness(t, Config{})
	for h, items := range map[*harness][]*Item{x: {a, b}, y: {b, a}} {
		h.linked(id(1))
		h.push(id(1), items[0])
		h.push(id(1), items[1])
	}
	if x.core.Root() != y.core.Root() {
		t.Errorf("roots differ: %q and %q won", x.core.Get(a.Key).Body, y.core.Get(a.Key).Body)
	}
}

func TestForgeryEndsTheLink(t *testing.T) {
	h := newHarness(t, Config{})
	h.linked(id(1), id(2))
	for i := range 3 {
		h.push(id(1), item(KindRecord, 9, uint64(i), "forged"))
		if got := len(did[Misbehaved](h)); got != 1 {
			t.Errorf("forgery %d: %d misbehaviours, want 1", i, got)
		}
	}
	if got := did[Hangup](h); len(got) != 1 || got[0].Peer != id(1) {
		t.Errorf("after three: got hang-ups %v", got)
	}
	h.step(LinkUp{id(1)})
	if got := did[Hangup](h); len(got) != 1 {
		t.Errorf("a banned peer's new link: got hang-ups %v", got)
	}
	h.run(10 * time.Minute)
	h.step(LinkUp{id(1)})
	if got := did[Hangup](h); len(got) != 0 {
		t.Errorf("link after the ban: got hang-ups %v", got)
	}
}

func TestRateLimit(t *testing.T) {
	h := newHarness(t, Config{})
	h.linked(id(1), id(2))
	stored := 0
	for i := range 1000 {
		h.push(id(1), item(KindRecord, 9, uint64(i+1), "v"))
		stored += len(did[Stored](h))
		h.now = h.now.Add(100 * time.Millisecond)
	}
	if stored < 13 || stored > 17 { // the first, a burst of five, ten in 100 s
		t.Errorf("accepted %d of 1000 updates in 100 s, want about 16", stored)
	}
	if h.rules.asked != stored {
		t.Errorf("verified %d times for %d items", h.rules.asked, stored)
	}
}

// Own records published in haste reach others at a rate that they accept, the last one surely.
func TestOwnPushesArePaced(t *testing.T) {
	a, b := newHarness(t, Config{}), newHarness(t, Config{})
	a.linked(id(1))
	b.linked(id(2))
	deliver := func() {
		_, ms := a.sent(typePush)
		for _, m := range ms {
			b.push(id(2), m.items...)
		}
	}
	for i := range 50 {
		a.step(Publish{item(KindRecord, 100, uint64(i+1), "mine")})
		if len(did[Stored](a)) != 1 {
			t.Fatalf("publish %d was not stored", i)
		}
		deliver()
		a.run(time.Second)
		b.now = a.now
		deliver()
	}
	a.run(30 * time.Second)
	b.now = a.now
	deliver()
	if got := b.core.Get(item(KindRecord, 100, 0, "").Key); got == nil || got.Seq != 50 {
		t.Errorf("the other has %v, want seq 50", got)
	}
	if limited := b.core.Stats().Limited; limited > 0 {
		t.Errorf("the other dropped %d pushes", limited)
	}
}

func TestLeftDropsTheRecord(t *testing.T) {
	h := newHarness(t, Config{}, item(KindRecord, 9, 5, "r"), item(KindCertificate, 9, 5, "c"))
	h.linked(id(1))
	h.push(id(1), item(KindLeft, 9, 0, "bye"))
	if got := did[Removed](h); len(got) != 1 || got[0].Key != item(KindRecord, 9, 0, "").Key {
		t.Errorf("removed: got %v", got)
	}
	h.push(id(1), item(KindRecord, 9, 6, "again"))
	if got := did[Stored](h); len(got) > 0 {
		t.Errorf("stored the record of one that left: %v", got)
	}
	again := New(Config{Self: id(100), Verifier: h.rules}, []*Item{
		item(KindRecord, 9, 6, "r"), item(KindCertificate, 9, 5, "c"), item(KindLeft, 9, 0, "bye"),
	})
	if again.Root() != h.core.Root() {
		t.Errorf("after a restart: %d items, want %d", again.Len(), h.core.Len())
	}
}

// Two cores become equal by comparing, whatever each has, and then are silent.
func TestCompare(t *testing.T) {
	var left, right []*Item
	for i := range 2000 {
		it := item(KindRecord, byte(i), uint64(i), fmt.Sprint(i))
		it.Subject[1], it.Subject[2] = byte(i>>8), byte(i*7)
		switch i % 5 {
		case 0:
			left = append(left, it)
		case 1:
			right = append(right, it)
		default:
			left, right = append(left, it), append(right, it)
		}
	}
	a, b := newHarness(t, Config{}, left...), newHarness(t, Config{}, right...)
	a.linked(id(1))
	b.linked(id(1))
	a.run(5 * time.Second) // the one with the higher id waits before it compares
	b.now = a.now
	from, to := a, b
	pending := map[*harness][]Send{a: did[Send](a)}
	for rounds := 0; len(pending[a])+len(pending[b]) > 0; rounds++ {
		if rounds > 200 {
			t.Fatal("no end of messages")
		}
		in := pending[from]
		pending[from] = nil
		for _, s := range in {
			to.step(Received{id(1), s.Body})
			pending[to] = append(pending[to], did[Send](to)...)
		}
		from, to = to, from
	}
	if a.core.Root() != b.core.Root() || a.core.Len() != 2000 {
		t.Errorf("after the comparison: %d and %d items, want 2000 equal ones", a.core.Len(), b.core.Len())
	}
}

func TestItemsAreSorted(t *testing.T) {
	h := newHarness(t, Config{}, item(KindLog, 1, 2, "c"), item(KindLog, 9, 0, "a"), item(KindLog, 5, 1, "b"),
		item(KindRecord, 200, 1, "z"), item(KindRecord, 3, 9, "y"), item(9, 1, 1, "no kind"))
	var got string
	for _, k := range []Kind{KindLog, KindRecord, 9, 0} {
		for it := range h.core.Items(k) {
			got += string(it.Body)
		}
	}
	if want := "abcyz"; got != want {
		t.Errorf("items: got %q, want %q", got, want)
	}
}

func TestGarbageIsCounted(t *testing.T) {
	h := newHarness(t, Config{})
	h.linked(id(1))
	h.step(Received{id(1), []byte("garbage")})
	h.step(Received{id(7), []byte("of nobody")})
	h.step(Received{id(1), []byte{0x82, 0x10, 0x00}})
	if st := h.core.Stats(); st.Malformed != 1 || st.Skipped != 1 {
		t.Errorf("got %d malformed and %d skipped, want 1 and 1", st.Malformed, st.Skipped)
	}
}
