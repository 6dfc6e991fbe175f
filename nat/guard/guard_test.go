package guard

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

func id(n int) (id [12]byte) {
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return id
}

func TestReplay(t *testing.T) {
	start := time.Unix(1000, 0)
	r := NewReplay(time.Minute, 100)
	for _, c := range []struct {
		after time.Duration
		id    int
		want  bool
	}{
		{0, 1, false},
		{0, 1, true},
		{time.Second, 2, false},
		{59 * time.Second, 1, true},
		{100 * time.Second, 2, true},
		{10 * time.Minute, 3, false},
		{20 * time.Minute, 1, false},
	} {
		if got := r.Again(id(c.id), start.Add(c.after)); got != c.want {
			t.Errorf("after %v: id %d again is %v, want %v", c.after, c.id, got, c.want)
		}
	}
	for i := range 1000 {
		r.Again(id(1000+i), start)
	}
	if got := len(r.now) + len(r.older); got > 200 {
		t.Errorf("%d ids remembered", got)
	}
}

func TestFlood(t *testing.T) {
	now := time.Unix(1000, 0)
	f := NewFlood(50)
	from, same := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	for i := range 50 {
		if f.Full(from, now) {
			t.Fatalf("full after %d", i)
		}
		f.Bad(from, now)
	}
	f.Bad(from, now)
	if !f.Full(same, now) {
		t.Error("the same /64 is not full")
	}
	if f.Full(from, now.Add(time.Second)) {
		t.Error("still full a second later")
	}
}
