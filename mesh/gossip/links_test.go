package gossip

import (
	"slices"
	"testing"
	"time"

	"warren/keys"
)

func ids(n int) (list []keys.NodeID) {
	for i := range n {
		list = append(list, keys.NodeID{byte(i >> 8), byte(i), 1})
	}
	return list
}

func dialled(h *harness) (list []keys.NodeID) {
	for _, d := range did[Dial](h) {
		list = append(list, d.Peer)
	}
	return list
}

func TestSmallRosterIsDialledAtOnce(t *testing.T) {
	h := newHarness(t, Config{})
	h.roster(ids(7)...)
	if got := dialled(h); !slices.Equal(got, ids(7)) {
		t.Errorf("dialled %v, want all", got)
	}
}

func TestBackOffIsCapped(t *testing.T) {
	h := newHarness(t, Config{})
	h.roster(id(1))
	var gaps []time.Duration
	for range 12 {
		failed := h.now
		h.step(DialFailed{id(1)})
		for len(dialled(h)) == 0 {
			h.run(100 * time.Millisecond)
		}
		gaps = append(gaps, h.now.Sub(failed))
	}
	if gaps[0] > 2*time.Second || gaps[11] < 45*time.Second || gaps[11] > 75*time.Second {
		t.Errorf("gaps between dials: got %v, want 1 s doubling to about 60 s", gaps)
	}
	h.step(DialFailed{id(1)})
	h.step(NetworkChanged{})
	if len(dialled(h)) != 1 {
		t.Error("no dial at once after the network changed")
	}
}

func TestLargeRoster(t *testing.T) {
	h := newHarness(t, Config{})
	members := []Member{{ID: id(100)}}
	for i, n := range ids(100) {
		members = append(members, Member{ID: n, Public: i == 77})
	}
	h.step(Roster{members})
	links := map[keys.NodeID]bool{}
	for range 100 {
		for _, n := range dialled(h) {
			if links[n] {
				t.Errorf("dialled %v twice", n)
			}
			links[n] = true
			h.step(LinkUp{n})
		}
		h.run(100 * time.Millisecond)
	}
	if n := len(links); n < 6 || n > 9 {
		t.Errorf("%d links, want 6 to 9", n)
	}
	if !links[ids(100)[77]] {
		t.Error("the only public member is not linked")
	}
	// Links that others dial are welcome, but not without end.
	for _, n := range ids(100) {
		h.step(LinkUp{n})
	}
	h.run(10 * time.Minute)
	if n := h.core.Stats().Links; n > 12 {
		t.Errorf("%d links 10 min after 100 came, want at most 12", n)
	}
	if _, ok := h.core.topology.member(ids(100)[77]); !ok || !h.core.topology.hasPublic(keys.NodeID{}) {
		t.Error("the only public member was hung up")
	}
}

// A host without network tries, but not without pause, and asks for few wake-ups.
func TestNobodyReachable(t *testing.T) {
	h := newHarness(t, Config{})
	members := make([]Member, 2000)
	for i, n := range ids(2000) {
		members[i] = Member{ID: n, Public: i < 3}
	}
	h.step(Roster{members})
	dials, wakes := 0, 0
	for range 3600 {
		for _, n := range dialled(h) {
			dials++
			h.step(DialFailed{n})
		}
		h.run(time.Second)
		wakes += len(did[Wake](h))
	}
	if dials < 100 || dials > 1000 {
		t.Errorf("%d dials in an hour, want some hundred", dials)
	}
	if wakes > 3600 {
		t.Errorf("%d wake-ups in an hour, want less than one a second", wakes)
	}
}

func TestFormerMemberIsHungUp(t *testing.T) {
	h := newHarness(t, Config{})
	h.linked(id(1), id(2))
	h.roster(id(2))
	if got := did[Hangup](h); len(got) != 1 || got[0].Peer != id(1) {
		t.Errorf("hang-ups: got %v, want one of the former member", got)
	}
	// One whose certificate has not arrived has some time.
	h.step(LinkUp{id(3)})
	h.run(10 * time.Second)
	if len(did[Hangup](h)) > 0 {
		t.Error("a new link was hung up before its certificate could arrive")
	}
	h.run(30 * time.Second)
	if got := did[Hangup](h); len(got) != 1 || got[0].Peer != id(3) {
		t.Errorf("hang-ups: got %v, want one of the stranger", got)
	}
}

func TestStalestMembersAreProbed(t *testing.T) {
	h := newHarness(t, Config{})
	h.linked(ids(9)...)
	h.step(Roster{slices.Collect(func(yield func(Member) bool) {
		for _, n := range ids(60) {
			if !yield(Member{ID: n}) {
				return
			}
		}
	})})
	probed := map[keys.NodeID]bool{}
	for range 30 * 60 {
		h.run(time.Second)
		for _, n := range dialled(h) {
			probed[n] = true
			h.step(DialFailed{n})
		}
	}
	if len(probed) < 25 {
		t.Errorf("probed %d members in 30 min, want about 30", len(probed))
	}
}

func BenchmarkReceivePush(b *testing.B) {
	h := newHarness(nil, Config{})
	h.linked(ids(7)...)
	body := h.core.codec.encode(&message{kind: typePush, items: []*Item{item(KindRecord, 9, 1, string(make([]byte, 200)))}})
	b.ReportAllocs()
	for b.Loop() {
		h.core.Step(h.now, Received{ids(7)[0], body}, nil)
	}
}
