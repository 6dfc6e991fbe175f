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
//
// # Entries of the authority log
//
// An [Entry] is a Joint of the kind "warren/log" over this deterministic CBOR, at most 4096 bytes in
// all:
//
//	{1: version (1), 2: kind, 3: index, ?4: SHA-256 of the entry before (all its bytes), 5: body}
//
//	kind 1  genesis        {1: name, 2: [IPv4 address, bits], 3: [+ root key], 4: threshold, 5: created, 6: nonce (16)}
//	kind 2  signer added   {1: certificate of the signer}
//	kind 3  signer removed {1: SHA-256 of its SPKI, ?2: [kept certificates], ?3: [kept revocations], ?4: more}
//	kind 4  root added     {1: root key}
//	kind 5  root removed   {1: root key}
//	kind 6  threshold      {1: k}
//	kind 7  policy         {?1: strict expiry, ?2: certificate lifetime, ?3: fail closed after}
//
// Index counts from 0, the genesis, which alone has no 4 and is signed without external data; all others are bound to
// the network id, the SHA-256 of the genesis. Kept objects are named by the SHA-256 of their bytes, ascending. "more"
// says that another entry of kind 3 for the same signer follows with a further part of the lists; the signer goes with
// the one that does not say so. Times are seconds since 1970, durations seconds. Roots are named in signatures by the
// SHA-256 of their SPKI. There are exactly as many signatures as the threshold before the entry asks for (of the
// genesis: its own threshold), and for kind 4 one more, by the new root. So nobody but roots can make a second form of
// an entry, not even by leaving a signature out.
package canon
