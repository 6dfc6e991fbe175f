package roster

import (
	"crypto/sha256"

	"warren/keys"
	"warren/mesh/gossip"
)

// certificateSeq orders the certificates of a member: a signer's time, not the member's.
func certificateSeq(c *keys.Certificate) uint64 { return uint64(max(c.NotBefore.Unix(), 0)) }

// CertificateItem is a certificate as gossip carries it.
func CertificateItem(c *keys.Certificate) *gossip.Item {
	return &gossip.Item{
		Key: gossip.Key{Kind: gossip.KindCertificate, Subject: c.Node}, Seq: certificateSeq(c), Body: c.DER,
	}
}

// RecordItem is a signed record as gossip carries it.
func RecordItem(r *keys.Record, signed []byte) *gossip.Item {
	return &gossip.Item{Key: gossip.Key{Kind: gossip.KindRecord, Subject: r.Node}, Seq: r.Seq, Body: signed}
}

// LeftItem is a member's last word as gossip carries it.
func LeftItem(node keys.NodeID, signed []byte) *gossip.Item {
	return &gossip.Item{Key: gossip.Key{Kind: gossip.KindLeft, Subject: node}, Body: signed}
}

// GrantItem is a signed grant as gossip carries it.
func GrantItem(g *keys.Grant, signed []byte) *gossip.Item {
	return &gossip.Item{Key: gossip.Key{Kind: gossip.KindGrant, Subject: g.Invite}, Body: signed}
}

// ReceiptItem is a signed receipt as gossip carries it.
func ReceiptItem(r *keys.Receipt, signed []byte) *gossip.Item {
	return &gossip.Item{Key: gossip.Key{Kind: gossip.KindReceipt, Subject: r.Subject()}, Body: signed}
}

// LogItems are the entries of an authority log as gossip carries them.
func LogItems(entries [][]byte) []*gossip.Item {
	items := make([]*gossip.Item, len(entries))
	for i, e := range entries {
		items[i] = &gossip.Item{Key: gossip.Key{Kind: gossip.KindLog, Subject: sha256.Sum256(e)}, Seq: uint64(i), Body: e}
	}
	return items
}

// revoked names what a revocation is about: a member, an invite, or one certificate of a signer.
func revoked(r *keys.Revocation) [32]byte {
	switch {
	case !r.Node.IsZero():
		return sha256.Sum256(append([]byte("node"), r.Node[:]...))
	case !r.Invite.IsZero():
		return sha256.Sum256(append([]byte("invite"), r.Invite[:]...))
	}
	return sha256.Sum256(append(append([]byte("serial"), r.Issuer[:]...), r.Serial.Bytes()...))
}
