// Package link keeps the control links between members: one QUIC connection (RFC 9000) per pair, over the packet
// connection that nat gives, whose addresses are members and not places, so that a link survives a change of path.
//
// Two application protocols share the listener. warren/1 is for members, with member certificates both ways;
// warren-join/1 is for hosts that want to become one, with throw-away certificates. Which of them a client may speak
// is decided by where its packets come from, before any certificate of ours is shown.
//
// A frame on a stream is
//
//	length 3 bytes, big-endian, of what follows (at most 64 KiB)
//	CBOR   [kind, body]: kind an unsigned integer, body a byte string
//
// Frames of an unknown kind are skipped. On a warren/1 link each side opens two unidirectional streams: the first,
// sync, begins with the hello and carries comparisons of stores; the second, push, carries news. A call (rpc: kind and
// body out, kind and body back) takes a bidirectional stream of its own, so that a slow answer holds up no other. Signalling between paths goes as QUIC datagrams (RFC 9221).
//
// The package does not know what the bodies mean, which peers to link to, or who is a member: the engine tells it.
package link
