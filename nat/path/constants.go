package path

import "time"

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
	CallAfter   time.Duration   // first checks to CALL, so that being reachable unasked can be observed
	CallAgain   []time.Duration // repeats of an unacknowledged CALL, counted from the first
	AckFresh    time.Duration   // an Initiation makes no CALL if one was acknowledged within this
	MaxFireWait time.Duration   // cap of half the signalling round trip between GO and our first check
	GoLost      time.Duration   // the called side fires this long after its ACK without a GO
	RoundTime   time.Duration   // a round without acknowledged CALL fails after this
	FireTime    time.Duration   // and this long after it fired
	Retry       []time.Duration // pause after the first, second, … failed round; the last repeats
	FreshWish   time.Duration   // a new Connect cuts the pause short at most this often
	Remember    time.Duration   // the peer's sessions, against replay

	// Health.
	Interest    time.Duration // without traffic or wish for this long a peer is idle
	Heartbeat   time.Duration // from an answer to the next check on an active path, ±20 %
	Fresh       time.Duration // a path without proof for this long is stale; with enough lost checks it is dead
	Suspect     time.Duration // sending without receiving for this long (or 4 RTT) raises doubt
	DoubtEvery  time.Duration // checks on a doubted path after the first three
	DoubtTime   time.Duration // doubt without an answer for this long kills the path
	MinLost     int           // but never with fewer lost checks than this
	Deaf        time.Duration // no check answered for this long kills a path although packets come in
	DeafLost    int           // with at least so many lost checks
	WarmEnough  time.Duration // KeepWarm does nothing if a check was answered within this
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
		Retry:       []time.Duration{5 * time.Second, 15 * time.Second, 40 * time.Second, 2 * time.Minute, 5 * time.Minute},
		FreshWish:   time.Minute,
		Remember:    30 * time.Second,

		Interest:    45 * time.Second,
		Heartbeat:   3 * time.Second,
		Fresh:       6500 * ms,
		Suspect:     1500 * ms,
		DoubtEvery:  time.Second,
		DoubtTime:   5 * time.Second,
		MinLost:     3,
		Deaf:        20 * time.Second,
		DeafLost:    8,
		WarmEnough:  10 * time.Second,
		Search:      time.Minute,
		SearchAbove: 5 * ms,

		HoldDown:   10 * time.Second,
		LANBonus:   10 * ms,
		IPv6Bonus:  3 * ms,
		MinSamples: 3,
		MinGain:    2 * ms,
	}
}
