// Package sim runs the cores of thousands of members on one goroutine, in virtual time, from a seed: the same seed
// gives the same run, bit for bit, and the same trace hash. It is used by tests only.
package sim
