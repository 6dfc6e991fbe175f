// Package stun writes and reads the one STUN method Warren needs, Binding (RFC 8489), in its two uses: as an
// authenticated connectivity check between two hosts that share a key, and as a plain question to a public server.
// It is a pure codec on pion/stun: no socket, no clock, no state, no memory of transactions.
//
// A check is 72 bytes:
//
//	header             20  type 0x0001, length, cookie, transaction id 12
//	USERNAME        4 + 16  nonce 8 (the first 8 of the transaction id) | masked sender 8
//	MESSAGE-INTEGRITY 4+20  HMAC-SHA1 under the pair's key
//	FINGERPRINT      4 + 4  CRC-32
//
// The masked sender is the first 8 bytes of the sender's node id XOR the first 8 of HMAC-SHA-256(user key, nonce), so
// that the receiver finds the key with one HMAC and strangers cannot link two checks. A joiner, which is nobody yet,
// sends zeros as its id. The answer is 64 or 76 bytes: header, XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY, FINGERPRINT.
//
// Package nat calls it for every packet that its demultiplexer takes for STUN.
package stun

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/netip"

	pion "github.com/pion/stun/v3"

	"warren/keys"
)

// Kind says what a Message is.
type Kind uint8

// The two kinds of message; every other STUN class or method is refused by Parse.
const (
	RequestKind Kind = iota + 1 // a Binding request
	SuccessKind                 // a Binding success response
)

// userSize is the length of USERNAME in a check.
const userSize = 16

// User returns the USERNAME of a check with transaction id tx from sender; a zero sender stands for a joiner.
// The user key is the one all members of the network derive from its id.
func User(userKey [32]byte, tx [12]byte, sender keys.NodeID) [userSize]byte {
	var user [userSize]byte
	copy(user[:8], tx[:8])
	mask := nonceMask(userKey, tx)
	for i := range 8 {
		user[8+i] = sender[i] ^ mask[i]
	}
	return user
}

// Sender undoes User: it returns the first 8 bytes of the sender's node id, zeros for a joiner.
// It proves nothing; only Verify with that sender's key does.
func Sender(userKey [32]byte, tx [12]byte, user [userSize]byte) [8]byte {
	var id [8]byte
	mask := nonceMask(userKey, tx)
	for i := range id {
		id[i] = user[8+i] ^ mask[i]
	}
	return id
}

func nonceMask(userKey [32]byte, tx [12]byte) [8]byte {
	mac := hmac.New(sha256.New, userKey[:])
	mac.Write(tx[:8])
	return [8]byte(mac.Sum(nil))
}

// Request returns a check: a Binding request signed with key. user comes from User with the same tx.
func Request(tx [12]byte, user [userSize]byte, key [32]byte) []byte {
	return build(pion.BindingRequest, tx, pion.Username(user[:]), pion.MessageIntegrity(key[:]), pion.Fingerprint)
}

// Response returns the answer to a check with id tx that was seen to come from mapped.
// mapped must be valid; an IPv4 address mapped into IPv6 is written as IPv4.
func Response(tx [12]byte, mapped netip.AddrPort, key [32]byte) []byte {
	address := &pion.XORMappedAddress{IP: mapped.Addr().Unmap().AsSlice(), Port: int(mapped.Port())}
	return build(pion.BindingSuccess, tx, address, pion.MessageIntegrity(key[:]), pion.Fingerprint)
}

// PlainRequest returns a Binding request without credentials for a public STUN server.
// Parse reads the answer; its Mapped is only as good as the server and the path, since nothing signs it.
func PlainRequest(tx [12]byte) []byte {
	return build(pion.BindingRequest, tx, pion.Fingerprint)
}

// build panics only if a setter cannot write what the functions above give it, which is a bug of ours.
func build(kind pion.MessageType, tx [12]byte, setters ...pion.Setter) []byte {
	m := pion.New()
	m.TransactionID = tx
	m.SetType(kind)
	m.WriteHeader()
	for _, s := range setters {
		if err := s.AddTo(m); err != nil {
			panic("stun: writing our own attribute: " + err.Error())
		}
	}
	return m.Raw
}
