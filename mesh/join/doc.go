// Package join is the conversation in which a host becomes a member: the joiner's side (Ask), the side of the member
// that it found (Serve), and the signer's decision (Redeem). It runs over one stream of a warren-join/1 connection.
//
//	joiner                                   member
//	Prove  {invite id, signature}       ->            the invite key signs exporter and network id
//	                                    <-   Welcome  {log, certificate, signature, signer}
//	Ask    {CSR, signature, WG proof}   ->            the invite key signs label, network, invite, CSR, exporter, member
//	                                    <-   Issued   {certificate, items}   or   Refused {code, text, hint}
//
// The seed of the invite never crosses the wire, and every signature covers the TLS exporter, so a conversation can
// neither be replayed nor relayed into another connection. Until the first signature matched a live grant the member
// says nothing about its network; whoever cannot prove the invite gets one equal refusal.
//
// The package knows no sockets and no store: the engine gives it a stream and answers its questions.
package join
