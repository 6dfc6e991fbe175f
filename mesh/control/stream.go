package control

import "net/netip"

// line is one line of an answer that is a stream. Exactly one field is set; a stream ends with Error or Done, and one
// that ends otherwise was cut off. Reply comes before either of them.
type line struct {
	Progress *Progress  `json:"progress,omitempty"`
	Pong     *pongLine  `json:"pong,omitempty"`
	Reply    *JoinReply `json:"reply,omitempty"`
	Error    *Error     `json:"error,omitempty"`
	Done     bool       `json:"done,omitempty"`
}

// pongLine adds to a Pong what its document for people does not hold.
type pongLine struct {
	Pong
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"`
}

type peerRequest struct {
	Peer string `json:"peer"`
}

type ipReply struct {
	Addresses List[netip.Addr] `json:"addresses"`
}

type empty struct{}
