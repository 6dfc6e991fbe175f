package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"warren/mesh/gossip"
)

func TestSmallNetworksAreFullMeshes(t *testing.T) {
	for n := 1; n <= 9; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := New(Config{Nodes: n, Seed: seed(t), Loss: 0.02})
			s.Run(5 * time.Second)
			for i := range n {
				got, want := len(s.Core(i).Links()), n-1
				if n > 8 {
					want = 6 // at least
				}
				if got < want {
					t.Errorf("member %d of %d has %d links, want %d", i, n, got, want)
				}
			}
			s.Publish(0)
			s.Run(6 * time.Second)
			if err := s.Equal(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A member that was away finds all the others again, and they it, though the founder is gone.
func TestRestartWithoutFounder(t *testing.T) {
	s := New(Config{Nodes: 4, Seed: seed(t), Loss: 0.02})
	s.Run(10 * time.Second)
	s.Crash(0)
	s.Crash(3)
	s.Run(10 * time.Minute)
	s.Publish(1)
	s.Start(3)
	s.Run(s.Now() + 2*time.Second)
	for _, i := range []int{1, 2, 3} {
		if got := len(s.Core(i).Links()); got != 2 {
			t.Errorf("member %d has %d links 2 s after the restart, want 2", i, got)
		}
	}
	if err := s.Equal(); err != nil {
		t.Error(err)
	}
}

func TestColdStart(t *testing.T) {
	n := size(200)
	s := New(Config{Nodes: n, Seed: seed(t), Loss: 0.02, Cold: true})
	took := settle(t, s, 2*time.Minute)
	t.Logf("%d members that knew only the founder: equal after %v, %.0f B each", n, took, float64(s.Stats().Bytes)/float64(n))
	if got := s.Core(n - 1).Len(); got != 2*n {
		t.Errorf("items: got %d, want %d", got, 2*n)
	}
}

func TestMassRestart(t *testing.T) {
	n := size(300)
	s := New(Config{Nodes: n, Seed: seed(t), Loss: 0.02})
	s.Run(10 * time.Second)
	for i := range n / 2 {
		s.Publish(i)
	}
	s.Run(10*time.Second + 50*time.Millisecond) // some have these, some not
	for i := range n {
		s.Crash(i)
	}
	s.Run(s.Now() + time.Minute)
	if s.Equal() != nil {
		t.Fatal(s.Equal())
	}
	for i := range n {
		s.At(s.Now()+time.Duration(s.rand.Int64N(int64(time.Second))), func() { s.Start(i) })
		s.nodes[i].sent = 0
	}
	s.Run(s.Now() + time.Second)
	took := settle(t, s, 2*time.Minute)
	var most uint64
	for _, nd := range s.nodes {
		most = max(most, nd.sent)
	}
	t.Logf("%d members restarted in one second: equal after %v more, at most %d B sent by one", n, took, most)
	if most > 2e6 {
		t.Errorf("one member sent %d bytes, want at most 2 MB", most)
	}
}

func TestChurn(t *testing.T) {
	n := size(200)
	s := New(Config{Nodes: n, Seed: seed(t), Loss: 0.05})
	updates(s, 300*time.Second, 10*time.Minute)
	for at := 10 * time.Second; at < 10*time.Minute; at += 2 * time.Second {
		s.At(at, func() {
			i := s.rand.IntN(n)
			if s.Core(i) == nil {
				s.Start(i)
			} else if i > n/20 { // some always run
				s.Crash(i)
			}
		})
	}
	s.Run(10 * time.Minute)
	for i := range n {
		if s.Core(i) == nil {
			s.Start(i)
		}
	}
	t.Logf("%d members with churn: equal after %v", n, settle(t, s, 2*time.Minute))
}

// Two in five pairs cannot link, as behind hard NATs.
func TestBlockedPairs(t *testing.T) {
	n := size(150)
	s := New(Config{Nodes: n, Seed: seed(t), Loss: 0.1})
	for i := range n {
		for j := range i {
			if s.rand.IntN(5) < 2 && i%5 != 0 && j%5 != 0 { // public ones are reached
				s.net.block(i, j)
			}
		}
	}
	updates(s, 300*time.Second, 5*time.Minute)
	s.Run(5 * time.Minute)
	settle(t, s, time.Minute)
	for i := range n {
		if got := len(s.Core(i).Links()); got < 5 {
			t.Errorf("member %d has %d links", i, got)
		}
	}
}

// A member that left does not come back with one that slept meanwhile.
func TestLeft(t *testing.T) {
	n := size(40)
	s := New(Config{Nodes: n, Seed: seed(t), Loss: 0.02})
	s.Run(10 * time.Second)
	s.Crash(3)
	gone := s.nodes[7]
	last := sign(gone.key, gossip.Key{Kind: gossip.KindLeft, Subject: gone.ID}, 0, []byte("left"))
	s.authority.good[verdict{last.Key, 0}] = last
	s.step(7, gossip.Publish{Item: last})
	s.Run(s.Now() + 3*time.Second)
	s.Crash(7)
	s.Run(s.Now() + time.Minute)
	s.Start(3)
	s.Run(s.Now() + time.Minute)
	if err := s.Equal(); err != nil {
		t.Error(err)
	}
	for i := range n {
		if c := s.Core(i); c != nil && c.Get(gossip.Key{Kind: gossip.KindRecord, Subject: gone.ID}) != nil {
			t.Errorf("member %d still has the record of one that left", i)
		}
	}
}

// A member that lost its disk learns its last sequence number from the others.
func TestLostDisk(t *testing.T) {
	s := New(Config{Nodes: 12, Seed: seed(t)})
	s.Run(5 * time.Second)
	for range 4 {
		s.Publish(2)
		s.Run(s.Now() + 20*time.Second)
	}
	want := s.nodes[2].seq
	s.Crash(2)
	s.nodes[2].seq = 0
	s.nodes[2].disk = s.nodes[2].disk[:0]
	for _, n := range s.nodes {
		s.nodes[2].disk = append(s.nodes[2].disk, n.cert)
	}
	s.Start(2)
	s.Publish(2)
	s.Run(s.Now() + 10*time.Second)
	it := s.Core(5).Get(gossip.Key{Kind: gossip.KindRecord, Subject: s.nodes[2].ID})
	if it == nil || it.Seq != want+1 {
		t.Errorf("record after the loss: got %v, want seq %d", it, want+1)
	}
	if err := s.Equal(); err != nil {
		t.Error(err)
	}
}

// push encodes a push message as a malicious member would.
func push(t *testing.T, items ...*gossip.Item) []byte {
	t.Helper()
	var list []any
	for _, it := range items {
		list = append(list, []any{it.Kind, it.Subject[:], it.Seq, it.Body})
	}
	return encode(t, []any{1, list})
}

func encode(t *testing.T, message []any) []byte {
	t.Helper()
	b, err := cbor.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sendAll sends a message from the malicious member on all its links.
func sendAll(s *Sim, from int, body []byte) {
	for _, p := range s.net.sortedLinks() {
		if p.a == int32(from) || p.b == int32(from) {
			s.net.send(int32(from), p.a+p.b-int32(from), body)
		}
	}
}

// Forged items are never stored and never passed on, and the forger loses its links.
func TestForger(t *testing.T) {
	n := 30
	s := New(Config{Nodes: n, Seed: seed(t)})
	s.Run(10 * time.Second)
	const evil = 4
	s.Corrupt(evil)
	victim := s.nodes[9]
	before := s.Core(1).Root()
	key := gossip.Key{Kind: gossip.KindRecord, Subject: victim.ID}
	forged := sign(s.nodes[evil].key, key, 99, make([]byte, 100))
	altered := *s.Core(evil).Get(key)
	altered.Seq++
	stranger := keyFrom(s.cfg.Seed, "stranger", 0)
	sendAll(s, evil, push(t, forged))
	sendAll(s, evil, push(t, &altered))
	sendAll(s, evil, push(t, sign(stranger, gossip.Key{Kind: gossip.KindCertificate, Subject: s.nodes[1].ID}, 7, make([]byte, 480))))
	sendAll(s, evil, []byte{0x82, 0x01, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	s.Run(20 * time.Second)
	if err := s.Equal(); err != nil {
		t.Error(err)
	}
	if s.Core(1).Root() != before {
		t.Error("the store changed")
	}
	for i := range n {
		if i == evil {
			continue
		}
		if st := s.Core(i).Stats(); st.Stored > 0 {
			t.Errorf("member %d stored %d items", i, st.Stored)
		}
		for _, id := range s.Core(i).Links() {
			if id == s.nodes[evil].ID {
				t.Errorf("member %d is still linked to the forger", i)
			}
		}
	}
}

// A flood of valid updates is passed on at the rate of the policy, and does not slow down others' updates.
func TestFlood(t *testing.T) {
	n := 30
	s := New(Config{Nodes: n, Seed: seed(t)})
	s.Run(10 * time.Second)
	const evil = 4
	s.Corrupt(evil)
	stored := func() (sum uint64) {
		for i := range n {
			sum += s.Core(i).Stats().Stored
		}
		return sum
	}
	before := stored()
	for i := range 6000 { // 100 a second
		s.At(s.Now()+time.Duration(i)*10*time.Millisecond, func() {
			it := s.nodes[evil].record()
			s.authority.good[verdict{it.Key, it.Seq}] = it
			sendAll(s, evil, push(t, it))
		})
	}
	s.Run(s.Now() + 60*time.Second)
	if got, most := float64(stored()-before)/float64(n-1), 5+60.0/10+1; got > most {
		t.Errorf("each member accepted %.1f updates in a minute, want at most %.0f", got, most)
	}
	s.Publish(9)
	s.Run(s.Now() + 3*time.Second)
	for i := range n {
		it := s.Core(i).Get(gossip.Key{Kind: gossip.KindRecord, Subject: s.nodes[9].ID})
		if i != evil && it.Seq != 2 {
			t.Errorf("member %d has seq %d of an honest update, want 2", i, it.Seq)
		}
	}
	s.nodes[evil].malicious, s.malicious = false, 0
	s.Run(s.Now() + 3*time.Minute)
	if err := s.Equal(); err != nil {
		t.Error(err)
	}
}
