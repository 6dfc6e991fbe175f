// Package sim runs the gossip cores of thousands of members on one goroutine, in virtual time, from a seed: the same
// seed gives the same run, bit for bit, and the same trace hash. It exists for tests.
//
// A link is a reliable stream in order, as a QUIC stream is: a lost message comes later (it is sent again), and a link
// that is cut for 15 seconds fails on both sides. Dials take one and a half round trips, and fail after five seconds
// where there is no way. What a member's disk would hold survives [Sim.Crash].
//
// After every event what must always hold is checked: the state of a core is bounded, it accepted nothing whose
// signature does not hold, and an address has one owner. [Sim.Equal] tells the first breach, then whether all stores
// are equal.
package sim
