// Package sim runs the gossip cores of thousands of members on one goroutine, in virtual time, from a seed: the same
// seed gives the same run, bit for bit, and the same trace hash. It exists for tests.
//
// A link is a reliable stream in order, as a QUIC stream is: a lost message comes later (it is sent again), and a link
// that is cut for 15 seconds fails on both sides. Dials take one and a half round trips, and fail after five seconds
// where there is no way. What a member's disk would hold survives [Sim.Crash].
package sim
