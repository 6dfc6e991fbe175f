package sim

import (
	"flag"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the simulations (or SIM_SEED); 0: the usual one")

// seed returns the seed of a run, and prints it if the test fails.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := *seedFlag
	if env := os.Getenv("SIM_SEED"); n == 0 && env != "" {
		var err error
		if n, err = strconv.ParseUint(env, 10, 64); err != nil {
			t.Fatalf("SIM_SEED=%q: %v", env, err)
		}
	}
	if n == 0 {
		n = 20261122
	}
	t.Logf("seed %d", n)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay: go test ./mesh/sim -run '^%s$' -v -seed %d", t.Name(), n)
		}
	})
	return n
}

// size returns the number of members: fewer under -short and the race detector.
func size(n int) int {
	if testing.Short() || raceEnabled {
		return max(n/10, 20)
	}
	return n
}

// updates has members publish records at random, each every mean on average.
func updates(s *Sim, mean, until time.Duration) {
	gap := float64(mean) / float64(len(s.nodes))
	var next func()
	next = func() {
		s.Publish(s.rand.IntN(len(s.nodes)))
		if at := s.Now() + time.Duration(s.rand.ExpFloat64()*gap); at < until {
			s.At(at, next)
		}
	}
	s.At(time.Second, next)
}

func TestThousandNodes(t *testing.T) {
	n, seed := size(1000), seed(t)
	run := func() uint64 {
		start := time.Now()
		s := New(Config{Nodes: n, Seed: seed, Loss: 0.02})
		updates(s, 2000*time.Second, 9*time.Minute+30*time.Second)
		s.Run(10 * time.Minute)
		if err := s.Equal(); err != nil {
			t.Error(err)
		}
		st := s.Stats()
		t.Logf("seed %d, %d members, 10 min: %v wall, %d events, %d messages, %.0f B a member and minute, %d dials, "+
			"%d records, slowest %v, trace %x", seed, n, time.Since(start).Round(time.Millisecond), st.Events, st.Messages,
			float64(st.Bytes)/float64(n)/10, st.Dials, st.Complete, st.Slowest, s.Trace())
		if got := s.net.islands(); len(got) != 1 {
			t.Errorf("the links make islands of %v members", got)
		}
		least, most, sum := n, 0, 0
		for i := range n {
			links := len(s.Core(i).Links())
			least, sum = min(least, links), sum+links
			if i%5 != 0 {
				most = max(most, links)
			}
		}
		t.Logf("links: %d to %d, mean %.1f", least, most, float64(sum)/float64(n))
		if least < 5 || most > 14 {
			t.Errorf("links per member: got %d to %d, want 5 to 14", least, most)
		}
		if st.Complete == 0 || len(s.spread) > 0 {
			t.Errorf("records: %d reached everybody, %d did not", st.Complete, len(s.spread))
		}
		if st.Slowest > 5*time.Second {
			t.Errorf("slowest record took %v, want at most 5s", st.Slowest)
		}
		if st.Misbehaved > 0 {
			t.Errorf("%d misbehaviours among honest members", st.Misbehaved)
		}
		return s.Trace()
	}
	var traces [2]uint64
	var wg sync.WaitGroup
	for i := range traces {
		wg.Go(func() { traces[i] = run() })
	}
	wg.Wait()
	if traces[0] != traces[1] {
		t.Errorf("trace hash: got %x and %x from one seed", traces[0], traces[1])
	}
}

// settle runs until all stores are equal, and returns how long that took.
func settle(t *testing.T, s *Sim, within time.Duration) time.Duration {
	t.Helper()
	start := s.Now()
	for s.Equal() != nil {
		if s.broken != nil || s.Now() >= start+within {
			t.Fatalf("not equal after %v: %v", within, s.Equal())
		}
		s.Run(s.Now() + 500*time.Millisecond)
	}
	return s.Now() - start
}

func TestPartitionHeals(t *testing.T) {
	n := size(300)
	s := New(Config{Nodes: n, Seed: seed(t), Loss: 0.02})
	updates(s, 1000*time.Second, 6*time.Minute)
	s.Run(time.Minute)
	s.Partition(func(i int) uint8 { return uint8(i % 2) })
	s.Run(6 * time.Minute)
	if s.Equal() == nil {
		t.Fatal("stores are equal in a partition: the test tests nothing")
	}
	s.Partition(func(int) uint8 { return 0 })
	t.Logf("%d members: equal %v after the heal", n, settle(t, s, 2*time.Minute))
	s.Run(s.Now() + 2*time.Minute)
	if err := s.Equal(); err != nil {
		t.Error(err)
	}
}
