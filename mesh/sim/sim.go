package sim

import (
	"crypto/ed25519"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"warren/keys"
	"warren/mesh/gossip"
)

// Config describes a network.
type Config struct {
	Nodes              int
	Seed               uint64
	Loss               float64       // of packets; a lost message is late
	DelayMin, DelayMax time.Duration // one way; default 20 to 100 ms
	Public             int           // every so many members one is public; default 5
	Cold               bool          // members know at first only themselves and member 0, and it them
}

// Stats count what happened.
type Stats struct {
	Events, Messages, Bytes, Lost, Dials uint64
	Misbehaved                           uint64        // honest members blamed by honest ones
	Caught                               uint64        // malicious members blamed
	Slowest                              time.Duration // of records that reached all, from Publish to the last
	Complete                             int           // records that reached all honest members
}

// Sim is a network of cores.
type Sim struct {
	cfg       Config
	rand      *rand.Rand
	queue     queue
	net       network
	nodes     []*Node
	index     map[keys.NodeID]int32
	authority *authority
	spread    map[verdict]*spread
	shared    []gossip.Member // the roster of all at the start
	acts      []gossip.Action
	stats     Stats
	malicious int   // members that are
	broken    error // the first breach of what must always hold
}

// spread follows a record on its way.
type spread struct {
	at    int64
	count int
}

// epoch is the virtual time at which runs start.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// New makes a network, all of whose members start at time zero.
func New(cfg Config) *Sim {
	if cfg.DelayMax == 0 {
		cfg.DelayMin, cfg.DelayMax = 20*time.Millisecond, 100*time.Millisecond
	}
	if cfg.Public == 0 {
		cfg.Public = 5
	}
	s := &Sim{
		cfg: cfg, rand: rand.New(rand.NewPCG(cfg.Seed, 1)),
		index: map[keys.NodeID]int32{}, spread: map[verdict]*spread{},
		authority: &authority{key: keyFrom(cfg.Seed, "authority", 0), good: map[verdict]*gossip.Item{}},
	}
	s.net = network{
		cfg: cfg, rand: s.rand, queue: &s.queue, nodes: &s.nodes, stats: &s.stats, step: s.step,
		links: map[pair]*link{}, blocked: map[pair]bool{},
	}
	var disk []*gossip.Item
	for i := range cfg.Nodes {
		n := s.addNode(uint32(i), math.MaxInt64)
		disk = append(disk, n.cert, n.record())
		s.shared = append(s.shared, gossip.Member{ID: n.ID, Public: n.Public})
	}
	slices.SortFunc(s.shared, func(a, b gossip.Member) int { return a.ID.Compare(b.ID) })
	for _, it := range disk {
		s.authority.good[verdict{it.Key, it.Seq}] = it
	}
	for i := range s.nodes {
		if s.nodes[i].disk = disk; cfg.Cold {
			s.nodes[i].disk = []*gossip.Item{disk[0], disk[1], disk[2*i], disk[2*i+1]}
		}
		s.Start(i)
	}
	return s
}

// addNode makes a member whose certificate is valid until end, without starting it.
func (s *Sim) addNode(address uint32, end int64) *Node {
	i := len(s.nodes)
	n := &Node{key: keyFrom(s.cfg.Seed, "node", i), Public: i%s.cfg.Public == 0}
	pub := n.key.Public().(ed25519.PublicKey)
	n.ID, n.cert = nodeID(pub), s.authority.certificate(pub, address, s.queue.now, end)
	s.authority.good[verdict{n.cert.Key, n.cert.Seq}] = n.cert
	s.index[n.ID] = int32(i)
	s.nodes = append(s.nodes, n)
	s.net.side = append(s.net.side, 0)
	return n
}

// Admit has member via let in another one, with that address and a certificate valid until end, and returns its index.
func (s *Sim) Admit(via int, address uint32, end time.Duration) int {
	n, i := s.addNode(address, int64(end)), len(s.nodes)-1
	s.net.side[i] = s.net.side[via]
	n.disk = append(items(s.nodes[via].core), n.cert)
	s.Start(i)
	s.step(int32(via), gossip.Publish{Item: n.cert})
	s.Publish(i)
	return i
}

// Core returns the core of a member, nil while it is down.
func (s *Sim) Core(i int) *gossip.Core { return s.nodes[i].core }

// Now returns the virtual time since the start.
func (s *Sim) Now() time.Duration { return time.Duration(s.queue.now) }

// Trace returns a hash of all events so far.
func (s *Sim) Trace() uint64 { return s.queue.trace }

// Stats returns the counters.
func (s *Sim) Stats() Stats { return s.stats }

