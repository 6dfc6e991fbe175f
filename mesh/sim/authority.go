package sim

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"warren/keys"
	"warren/mesh/gossip"
)

// authority signs certificates and remembers verdicts, so that a signature costs once, not once a member.
type authority struct {
	key  ed25519.PrivateKey
	good map[verdict]*gossip.Item
}

// verdict names an item; the body is compared besides.
type verdict struct {
	gossip.Key
	seq uint64
}

var errForged = errors.New("signature does not hold")

func keyFrom(seed uint64, what string, i int) ed25519.PrivateKey {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %d", seed, what, i))
	return ed25519.NewKeyFromSeed(sum[:])
}

func nodeID(pub ed25519.PublicKey) keys.NodeID { return sha256.Sum256(pub) }

// sign makes an item: payload, then a signature over key, seq and payload.
func sign(key ed25519.PrivateKey, k gossip.Key, seq uint64, payload []byte) *gossip.Item {
	body := append(bytes.Clone(payload), ed25519.Sign(key, signed(k, seq, payload))...)
	return &gossip.Item{Key: k, Seq: seq, Body: body}
}

func signed(k gossip.Key, seq uint64, payload []byte) []byte {
	b := append([]byte{byte(k.Kind)}, k.Subject[:]...)
	return append(binary.BigEndian.AppendUint64(b, seq), payload...)
}

// certificate makes a member's certificate, in the size of a real one.
func (a *authority) certificate(pub ed25519.PublicKey, address uint32, since, end int64) *gossip.Item {
	payload := append(make([]byte, 0, 480), pub...)
	payload = binary.BigEndian.AppendUint32(payload, address)
	payload = binary.BigEndian.AppendUint64(payload, uint64(since))
	payload = binary.BigEndian.AppendUint64(payload, uint64(end))[:480]
	return sign(a.key, gossip.Key{Kind: gossip.KindCertificate, Subject: nodeID(pub)}, 1, payload)
}

// judge verifies an item with the key of its signer.
func (a *authority) judge(it *gossip.Item, pub ed25519.PublicKey) error {
	v := verdict{it.Key, it.Seq}
	if good := a.good[v]; good != nil && bytes.Equal(good.Body, it.Body) {
		return nil
	}
	n := len(it.Body) - ed25519.SignatureSize
	if n < 0 || !ed25519.Verify(pub, signed(it.Key, it.Seq, it.Body[:n]), it.Body[n:]) {
		return errForged
	}
	a.good[v] = it
	return nil
}

// intern returns the item that all cores share.
func (a *authority) intern(it *gossip.Item) *gossip.Item {
	if good := a.good[verdict{it.Key, it.Seq}]; good != nil && bytes.Equal(good.Body, it.Body) {
		return good
	}
	return it
}

// verifier judges for one member, by the certificates that it has.
type verifier struct {
	authority *authority
	node      *Node
	queue     *queue // tells the time
}

// Verify implements gossip.Verifier.
func (v verifier) Verify(it *gossip.Item) error {
	if it.Kind == gossip.KindCertificate {
		if len(it.Body) < 480 || it.Subject != nodeID(it.Body[:32]) {
			return errForged
		}
		err := v.authority.judge(it, v.authority.key.Public().(ed25519.PublicKey))
		if err == nil && endOf(it) < v.queue.now+int64(v.node.skew) {
			return fmt.Errorf("expired: %w", gossip.ErrUnknown) // or our clock is wrong
		}
		return err
	}
	cert := v.node.core.Get(gossip.Key{Kind: gossip.KindCertificate, Subject: it.Subject})
	if cert == nil {
		return gossip.ErrUnknown
	}
	return v.authority.judge(it, ed25519.PublicKey(cert.Body[:32]))
}
