package secret

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
)

// ErrRecovery is wrapped by errors of ParseRecovery: a text that is no recovery key, or mistyped.
var ErrRecovery = errors.New("not a recovery key, or mistyped")

func base32Text() *base32.Encoding {
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
}

// Recovery text: version 1 (= 1) | Ed25519 seed 32 | the first 4 bytes of SHA-256("warren recovery" and all before), in
// base32 (RFC 4648, lower case, no padding), ten groups of six characters.
const (
	recoveryVersion = 1
	recoveryBytes   = 1 + ed25519.SeedSize + checksumBytes
	recoveryGroup   = 6
	checksumBytes   = 4
)

// Recovery returns the secret as a text to be written down: 60 characters of base32 in groups of six,
// with a checksum. This is the secret itself: print it once, store it nowhere.
func (s Ed25519) Recovery() string {
	b := append([]byte{recoveryVersion}, s.key.Seed()...)
	text := base32Text().EncodeToString(append(b, recoveryChecksum(b)...))
	groups := make([]string, 0, len(text)/recoveryGroup)
	for i := 0; i < len(text); i += recoveryGroup {
		groups = append(groups, text[i:i+recoveryGroup])
	}
	return strings.Join(groups, "-")
}

// ParseRecovery reads what Recovery wrote, in any case, with or without its hyphens and with blanks anywhere. The
// error wraps ErrRecovery and quotes nothing.
func ParseRecovery(text string) (Ed25519, error) {
	const longest = 1000 // with room for any layout of the 60 characters
	if len(text) > longest {
		return Ed25519{}, fmt.Errorf("secret: reading a recovery key: %w", ErrRecovery)
	}
	text = strings.ReplaceAll(strings.Join(strings.Fields(strings.ToLower(text)), ""), "-", "")
	b, err := base32Text().DecodeString(text)
	if err != nil || len(b) != recoveryBytes || b[0] != recoveryVersion || base32Text().EncodeToString(b) != text {
		return Ed25519{}, fmt.Errorf("secret: reading a recovery key: %w", ErrRecovery)
	}
	body := b[:recoveryBytes-checksumBytes]
	if string(recoveryChecksum(body)) != string(b[len(body):]) {
		return Ed25519{}, fmt.Errorf("secret: reading a recovery key: wrong checksum: %w", ErrRecovery)
	}
	return FromSeed(body[1:]), nil
}

func recoveryChecksum(b []byte) []byte {
	sum := sha256.Sum256(append([]byte("warren recovery"), b...))
	return sum[:checksumBytes]
}
