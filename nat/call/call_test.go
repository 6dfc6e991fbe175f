package call

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"warren/keys"
)

var (
	alice = keys.NodeID{1}
	bob   = keys.NodeID{2}
	full  = func() Message {
		m := Message{Kind: Ack, Session: 1<<64 - 1, ClockBack: true, Age: 1234567890 * time.Millisecond}
		for i := range MaxCandidates {
			m.Candidates = append(m.Candidates, keys.Candidate{Kind: 2, Addr: netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 15: byte(i)}), 65535)})
		}
		return m
	}()
)

func equal(t *testing.T, got, want Message) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSealRoundTrip(t *testing.T) {
	v4 := keys.Candidate{Kind: 1, Addr: netip.MustParseAddrPort("192.0.2.1:41641")}
	for _, m := range []Message{
		{Kind: Call},
		{Kind: Go, Session: 7},
		{Kind: Call, Session: 8, Candidates: []keys.Candidate{v4}},
		full,
	} {
		sealed, err := m.Seal([32]byte{9}, alice, bob)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) > MaxSize {
			t.Errorf("%d candidates make %d bytes, over %d", len(m.Candidates), len(sealed), MaxSize)
		}
		got, err := Open(sealed, [32]byte{9}, alice, bob)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, got, m)
	}
}

func TestOpenRefuses(t *testing.T) {
	sealed, err := full.Seal([32]byte{9}, alice, bob)
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), sealed...)
	flipped[40] ^= 1
	for _, c := range []struct {
		name     string
		sealed   []byte
		key      byte
		from, to keys.NodeID
	}{
		{"another key", sealed, 8, alice, bob},
		{"reflected", sealed, 9, bob, alice},
		{"flipped", flipped, 9, alice, bob},
		{"truncated", sealed[:30], 9, alice, bob},
		{"short", sealed[:5], 9, alice, bob},
		{"empty", nil, 9, alice, bob},
		{"long", make([]byte, MaxSize+1), 9, alice, bob},
	} {
		if _, err := Open(c.sealed, [32]byte{c.key}, c.from, c.to); !errors.Is(err, ErrSealed) {
			t.Errorf("%s: error %v, want ErrSealed", c.name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, m := range []Message{{Kind: Call}, full} {
		b, err := m.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		again, err := m.Marshal()
		if err != nil || string(again) != string(b) {
			t.Errorf("%x parsed and written again is %x (%v)", b, again, err)
		}
	})
}
