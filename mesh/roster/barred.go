package roster

import (
	"crypto/sha256"

	"warren/keys"
	"warren/mesh/gossip"
)

// barred is what revocations forbid.
type barred struct {
	nodes   map[keys.NodeID]bool
	serials map[serial]bool
}

// serial names one certificate.
type serial struct {
	issuer [32]byte
	number string
}

func newBarred() barred {
	return barred{nodes: map[keys.NodeID]bool{}, serials: map[serial]bool{}}
}

func (b *barred) certificate(c *keys.Certificate) bool {
	return b.serials[serial{c.Issuer, string(c.Serial.Bytes())}]
}

func (b *barred) add(rev *keys.Revocation, v *invites) {
	switch {
	case !rev.Invite.IsZero():
		v.void[rev.Invite] = true
	case !rev.Node.IsZero():
		b.nodes[rev.Node] = true
	case rev.Serial != nil:
		b.serials[serial{rev.Issuer, string(rev.Serial.Bytes())}] = true
	}
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

// applyRevocation returns the member that is none any more.
func (r *Roster) applyRevocation(it *gossip.Item) keys.NodeID {
	rev, err := keys.ParseRevocation(it.Body, r.authority)
	if err != nil {
		return keys.NodeID{}
	}
	r.revocations[it.Subject] = it.Body
	r.barred.add(rev, &r.invites)
	switch {
	case !rev.Node.IsZero():
		r.refresh(rev.Node)
		return rev.Node
	case rev.Serial != nil:
		for id, m := range r.members {
			if r.barred.certificate(m.Certificate) {
				r.refresh(id)
				return id
			}
		}
	}
	return keys.NodeID{}
}

// rejudge looks at everything again after a signer was removed: what hung on it, and was not kept, does not count.
func (r *Roster) rejudge() {
	r.barred = newBarred()
	clear(r.void)
	for subject, body := range r.revocations {
		if rev, err := keys.ParseRevocation(body, r.authority); err == nil {
			r.barred.add(rev, &r.invites)
		} else {
			delete(r.revocations, subject)
		}
	}
	r.dropGrants(r.authority)
	for id := range r.certificates {
		r.refresh(id)
	}
}
