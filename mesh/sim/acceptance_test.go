package sim

import (
	"math"
	"slices"
	"testing"
	"time"

	"warren/mesh/gossip"
)

// Three in ten members fall over at once and come back at once: the others stay connected, all become equal.
func TestThirtyPercentRestart(t *testing.T) {
	n := size(500)
	s := New(Config{Nodes: n, Seed: seed(t), Loss: 0.02})
	updates(s, 2000*time.Second, 4*time.Minute)
	s.Run(30 * time.Second)
	down := s.rand.Perm(n)[:n*3/10]
	for _, i := range down {
		s.Crash(i)
	}
	s.Run(2 * time.Minute)
	if got := s.net.islands(); len(got) != 1 {
		t.Errorf("the survivors are islands of %v", got)
	}
	for _, i := range down {
		s.nodes[i].sent = 0
		s.At(s.Now()+time.Duration(s.rand.Int64N(int64(time.Second))), func() { s.Start(i) })
	}
	s.Run(s.Now() + time.Second)
	took := settle(t, s, 2*time.Minute)
	var most uint64
	for _, i := range down {
		most = max(most, s.nodes[i].sent)
	}
	t.Logf("%d of %d members restarted: equal after %v, at most %d B sent by one", len(down), n, took, most)
	if got := s.net.islands(); len(got) != 1 {
		t.Errorf("the links make islands of %v members", got)
	}
}

// The links hold a large network together while members come and go.
func TestConnectedDuringChurn(t *testing.T) {
	n := size(1000)
	s := New(Config{Nodes: n, Seed: seed(t), Loss: 0.02})
	for at := 5 * time.Second; at < 3*time.Minute; at += 100 * time.Second / time.Duration(n) {
		s.At(at, func() {
			if i := s.rand.IntN(n); s.Core(i) == nil {
				s.Start(i)
			} else {
				s.Crash(i)
			}
		})
	}
	outside := 0 // at the worst moment
	for at := 10 * time.Second; at < 5*time.Minute; at += 5 * time.Second {
		s.Run(at)
		got, up := s.net.islands(), 0
		for _, k := range got {
			up += k
		}
		outside = max(outside, up-slices.Max(got))
		if at > 4*time.Minute && len(got) != 1 {
			t.Errorf("%v, a minute after the churn: islands of %v", at, got)
		}
	}
	t.Logf("%d members: at the worst moment %d were not connected", n, outside)
	if outside > 3+n/100 { // who starts, or lost all neighbours, takes a moment
		t.Errorf("at the worst moment %d members were not connected", outside)
	}
}

// Members that send garbage, forge, flood and announce what they do not have, and that link again whenever they are
// hung up, do not keep the honest ones from agreeing, nor sow discord among them.
func TestMaliciousMembers(t *testing.T) {
	const n = 60
	s := New(Config{Nodes: n, Seed: seed(t), Loss: 0.02})
	s.Run(20 * time.Second)
	evil := []int{3, 4, 5, 10} // 5 and 10 are public, so all go there
	for _, i := range evil {
		s.Corrupt(i)
	}
	const end = 3 * time.Minute
	for at := s.Now(); at < end; at += 200 * time.Millisecond {
		s.At(at, func() {
			to := s.rand.IntN(n)
			for _, i := range evil {
				s.net.dial(int32(i), int32(to)) // nobody is left alone for long
			}
			sendAll(s, evil[0], garbage(s))
			if s.rand.IntN(10) == 0 {
				victim := s.nodes[to]
				key := gossip.Key{Kind: gossip.KindRecord, Subject: victim.ID}
				sendAll(s, evil[1], push(t, sign(s.nodes[evil[1]].key, key, victim.seq+1, make([]byte, 100))))
			}
			it := s.nodes[evil[2]].record()
			s.authority.good[verdict{it.Key, it.Seq}] = it
			sendAll(s, evil[2], push(t, it))
			sendAll(s, evil[3], have(t, s))
		})
	}
	updates(s, 300*time.Second, end-40*time.Second)
	s.Run(end)
	st := s.Stats()
	t.Logf("%d members, %d of them malicious: %d blames of these, %d of honest ones, %d records complete, slowest %v, "+
		"%.0f B a member and minute", n, len(evil), st.Caught, st.Misbehaved, st.Complete, st.Slowest, float64(st.Bytes)/n/3)
	for _, i := range evil { // silence, and a last record that all take
		s.Crash(i)
	}
	s.Run(s.Now() + time.Minute)
	if err := s.Equal(); err != nil {
		t.Error(err)
	}
	if st.Misbehaved > 0 {
		t.Errorf("honest members blamed each other %d times", st.Misbehaved)
	}
	if st.Caught == 0 || st.Complete == 0 || st.Slowest > 35*time.Second {
		t.Errorf("%d blames, %d records complete, slowest %v, want at most one comparison's time", st.Caught, st.Complete, st.Slowest)
	}
	if len(s.spread) > 0 {
		t.Errorf("%d records did not reach everybody", len(s.spread))
	}
}

