package join

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"io"
	"time"

	"warren/keys"
	"warren/mesh/link"
)

// Session is one end of a warren-join/1 connection.
type Session struct {
	io.ReadWriter
	Exporter []byte // of the TLS connection below
}

// Host is the member that serves joiners, and how it answers what Serve asks. All fields must be set.
type Host struct {
	Network     keys.NetworkID
	Node        keys.NodeID
	Identity    *keys.Identity
	Certificate []byte // DER
	Log         [][]byte
	// Judge tells what the member knows of an invite.
	Judge func(ctx context.Context, invite keys.InviteID, joiner keys.NodeID) (Verdict, error)
	// Signer chooses a signer that can be reached. An error says that there is none now.
	Signer func(ctx context.Context) (keys.NodeID, keys.WGPublic, error)
	// Redeem asks that signer. An error that is no *Refusal is shown to the joiner as a failure without details.
	Redeem func(ctx context.Context, signer keys.NodeID, r *Redemption) (*Issued, error)
}

// Verdict is what a member knows of an invite.
type Verdict struct {
	Key ed25519.PublicKey // of the grant; nil: there is no such invite
	No  *Refusal          // why a joiner who proved the invite is turned away; nil: it is not
}

// Serve leads one joiner through the conversation and returns why it ended, nil after a certificate was issued. What
// it was told is in the error; the joiner is told no more than it has proved to be allowed to know. joiner is the id
// of the key with which the other side made the connection.
func Serve(ctx context.Context, s Session, joiner keys.NodeID, h Host) error {
	err := serve(ctx, s, joiner, h)
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	refusal := new(Refusal)
	if !errors.As(err, &refusal) {
		refusal = refused()
	}
	_ = send(s, link.KindJoinRefused, refusal)
	return err
}

func serve(ctx context.Context, s Session, joiner keys.NodeID, h Host) error {
	var p prove
	if _, err := receive(s, map[link.Kind]any{link.KindJoinProve: &p}); err != nil {
		return err
	}
	verdict, err := h.Judge(ctx, p.Invite, joiner)
	if err != nil {
		return err
	}
	key, known := verdict.Key, verdict.Key != nil
	if !known {
		key = make(ed25519.PublicKey, ed25519.PublicKeySize) // costs the same time as a real one
	}
	if proved := ed25519.Verify(key, proveBytes(s.Exporter, h.Network), p.Signature); !proved || !known {
		return refused()
	}
	if verdict.No != nil {
		return verdict.No
	}
	trust(ctx, s)
	signer, signerKey, err := h.Signer(ctx)
	if err != nil {
		return &Refusal{
			Code: CodeNoSigner, Text: "no signer of the network can be reached from the member that answered",
			Hint: "try again when a signer is online; warren status on a member shows who signs",
		}
	}
	log, err := sendLog(s, h.Log)
	if err != nil {
		return err
	}
	greeting := welcome{
		Log: log, Certificate: h.Certificate, Signer: signer, SignerKey: signerKey,
		Signature: sign(h.Identity, welcomeBytes(s.Exporter, h.Network)),
	}
	if err := send(s, link.KindJoinWelcome, greeting); err != nil {
		return err
	}
	var a ask
	if _, err := receive(s, map[link.Kind]any{link.KindJoinAsk: &a}); err != nil {
		return err
	}
	csr, err := keys.ParseRequest(a.CSR)
	if err != nil || csr.Node != joiner ||
		!ed25519.Verify(key, askBytes(h.Network, p.Invite, a.CSR, s.Exporter, h.Node), a.Signature) {
		return refused()
	}
	issued, err := h.redeem(ctx, signer, &Redemption{
		Invite: p.Invite, CSR: a.CSR, Explicit: a.Explicit, Signature: a.Signature, Proof: a.Proof,
		Exporter: s.Exporter, Member: h.Node,
	})
	if err != nil {
		if refusal := new(Refusal); errors.As(err, &refusal) {
			return refusal
		}
		return &Refusal{
			Code: CodeFailed, Text: "the signer could not be asked or did not answer", Hint: "try again with the same code",
		}
	}
	return send(s, link.KindJoinIssued, issued)
}

// How long, and how often, a signer is asked again that did not answer: its link may just have been replaced.
const (
	redeemFor   = 5 * time.Second
	redeemPause = 500 * time.Millisecond
)

// redeem asks the signer until it answers, yes or no. Asking twice does no harm: the same host gets the same answer.
func (h *Host) redeem(ctx context.Context, signer keys.NodeID, r *Redemption) (*Issued, error) {
	giveUp := time.Now().Add(redeemFor)
	for {
		issued, err := h.Redeem(ctx, signer, r)
		_, refused := errors.AsType[*Refusal](err)
		_, failed := errors.AsType[*link.RemoteError](err)
		if err == nil || refused || failed || time.Now().Add(redeemPause).After(giveUp) {
			return issued, err
		}
		select {
		case <-time.After(redeemPause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// trust lets a joiner who proved its invite take all the time that ctx leaves: until then the connection gives it little.
func trust(ctx context.Context, s Session) {
	conn, ok := s.ReadWriter.(interface{ SetReadDeadline(t time.Time) error })
	deadline, bounded := ctx.Deadline()
	if ok && bounded {
		_ = conn.SetReadDeadline(deadline) // an error would come with the next read
	}
}

// sendLog sends the beginning of a log that is too long for the welcome, and returns the rest.
func sendLog(s Session, log [][]byte) (rest [][]byte, err error) {
	size := 0
	for _, entry := range log {
		if size += len(entry); size > partBytes {
			if err := send(s, link.KindJoinLog, part{Log: rest}); err != nil {
				return nil, err
			}
			rest, size = nil, len(entry)
		}
		rest = append(rest, entry)
	}
	return rest, nil
}

// sign signs with a member's identity key, which is Ed25519 and cannot fail.
func sign(id *keys.Identity, message []byte) []byte {
	b, err := id.Signer().Sign(nil, message, crypto.Hash(0))
	if err != nil {
		panic("join: an Ed25519 key does not sign: " + err.Error())
	}
	return b
}
