package gossip

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"warren/keys"
)

// lines announces records that the harness does not know, from the first-th on.
func lines(first, n int) *message {
	m := &message{kind: typeHave}
	for i := range n {
		h := line(KindRecord, 0, 1)
		binary.BigEndian.PutUint32(h.key[1:], uint32(first+i))
		m.entries = append(m.entries, h)
	}
	return m
}

// asked returns how many items a neighbour was asked for in this step.
func (h *harness) asked(of keys.NodeID) (n int) {
	to, ms := h.sent(typeWant)
	for i, m := range ms {
		if to[i] == of {
			n += len(m.wants)
		}
	}
	return n
}

// A neighbour that announces what it does not have uses up its own questions, not those of others.
func TestAnnouncementsWithoutEnd(t *testing.T) {
	h := newHarness(t, Config{})
	h.linked(id(1), id(2))
	for i := range 50 {
		h.receive(id(1), lines(i*1000, 1000))
	}
	if got := h.core.Stats().Wants; got > maxWants {
		t.Errorf("%d items asked for, want at most %d", got, maxWants)
	}
	h.receive(id(2), lines(1e6, 1000))
	if got := h.asked(id(2)); got != 1000 {
		t.Errorf("asked the other for %d items, want 1000", got)
	}
}

// A neighbour cannot keep an item away by announcing it first, again and again.
func TestItemWithheld(t *testing.T) {
	h := newHarness(t, Config{})
	h.linked(id(1), id(2))
	h.receive(id(1), lines(0, 1))
	h.receive(id(2), lines(0, 1))
	if h.asked(id(2)) != 0 {
		t.Error("two were asked for the same at once")
	}
	h.now = h.now.Add(wantFor)
	h.receive(id(1), lines(0, 1))
	h.receive(id(2), lines(0, 1))
	if h.asked(id(2)) != 1 {
		t.Error("the second is not asked although the first never answered")
	}
}

// A flood is not looked at beyond a rate, and a new link does not help; others are heard.
func TestFloodIsDropped(t *testing.T) {
	h := newHarness(t, Config{})
	h.linked(id(1), id(2))
	unknown := h.core.codec.encode(&message{kind: typePush, items: []*Item{item(KindRecord, 9, 1, "unknown")}})
	const flood = 200_000 // in 20 s
	for i := range flood {
		h.step(Received{id(1), unknown})
		h.now = h.now.Add(100 * time.Microsecond)
		if i == flood/2 {
			h.step(LinkUp{id(1)})
		}
	}
	if most := (admitBurst + 20*admitRate) / admitLeast; h.rules.asked > most*101/100 {
		t.Errorf("judged %d of %d messages, want at most %d", h.rules.asked, flood, most)
	}
	h.push(id(2), item(KindRecord, 8, 1, "fine"))
	if len(did[Stored](h)) != 1 {
		t.Error("others are not heard")
	}
}

// Answers are bounded, whatever is asked, and so is the work for them.
func TestQuestionsWithoutEnd(t *testing.T) {
	var items []*Item
	for i := range 5000 {
		it := item(KindRecord, 0, 1, string(make([]byte, 200)))
		binary.BigEndian.PutUint32(it.Subject[:], uint32(i)*2654435761)
		items = append(items, it)
	}
	h := newHarness(t, Config{}, items...)
	h.linked(id(1))
	everything := &message{kind: typeHave, listed: make([]byte, 256)}
	want := &message{kind: typeWant}
	for i := range 256 {
		everything.listed[i] = byte(i)
	}
	for _, it := range items[:1000] {
		want.wants = append(want.wants, it.short())
	}
	bytes, start := 0, time.Now()
	for range 2000 {
		for _, m := range []*message{everything, want, {kind: typeBuckets, sums: make([]byte, 256*8)}, {kind: typeRoot}} {
			h.receive(id(1), m)
			for _, s := range did[Send](h) {
				bytes += len(s.Body)
			}
		}
	}
	if bytes > serveBurst+2*MaxMessage*4 {
		t.Errorf("answered with %d bytes at once, want about %d", bytes, serveBurst)
	}
	t.Logf("%d bytes, %v", bytes, time.Since(start))
}

// What came before a forged item in a message was good, and is passed on.
func TestForgedItemEndsItsMessage(t *testing.T) {
	h := newHarness(t, Config{})
	h.linked(id(1), id(2))
	h.push(id(1), item(KindRecord, 3, 1, "good"), item(KindRecord, 4, 1, "forged"), item(KindRecord, 5, 1, "late"))
	to, ms := h.sent(typePush)
	if len(did[Stored](h)) != 1 || !slices.Equal(to, []keys.NodeID{id(2)}) || len(ms[0].items) != 1 {
		t.Errorf("stored %d, passed on to %v", len(did[Stored](h)), to)
	}
}

// Another address does not reconcile with who misbehaved.
func TestNetworkChangedKeepsBans(t *testing.T) {
	h := newHarness(t, Config{})
	h.linked(id(1))
	for range maxStrikes {
		h.step(Received{id(1), []byte("garbage")})
	}
	h.step(NetworkChanged{})
	if got := dialled(h); len(got) != 0 {
		t.Errorf("dialled %v, who is banned", got)
	}
}
