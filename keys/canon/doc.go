// Package canon is the one allowed byte form of everything that members sign or send: deterministic CBOR, and COSE
// objects made of it.
//
// [Marshal] writes core deterministic encoding (RFC 8949 section 4.2.1): shortest heads, definite lengths, map keys
// in ascending order of their bytes. [Unmarshal] refuses whatever Marshal would not have written: it caps the size
// before it looks, forbids indefinite lengths, tags, duplicate and unknown keys, and finally encodes what it read and
// compares. So an object has one byte form, and a hash of its bytes names it.
//
// An [Object] is a COSE_Sign1 (RFC 9052 section 4.2) and a [Joint] a COSE_Sign with several signatures (section 4.1),
// both tagged, both with Ed25519 (EdDSA) alone. What they are is said in the protected header, so that nothing signed
// as one kind passes for another, and what they belong to (a network) is external data, so that nothing signed for
// one network passes in another:
//
//	Object  18([ <<{1: -8, ?4: key id, 16: kind}>>, {}, payload, signature ])     external_aad = the network id
//	Joint   98([ <<{16: kind}>>, {}, payload, [ + [ <<{1: -8, 4: key id}>>, {}, signature ] ] ])
//
// The signatures of a Joint stand in ascending order of their key ids, one a key. There is nothing in an unprotected
// header. Packages above use Marshal and Unmarshal for their own frames too; this package knows nothing of their
// meaning, and trusts nobody: whose key must have signed is the caller's question.
package canon
