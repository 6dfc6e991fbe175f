// Package gossip keeps the same set of small signed items on every member of a network: authority log, certificates,
// revocations, records, grants and receipts. It decides with whom to keep links, pushes what is new, and compares
// stores with its neighbours until they are equal. Members are never forgotten because they are offline.
//
// It is a pure core: [Core.Step] takes an event and the time and returns actions; there is no clock, socket,
// goroutine or lock, and the same seed and events give the same actions. The engine in package mesh owns it and
// carries the messages over its links; package mesh/sim drives thousands of cores. What an item means, and whether
// its signature holds, is the business of the [Verifier]: nothing unverified is stored or passed on.
//
// # Messages
//
// A message is one deterministic CBOR array (RFC 8949 section 4.2) of at most 60 KiB:
//
//	push     [1, [[kind, subject 32, seq, body], ...]]   items, eagerly when new or as the answer to want
//	root     [2, hash 32]                                hash of the whole store; answered by buckets if it differs
//	buckets  [3, 256 x 8 bytes]                          hashes by first byte of the subject; answered by have
//	have     [4, buckets, entries]                       entries of 40 bytes; all there are in the buckets listed
//	want     [5, keys]                                   keys of 16 bytes; answered by push
//
// An entry is key 16 (subject's first 15 bytes, kind), seq 8, body hash 16. Unknown message types are skipped. The
// side that lacks an item asks for it, from one neighbour at a time, so a host that comes back after a month does not
// get everything from everybody.
package gossip
