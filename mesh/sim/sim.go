package sim

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"hash/crc32"
	"maps"
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

// Node is a simulated member.
type Node struct {
	ID     keys.NodeID
	Public bool

	key    ed25519.PrivateKey
	cert   *gossip.Item
	core   *gossip.Core // nil while it is down
	disk   []*gossip.Item
	seq    uint64 // of its last record
	life   uint64 // counts starts
	wake   int64
	sent   uint64
	roster bool // a new one is to be made
}

// Stats count what happened.
type Stats struct {
	Events, Messages, Bytes, Lost, Dials, Misbehaved uint64
	Slowest                                          time.Duration // of records that reached all, from Publish to the last
	Complete                                         int           // records that reached all members
}

// Sim is a network of cores.
type Sim struct {
	cfg        Config
	rand       *rand.Rand
	queue      queue
	now        int64
	nodes      []*Node
	index      map[keys.NodeID]int32
	links      map[pair]*link
	side       []uint8
	blocked    map[pair]bool
	generation uint64
	authority  *authority
	trace      uint64
	acts       []gossip.Action
	stats      Stats
	spread     map[verdict]*spread
	shared     []gossip.Member // the roster of all
	malicious  int32           // its actions are not carried out; -1: nobody
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
		cfg: cfg, rand: rand.New(rand.NewPCG(cfg.Seed, 1)), index: map[keys.NodeID]int32{}, links: map[pair]*link{},
		side: make([]uint8, cfg.Nodes), blocked: map[pair]bool{}, spread: map[verdict]*spread{}, malicious: -1,
		authority: &authority{key: keyFrom(cfg.Seed, "authority", 0), good: map[verdict]*gossip.Item{}},
	}
	var disk []*gossip.Item
	for i := range cfg.Nodes {
		n := s.addNode(i)
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

// addNode makes a member, without starting it.
func (s *Sim) addNode(i int) *Node {
	n := &Node{key: keyFrom(s.cfg.Seed, "node", i), Public: i%s.cfg.Public == 0}
	pub := n.key.Public().(ed25519.PublicKey)
	n.ID, n.cert = nodeID(pub), s.authority.certificate(pub)
	s.index[n.ID] = int32(i)
	s.nodes = append(s.nodes, n)
	return n
}

// record makes the member's next record.
func (n *Node) record() *gossip.Item {
	n.seq++
	payload := make([]byte, 130)
	return sign(n.key, gossip.Key{Kind: gossip.KindRecord, Subject: n.ID}, n.seq, payload)
}

// Core returns the core of a member, nil while it is down.
func (s *Sim) Core(i int) *gossip.Core { return s.nodes[i].core }

// Now returns the virtual time since the start.
func (s *Sim) Now() time.Duration { return time.Duration(s.now) }

// Trace returns a hash of all events so far.
func (s *Sim) Trace() uint64 { return s.trace }

// Stats returns the counters.
func (s *Sim) Stats() Stats { return s.stats }

// Start starts a member with what its disk holds.
func (s *Sim) Start(i int) {
	n := s.nodes[i]
	n.life++
	n.core = gossip.New(gossip.Config{
		Self: n.ID, Seed: s.cfg.Seed + n.life, Verifier: verifier{s.authority, n}, Intern: s.authority.intern,
	}, n.disk)
	roster := s.shared
	if s.cfg.Cold || len(n.disk) != 2*len(s.shared) {
		roster = s.rosterOf(n)
	}
	s.step(int32(i), gossip.Roster{Members: roster})
}

// Crash stops a member; its disk keeps all that it had stored.
func (s *Sim) Crash(i int) {
	n := s.nodes[i]
	n.disk = items(n.core)
	n.core, n.wake = nil, 0
	n.life++
	for _, p := range s.sortedLinks() {
		l := s.links[p]
		if (p.a != int32(i) && p.b != int32(i)) || l.dead {
			continue
		}
		l.dead, l.held = true, nil
		s.expireLater(p, l)
	}
}

// items returns all that a core stores.
func items(c *gossip.Core) (all []*gossip.Item) {
	for k := gossip.KindLog; k <= gossip.KindReceipt; k++ {
		all = slices.AppendSeq(all, c.Items(k))
	}
	return all
}

// Partition divides the members: those with different sides do not reach each other.
func (s *Sim) Partition(side func(i int) uint8) {
	for i := range s.side {
		s.side[i] = side(i)
	}
	s.recut()
}

// Block makes two members unable to reach each other, as behind hard NATs.
func (s *Sim) Block(a, b int) { s.blocked[pairOf(int32(a), int32(b))] = true }

// Publish has a member publish its next record.
func (s *Sim) Publish(i int) {
	n := s.nodes[i]
	if n.core == nil {
		return
	}
	it := n.record()
	s.spread[verdict{it.Key, it.Seq}] = &spread{at: s.now}
	s.step(int32(i), gossip.Publish{Item: it})
}

// At calls f at a virtual time.
func (s *Sim) At(at time.Duration, f func()) {
	s.queue.push(event{at: int64(at), kind: evCall, call: f})
}

// Run runs until the virtual time.
func (s *Sim) Run(until time.Duration) {
	for len(s.queue.heap) > 0 && s.queue.heap[0].at <= int64(until) {
		e := s.queue.pop()
		s.now = e.at
		s.stats.Events++
		s.mix(uint64(e.at))
		s.mix(uint64(e.kind)<<56 | uint64(uint32(e.node))<<24 ^ uint64(uint32(e.peer)))
		s.mix(uint64(crc32.Update(0, castagnoli, e.body))<<32 | uint64(len(e.body)))
		switch e.kind {
		case evWake:
			if n := s.nodes[e.node]; n.core != nil && n.wake == e.at {
				n.wake = 0
				s.step(e.node, gossip.Tick{})
			}
		case evDeliver:
			s.deliver(e)
		case evDialled:
			s.dialled(e)
		case evHungUp:
			s.hungUp(e)
		case evExpire:
			s.expire(e)
		case evCall:
			e.call()
		}
	}
	s.now = int64(until)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (s *Sim) mix(v uint64) {
	s.trace = (s.trace ^ v) * 0x9E3779B97F4A7C15
	s.trace ^= s.trace >> 29
}

// step lets a core do a step and does what it asks for.
func (s *Sim) step(i int32, ev gossip.Event) {
	n := s.nodes[i]
	if n.core == nil || i == s.malicious {
		return
	}
	s.acts = n.core.Step(epoch.Add(time.Duration(s.now)), ev, s.acts[:0])
	for _, act := range s.acts {
		switch act := act.(type) {
		case gossip.Send:
			if len(act.Body) > gossip.MaxMessage {
				panic(fmt.Sprintf("sim: seed %d: message of %d bytes", s.cfg.Seed, len(act.Body)))
			}
			s.send(i, s.index[act.Peer], act.Body)
		case gossip.Dial:
			s.dial(i, s.index[act.Peer])
		case gossip.Hangup:
			s.hangup(i, s.index[act.Peer])
		case gossip.Stored:
			s.stored(i, act.Item)
		case gossip.Removed:
		case gossip.Misbehaved:
			s.stats.Misbehaved++
		case gossip.Wake:
			n.wake = max(int64(act.At.Sub(epoch)), s.now)
			s.queue.push(event{at: n.wake, kind: evWake, node: i})
		}
	}
	clear(s.acts)
}

// stored does what an engine does with an accepted item.
func (s *Sim) stored(i int32, it *gossip.Item) {
	n := s.nodes[i]
	switch it.Kind {
	case gossip.KindCertificate, gossip.KindLeft:
		if !n.roster {
			n.roster = true
			life := n.life
			s.At(s.Now()+100*time.Millisecond, func() {
				if n.roster = false; n.life == life {
					s.step(i, gossip.Roster{Members: s.rosterOf(n)})
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
		if sp.count++; sp.count == len(s.nodes) {
			s.stats.Complete++
			s.stats.Slowest = max(s.stats.Slowest, time.Duration(s.now-sp.at))
			delete(s.spread, verdict{it.Key, it.Seq})
		}
	}
}

// rosterOf makes the roster that a member knows.
func (s *Sim) rosterOf(n *Node) (members []gossip.Member) {
	for it := range n.core.Items(gossip.KindCertificate) {
		if n.core.Get(gossip.Key{Kind: gossip.KindLeft, Subject: it.Subject}) == nil {
			members = append(members, gossip.Member{ID: it.Subject, Public: s.nodes[s.index[it.Subject]].Public})
		}
	}
	return members
}

func (s *Sim) sortedLinks() []pair {
	return slices.SortedFunc(maps.Keys(s.links), func(a, b pair) int {
		if a.a != b.a {
			return int(a.a - b.a)
		}
		return int(a.b - b.b)
	})
}

// Equal returns nil if all members that run have equal stores, else who differs.
func (s *Sim) Equal() error {
	var first *gossip.Core
	for i, n := range s.nodes {
		if n.core == nil || int32(i) == s.malicious {
			continue
		}
		if first == nil {
			first = n.core
		}
		a, b := first.Root(), n.core.Root()
		if !bytes.Equal(a[:], b[:]) {
			return fmt.Errorf("sim: seed %d: at %v member %d has another store (%d items, the first %d)",
				s.cfg.Seed, s.Now(), i, n.core.Len(), first.Len())
		}
	}
	return nil
}