// garbage makes bytes at random, or a real message with some bytes changed.
func garbage(s *Sim) []byte {
	b := make([]byte, 1+s.rand.IntN(200))
	for i := range b {
		b[i] = byte(s.rand.Uint32())
	}
	if s.rand.IntN(2) == 0 {
		copy(b, []byte{0x82, byte(1 + s.rand.IntN(6)), 0x58, byte(len(b) - 4)})
	}
	return b
}

// have announces records that do not exist.
func have(t *testing.T, s *Sim) []byte {
	lines := make([]byte, 40*200)
	for i := range 200 {
		line := lines[40*i:]
		line[0], line[1], line[2], line[3] = byte(i), byte(s.rand.Uint32()), byte(s.rand.Uint32()), byte(s.rand.Uint32())
		line[15], line[23] = byte(gossip.KindRecord), 1
	}
	return encode(t, []any{4, []byte{}, lines})
}

// Whoever comes with a certificate that has expired is not taken in; who was a member before stays one.
func TestExpiredCertificate(t *testing.T) {
	n := 40
	s := New(Config{Nodes: n, Seed: seed(t), Loss: 0.02})
	s.Run(time.Minute)
	old := s.Admit(3, 1000, 2*time.Minute)
	s.Run(3 * time.Minute)
	if err := s.Equal(); err != nil {
		t.Error(err)
	}
	i, k := len(s.nodes), gossip.Key{Kind: gossip.KindCertificate}
	late := s.addNode(1001, int64(time.Minute))
	late.disk = append(items(s.Core(0)), late.cert, late.record())
	before := s.Stats().Bytes
	s.Start(i)
	s.Publish(old)
	s.Run(13 * time.Minute)
	for j := range i {
		if k.Subject = late.ID; s.Core(j).Get(k) != nil {
			t.Errorf("member %d took in a host whose certificate had expired", j)
		}
		if k.Subject = s.nodes[old].ID; s.Core(j).Get(k) == nil {
			t.Errorf("member %d forgot a member whose certificate expired", j)
		}
	}
	if st := s.Stats(); st.Misbehaved > 0 {
		t.Errorf("%d blames for what is nobody's fault", st.Misbehaved)
	}
	t.Logf("%.0f B a member and minute beside the expired one", float64(s.Stats().Bytes-before)/float64(n)/10)
	s.Crash(i)
	s.Run(s.Now() + time.Minute)
	if err := s.Equal(); err != nil {
		t.Error(err)
	}
}

// A member whose clock is wrong by years works like the others, but cannot judge newcomers until its clock is right.
func TestSkewedClock(t *testing.T) {
	for _, skew := range []time.Duration{-50 * 365 * 24 * time.Hour, 50 * 365 * 24 * time.Hour} {
		n := 40
		s := New(Config{Nodes: n, Seed: seed(t), Loss: 0.02})
		s.Crash(7)
		s.Run(time.Second)
		s.nodes[7].skew = skew
		s.Start(7)
		updates(s, 200*time.Second, 3*time.Minute)
		s.Run(2 * time.Minute)
		s.Admit(3, 1000, 24*time.Hour)
		s.Run(5 * time.Minute)
		if took := s.Equal() == nil; took == (skew > 0) {
			t.Errorf("skew %v: equal %v, want %v: %v", skew, took, !took, s.Equal())
		}
		if st := s.Stats(); st.Misbehaved > 0 || s.broken != nil {
			t.Errorf("skew %v: %d blames, %v", skew, st.Misbehaved, s.broken)
		}
		s.Crash(7)
		s.nodes[7].skew = 0
		s.Start(7)
		t.Logf("skew %v: equal %v after the clock was set", skew, settle(t, s, time.Minute))
	}
}

// Both halves of a partition give one address to a newcomer; after the heal all say that it is the senior's.
func TestDisputedAddress(t *testing.T) {
	n := size(100)
	s := New(Config{Nodes: n, Seed: seed(t), Loss: 0.02})
	s.Run(20 * time.Second)
	s.Partition(func(i int) uint8 { return uint8(i % 2) })
	s.Run(time.Minute)
	const disputed = 5000
	senior := s.Admit(2, disputed, math.MaxInt64)
	s.Run(2 * time.Minute)
	junior := s.Admit(3, disputed, math.MaxInt64)
	s.Run(6 * time.Minute)
	if got, want := s.nodes[5].owners[disputed], s.nodes[junior].cert; got != want {
		t.Error("in the partition the address is not the junior's")
	}
	s.Partition(func(int) uint8 { return 0 })
	took := settle(t, s, 2*time.Minute)
	t.Logf("%d members and two with one address: equal %v after the heal", n, took)
	for i, nd := range s.nodes {
		if nd.owners[disputed] != s.nodes[senior].cert {
			t.Errorf("member %d does not say that the address is the senior's", i)
		}
	}
}
