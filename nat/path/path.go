// Package path finds and keeps the way to one other member: it is the pure core behind package nat, one Core a peer.
//
// A Core is told events (a candidate, a check that came in or was answered, a CALL, tunnel traffic, time) and returns
// actions (send this check, send that signal, use this path, wake me then). It pairs our sockets with the peer's
// candidates as RFC 8445 does, punches when both sides agreed to by CALL, ACK and GO, chooses among the pairs that
// answered, watches the chosen one while there is traffic, and starts over when it dies. It goes on for ever, with
// pauses of minutes at most; any news cuts a pause short. Of an idle peer it remembers the path and sends nothing.
//
// It is not ICE: there are no roles, no nomination and no freezing. Each side chooses how it sends, and the one with the
// higher id follows the other where it can.
//
// It has no clock, no socket, no goroutine and no key, and does not judge what is authentic: an event means that its
// caller checked. The caller is the loop of package nat, which owns a Core per peer that somebody wants, does its
// actions, and drops the Core when the peer is removed. The other callers are simulations.
//
// # Rules
//
//   - A path is used only after a check on it was answered from where it went to.
//   - Nothing is sent to an address that the peer no longer lists, unless something authentic came from there.
//   - A path by which tunnel packets come is not given up for lost checks: a host under load loses those first. If no
//     check is answered for long all the same, whatever does answer takes its place.
//   - What a peer can make the core remember or send is bounded by Constants, whatever it says.
//   - Time that goes back stands still, and a Wake is always in the future.
package path

import (
	"net/netip"
	"time"

	"warren/keys"
)

// Kind says by which means a path carries packets.
type Kind uint8

// The kinds of path. This version makes only DirectUDP; the core and its callers must cope with all.
const (
	DirectUDP Kind = 1 // from our socket to the peer's address
	RelayUDP  Kind = 2 // through a slot on a relay, over UDP
	DirectTLS Kind = 3 // on a TLS connection with the peer
	RelayTLS  Kind = 4 // through a slot on a relay, over TLS
)

// String returns the kind in words.
func (k Kind) String() string {
	switch k {
	case DirectUDP:
		return "direct udp"
	case RelayUDP:
		return "relay udp"
	case DirectTLS:
		return "direct tls"
	case RelayTLS:
		return "relay tls"
	}
	return "none"
}

// Path is one way for packets to a peer. It is comparable: two equal values are the same way. The zero Path is none.
//
// Remote is never an IPv4 address mapped into IPv6 (the core unmaps what it is given). Local zero leaves the choice of
// socket and source address to the kernel; a caller that never sets Local in what it sends must not set it in events.
type Path struct {
	Kind          Kind
	Local, Remote netip.AddrPort
	Relay         keys.NodeID // the relay, for the two relay kinds
	Slot          uint32      // the peer's slot there
}

// UDP returns the direct UDP path to remote from the kernel's choice of source.
func UDP(remote netip.AddrPort) Path {
	return Path{Kind: DirectUDP, Remote: unmap(remote)}
}

// IsZero reports whether p is no path.
func (p Path) IsZero() bool { return p == Path{} }

// String returns the path for logs, such as "direct udp 192.0.2.1:41641".
func (p Path) String() string {
	if p.IsZero() {
		return "none"
	}
	return p.Kind.String() + " " + p.Remote.String()
}

