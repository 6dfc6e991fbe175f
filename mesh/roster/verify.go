package roster

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"warren/keys"
	"warren/mesh/gossip"
)

// errLie is what an item gets whose body is about something else than the item says.
var errLie = errors.New("roster: the body is not about what the item says")

// unknown says that an item cannot be judged yet.
func unknown(why string) error { return fmt.Errorf("roster: %s: %w", why, gossip.ErrUnknown) }

// Verify judges an item for gossip: authentic, of this network, and about what it says it is about.
func (r *Roster) Verify(it *gossip.Item) error {
	switch it.Kind {
	case gossip.KindLog:
		return verifyLog(r.authority, it)
	case gossip.KindCertificate:
		return r.verifyCertificate(it)
	case gossip.KindRecord:
		_, err := r.record(it)
		return err
	case gossip.KindLeft:
		c := r.certificates[it.Subject]
		if c == nil {
			return unknown("the certificate of who left is missing")
		}
		left, err := keys.ParseLeft(it.Body, c.Public(), r.authority.Network)
		return judged(err, err == nil && left.Node == c.Node)
	case gossip.KindGrant:
		g, err := keys.ParseGrant(it.Body, r.authority)
		return judged(err, err == nil && g.Invite == keys.InviteID(it.Subject) && it.Seq == 0)
	case gossip.KindReceipt:
		rec, err := keys.ParseReceipt(it.Body, r.authority)
		return judged(err, err == nil && rec.Subject() == it.Subject)
	case gossip.KindRevocation:
		rev, err := keys.ParseRevocation(it.Body, r.authority)
		return judged(err, err == nil && revoked(rev) == it.Subject)
	}
	return fmt.Errorf("roster: an item of kind %d", it.Kind)
}

// judged joins a parser's verdict with whether the body is about the item's subject. What hangs on a signer that the
// log does not name (yet) cannot be judged.
func judged(err error, about bool) error {
	switch {
	case errors.Is(err, keys.ErrUnknownSigner):
		return fmt.Errorf("%w: %w", err, gossip.ErrUnknown)
	case err != nil:
		return err
	case !about:
		return errLie
	}
	return nil
}

func verifyLog(a *keys.Authority, it *gossip.Item) error {
	have := uint64(len(a.Entries))
	switch {
	case it.Subject != sha256.Sum256(it.Body):
		return errLie
	case it.Seq > have:
		return unknown("log entries before this one are missing")
	case it.Seq < have:
		return unknown("another log entry stands at this place")
	}
	_, err := a.Append(it.Body)
	if errors.Is(err, keys.ErrChain) || errors.Is(err, keys.ErrEntryVersion) {
		return fmt.Errorf("%w: %w", err, gossip.ErrUnknown)
	}
	return err
}

// verifyCertificate asks whether a certificate is authentic, not whether its member is one still: all must keep the same
// set of items, also those of who is gone.
func (r *Roster) verifyCertificate(it *gossip.Item) error {
	c, err := keys.ParseCertificate(it.Body)
	if err != nil {
		return err
	}
	if c.Node != keys.NodeID(it.Subject) || it.Seq != certificateSeq(c) {
		return errLie
	}
	now := r.now()
	if r.certificates[c.Node] != nil || r.Gone(c.Node) || r.barred.certificate(c) {
		now = within(c, now)
	}
	return authentic(r.authority, c, now)
}

// authentic judges a certificate at a time. The error wraps gossip.ErrUnknown where a later log, or a better clock, may
// judge otherwise.
func authentic(a *keys.Authority, c *keys.Certificate, now time.Time) error {
	err := a.Verify(c, now)
	_, known := a.Signer(c.Issuer)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, keys.ErrExpired), errors.Is(err, keys.ErrNotYetValid),
		errors.Is(err, keys.ErrUnknownSigner) && !known: // of a known one the signature is forged
		return fmt.Errorf("%w: %w", err, gossip.ErrUnknown)
	}
	return err
}

// Trust judges a certificate that somebody shows on a link: of a member known before, expiry is forgiven unless the
// policy says otherwise; of a newcomer it is not. The error wraps gossip.ErrUnknown where a later log, or a better
// clock, may judge otherwise.
func (r *Roster) Trust(c *keys.Certificate) error {
	if r.Gone(c.Node) {
		return fmt.Errorf("roster: %s is no member any more", c.Node)
	}
	known := r.certificates[c.Node]
	if r.barred.certificate(c) || known != nil && r.barred.certificate(known) && certificateSeq(known) >= certificateSeq(c) {
		return fmt.Errorf("roster: the certificate of %s was revoked", c.Node)
	}
	now := r.now()
	if known != nil && !r.authority.Policy.StrictExpiry {
		now = within(c, now)
	}
	return authentic(r.authority, c, now)
}

// within moves a time into the certificate's validity.
func within(c *keys.Certificate, now time.Time) time.Time {
	switch {
	case now.Before(c.NotBefore):
		return c.NotBefore
	case now.After(c.NotAfter):
		return c.NotAfter
	}
	return now
}

func (r *Roster) record(it *gossip.Item) (*keys.Record, error) {
	c := r.certificates[it.Subject]
	if c == nil {
		return nil, unknown("the certificate to a record is missing")
	}
	rec, err := keys.ParseRecord(it.Body, c.Public(), r.authority.Network)
	if err := judged(err, err == nil && rec.Node == c.Node && rec.Seq == it.Seq); err != nil {
		return nil, err
	}
	return rec, nil
}