// Start starts a member with what its disk holds.
func (s *Sim) Start(i int) {
	n := s.nodes[i]
	n.life++
	n.core = gossip.New(gossip.Config{
		Self: n.ID, Seed: s.cfg.Seed + n.life, Verifier: verifier{s.authority, n, &s.queue}, Intern: s.authority.intern,
	}, n.disk)
	n.learnOwners()
	roster := s.shared
	if s.cfg.Cold || len(s.nodes) > len(s.shared) || len(n.disk) != 2*len(s.shared) {
		roster = n.members(s)
	}
	s.step(int32(i), gossip.Roster{Members: roster})
}

// Crash stops a member; its disk keeps all that it had stored.
func (s *Sim) Crash(i int) {
	n := s.nodes[i]
	n.disk = items(n.core)
	n.core, n.owners, n.wake = nil, nil, 0
	n.life++
	s.net.die(int32(i))
}

// Corrupt makes a member malicious: its core rests, and what it sends is up to the scenario.
func (s *Sim) Corrupt(i int) {
	s.nodes[i].malicious = true
	s.malicious++
}

// Partition divides the members: those with different sides do not reach each other.
func (s *Sim) Partition(side func(i int) uint8) {
	for i := range s.nodes {
		s.net.side[i] = side(i)
	}
	s.net.recut()
}

// Publish has a member publish its next record.
func (s *Sim) Publish(i int) {
	n := s.nodes[i]
	if !n.honest() {
		return
	}
	it := n.record()
	s.spread[verdict{it.Key, it.Seq}] = &spread{at: s.queue.now}
	s.authority.good[verdict{it.Key, it.Seq}] = it
	s.step(int32(i), gossip.Publish{Item: it})
}

// At calls f at a virtual time.
func (s *Sim) At(at time.Duration, f func()) {
	s.queue.push(event{at: int64(at), kind: evCall, call: f})
}

// Run runs until the virtual time, or until something is broken.
func (s *Sim) Run(until time.Duration) {
	for s.broken == nil {
		e, ok := s.queue.next(int64(until))
		if !ok {
			return
		}
		s.stats.Events++
		switch e.kind {
		case evWake:
			if n := s.nodes[e.node]; n.core != nil && n.wake == e.at {
				n.wake = 0
				s.step(e.node, gossip.Tick{})
			}
		case evCall:
			e.call()
		default:
			s.net.happen(e)
		}
	}
}

// step lets a core do a step, and does what it asks for.
func (s *Sim) step(i int32, ev gossip.Event) {
	n := s.nodes[i]
	if !n.honest() {
		return
	}
	s.acts = n.core.Step(epoch.Add(time.Duration(s.queue.now)+n.skew), ev, s.acts[:0])
	for _, act := range s.acts {
		switch act := act.(type) {
		case gossip.Send:
			if len(act.Body) > gossip.MaxMessage {
				s.breach("member %d sends a message of %d bytes", i, len(act.Body))
			}
			s.net.send(i, s.index[act.Peer], act.Body)
		case gossip.Dial:
			s.net.dial(i, s.index[act.Peer])
		case gossip.Hangup:
			s.net.hangup(i, s.index[act.Peer])
		case gossip.Stored:
			s.stored(i, act.Item)
		case gossip.Removed:
		case gossip.Misbehaved:
			if s.nodes[s.index[act.Peer]].malicious {
				s.stats.Caught++
			} else {
				s.stats.Misbehaved++
			}
		case gossip.Wake:
			n.wake = max(int64(act.At.Sub(epoch)-n.skew), s.queue.now)
			s.queue.push(event{at: n.wake, kind: evWake, node: i})
		}
	}
	clear(s.acts)
	s.check(i)
}

// stored does what an engine does with an accepted item.
func (s *Sim) stored(i int32, it *gossip.Item) {
	n := s.nodes[i]
	s.checkStored(i, it)
	switch it.Kind {
	case gossip.KindCertificate, gossip.KindLeft:
		if it.Kind == gossip.KindCertificate {
			n.own(it)
		}
		if !n.newcomers {
			n.newcomers = true
			life := n.life
			s.At(s.Now()+100*time.Millisecond, func() {
				if n.newcomers = false; n.life == life {
					s.step(i, gossip.Roster{Members: n.members(s)})
				}
			})
		}
	case gossip.KindRecord:
		if it.Subject == n.ID && it.Seq > n.seq {
			n.seq = it.Seq // what others remember of it
			s.At(s.Now(), func() { s.Publish(int(i)) })
		}
		sp := s.spread[verdict{it.Key, it.Seq}]
		if sp == nil {
			return
		}
		if sp.count++; sp.count == len(s.nodes)-s.malicious {
			s.stats.Complete++
			s.stats.Slowest = max(s.stats.Slowest, time.Duration(s.queue.now-sp.at))
			delete(s.spread, verdict{it.Key, it.Seq})
		}
	default: // not in these networks
	}
}

// breach notes what must never be.
func (s *Sim) breach(format string, args ...any) {
	if s.broken == nil {
		s.broken = fmt.Errorf("sim: seed %d: at %v %s", s.cfg.Seed, s.Now(), fmt.Sprintf(format, args...))
	}
}
