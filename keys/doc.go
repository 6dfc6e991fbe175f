// Package keys holds who is who in a network and how that is proven: identities, the authority log, certificates,
// signed records, invites and join codes. It is pure: bytes in, bytes out, without files, clocks or sockets. Everything
// that comes from outside is read in one byte form or refused, so that a hash of its bytes names it.
//
// The parts below do one thing each: name (ids, join codes, addresses), secret (private keys), canon (deterministic CBOR,
// COSE, entries of the log) and der (certificates and requests, byte for byte). This package says what they mean: who may
// sign what, and where the limits are. Package mesh is its user.
//
// # Wire layout
//
// What members sign is a COSE_Sign1 (see canon) of at most 1024 bytes, bound to the network id and to its kind. A signer
// of the network is named in the header by the SHA-256 of its SPKI; where the member itself signs, the payload names it.
// Times are seconds since 1970, ids and hashes 32 bytes, addresses 4 or 16. Payloads, with ? before what may be missing:
//
//	warren/record      member  {1: node, 2: sequence number, ?3: [+ [kind, address, port]], ?4: [+ [relay, slot]],
//	                           ?5: [+ contact], ?6: mapping, ?7: filtering, ?8: reachable (1 UDP, 2 TCP), ?9: version,
//	                           ?15: extra}
//	warren/left        member  {1: node}
//	warren/grant       signer  {1: invite, 2: invite key, 3: uses, 4: expires, ?5: [+ group], ?6: name, ?7: approve,
//	                           8: issuer, 9: issued}
//	warren/receipt     signer  {1: invite, 2: node, 3: name, 4: [+ address], 5: at, 6: signer}
//	warren/revocation  signer  {?1: node, ?2: serial number, ?3: its issuer, ?4: invite, 5: signer, 6: at, ?7: reason}
//
// Certificates and requests (see der) are at most 1024 bytes. The value of their private extension is
//
//	certificate  {1: WireGuard key, ?2: [+ group], ?3: [+ [address, bits]], ?4: [+ role], 5: since}
//	request      {1: WireGuard key}
//
// The URI of a node is spiffe://<network id>/node/<node id>, that of a signer spiffe://<network id>/signer/<node id>.
package keys
