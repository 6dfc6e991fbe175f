package secret

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
)

// spkiPrefix is the SubjectPublicKeyInfo of an Ed25519 key (RFC 8410 section 4) but for the 32 bytes of the key.
const spkiPrefix = "302a300506032b6570032100"

// Hash is the SHA-256 of the SubjectPublicKeyInfo of pub, the name of every Ed25519 key here.
func Hash(pub ed25519.PublicKey) [32]byte {
	prefix, err := hex.DecodeString(spkiPrefix)
	if err != nil {
		panic("secret: the constant prefix of a public key is not hexadecimal")
	}
	return sha256.Sum256(append(prefix, pub...))
}

// Valid reports whether pub may stand for somebody: 32 bytes, the one encoding (some readers of RFC 8032 section 5.1.3
// take y >= p too), and none of the eight points of small order, for which signatures can be made that verify over many
// messages. Of bytes that are no point nothing ever verifies, so they are not looked for.
func Valid(pub ed25519.PublicKey) bool {
	if len(pub) != ed25519.PublicKeySize {
		return false
	}
	// y is little-endian in 255 bits; p = 2^255 - 19, so y >= p only if the high 31 bytes are all ones.
	high := pub[31]&0x7f == 0x7f
	for _, b := range pub[1:31] {
		high = high && b == 0xff
	}
	if high && pub[0] >= 0xed-1 { // p-1 has order two, p and above are other encodings of small numbers
		return false
	}
	y := hex.EncodeToString(append(append([]byte{}, pub[:31]...), pub[31]&0x7f))
	switch y {
	case "0000000000000000000000000000000000000000000000000000000000000000", // order 4
		"0100000000000000000000000000000000000000000000000000000000000000", // order 1
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", // order 8
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05": // order 8
		return false
	}
	return true
}