func (p Path) unmap() Path {
	p.Local, p.Remote = unmap(p.Local), unmap(p.Remote)
	return p
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// State is what status says of the way to a peer.
type State uint8

// The states. They speak of interest: a path may be usable and the peer Idle, because nobody sends.
const (
	Idle        State = iota // nobody wants the peer: no traffic for a while, no timers; the last path is remembered
	Probing                  // wanted: looking for a path, or a path that no WireGuard packet has proven yet
	Direct                   // wanted, a check was answered and a WireGuard packet crossed
	Relay                    // wanted and proven on a relay
	Unreachable              // tried and failed, and nothing heard since; tried again from time to time while wanted
)

// String returns the state as the status document writes it: "idle", "probing", "direct", "relay" or "unreachable".
func (s State) String() string {
	switch s {
	case Idle:
		return "idle"
	case Probing:
		return "probing"
	case Direct:
		return "direct"
	case Relay:
		return "relay"
	case Unreachable:
		return "unreachable"
	}
	return "unknown"
}

// Snapshot is what a Core can tell about its peer.
type Snapshot struct {
	State  State
	Path   Path          // the data path, also of an idle peer; zero is none
	RTT    time.Duration // smoothed, of checks on Path; zero is unknown
	Usable bool          // a check on Path was answered, and it has not died since
	Proven bool          // and an authenticated WireGuard packet came by it since
	Since  time.Time     // when State became what it is
	Acked  bool          // the peer acknowledged our newest call, or called us: it is there and signalling works

	ChecksSent, ChecksAnswered, Rounds int // since New
}

// Constants are all durations and limits of the path core in one place, so that tests can scale them.
type Constants struct {
	// Checks.
	Burst       []time.Duration // when the checks of a candidate leave, counted from its turn
	Probe       []time.Duration // the same for checks that answer the peer's, and for doubts about the current path
	Pace        time.Duration   // from one candidate's turn to the next
	MaxPairs    int             // candidates of a peer that are kept
	MaxChecks   int             // checks of a round
	Unconfirmed int             // checks of a round to an address that no authentic packet or call vouched for
	CheckLife   time.Duration   // an answer later than this is no answer

	// Rounds and calls.
	CallAfter   time.Duration   // first checks to CALL, so that being reachable unasked can be observed; 2 RTT if less
	CallAgain   []time.Duration // repeats of an unacknowledged CALL, counted from the first
	AckFresh    time.Duration   // an Initiation makes no CALL if one was acknowledged within this
	MaxFireWait time.Duration   // cap of half the signalling round trip between GO and our first check
	GoLost      time.Duration   // the called side fires this long after its ACK without a GO
	RoundTime   time.Duration   // a round without acknowledged CALL fails after this
	FireTime    time.Duration   // and this long after it fired
	Retry       []time.Duration // pause after the first, second, … failed round; the last repeats
	FreshWish   time.Duration   // Connect and Initiation cut the pause short at most this often
	Remember    time.Duration   // the peer's sessions, against replay
	MaxCalls    int             // of the peer that are taken within Remember

	// Health.
	Interest    time.Duration // without traffic or wish for this long a peer is idle
	Heartbeat   time.Duration // from an answer to the next check on an active path, ±20 %
	Fresh       time.Duration // a path without proof for this long is stale; with enough lost checks it is dead
	Suspect     time.Duration // sending without receiving for this long (or 4 RTT) raises doubt
	DoubtEvery  time.Duration // checks on a doubted path after the first three
	DoubtTime   time.Duration // doubt without an answer for this long kills the path
	MinLost     int           // but never with fewer lost checks than this
	Late        time.Duration // a doubt looked at later than this is prolonged by the delay: the host was busy or slept
	Deaf        time.Duration // no check answered for this long makes a path deaf, although packets come in
	DeafLost    int           // with at least so many lost checks; a deaf path yields to any that answers
	WarmEnough  time.Duration // KeepWarm does nothing if a check was answered within this
	Silent      time.Duration // a path silent for this long is doubted when the peer is heard from elsewhere
	Search      time.Duration // how often an active peer's other candidates are checked for a better path
	SearchAbove time.Duration // unless the RTT is already below this

	// Choice.
	HoldDown   time.Duration // after a switch from one live path to another
	LANBonus   time.Duration // head start of a private address over a public one
	IPv6Bonus  time.Duration // head start of IPv6 over IPv4
	MinSamples int           // answered checks before RTT alone moves traffic
	MinGain    time.Duration // a path must be faster than 80 % of the old one less this
}

// Defaults returns the constants for real networks. They come from RFC 8445 (pacing), DCUtR (timing of the fire) and
// from what rivals use and were reported to suffer from.
func Defaults() Constants {
	const ms = time.Millisecond
	return Constants{
		Burst:       []time.Duration{0, 50 * ms, 150 * ms, 350 * ms, 750 * ms, 1550 * ms},
		Probe:       []time.Duration{0, 200 * ms, 400 * ms},
		Pace:        20 * ms,
		MaxPairs:    24,
		MaxChecks:   200,
		Unconfirmed: 3,
		CheckLife:   5 * time.Second,

		CallAfter:   300 * ms,
		CallAgain:   []time.Duration{time.Second, 2500 * ms},
		AckFresh:    5 * time.Second,
		MaxFireWait: time.Second,
		GoLost:      time.Second,
		RoundTime:   5 * time.Second,
		FireTime:    3 * time.Second,
		Retry:       []time.Duration{2 * time.Second, 5 * time.Second, 15 * time.Second, 40 * time.Second, 2 * time.Minute, 5 * time.Minute},
		FreshWish:   time.Minute,
		Remember:    30 * time.Second,
		MaxCalls:    16,

		Interest:    45 * time.Second,
		Heartbeat:   3 * time.Second,
		Fresh:       6500 * ms,
		Suspect:     1500 * ms,
		DoubtEvery:  time.Second,
		DoubtTime:   5 * time.Second,
		MinLost:     3,
		Late:        500 * ms,
		Deaf:        20 * time.Second,
		DeafLost:    8,
		WarmEnough:  10 * time.Second,
		Silent:      time.Second,
		Search:      time.Minute,
		SearchAbove: 5 * ms,

		HoldDown:   10 * time.Second,
		LANBonus:   10 * ms,
		IPv6Bonus:  3 * ms,
		MinSamples: 3,
		MinGain:    2 * ms,
	}
}
