package roster

import (
	"crypto/sha256"
	"slices"

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

// SameRecord reports whether two records say the same, whatever their numbers.
func SameRecord(a, b *keys.Record) bool {
	return slices.Equal(a.Candidates, b.Candidates) && slices.Equal(a.Relays, b.Relays) &&
		slices.Equal(a.Contacts, b.Contacts) && a.NAT == b.NAT && a.Version == b.Version &&
		a.ReachableUDP == b.ReachableUDP && a.ReachableTCP == b.ReachableTCP
}
