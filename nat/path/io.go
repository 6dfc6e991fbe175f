package path

import (
	"time"

	"warren/keys"
)

// Event is something that happened to the peer's paths; the types below are all there are.
type Event interface{ event() }

// Candidates are the addresses in the peer's newest record; they replace those of the record before. Addresses that
// are not unicast are skipped; those inside the overlay, and loopback, are the caller's to leave out.
type Candidates struct{ Remote []keys.Candidate }

// Connect says that somebody wants a usable path now, for a link or a tunnel, whatever became of the last one. If the
// path is fresh, Use and Changed follow at once; else a stale path is checked again, a round starts, and Use and
// Changed follow when a check is answered, or Changed when the round failed.
type Connect struct{}

// Initiation says that a WireGuard handshake initiation (type 1) left for the peer. The peer is called, so that it
// configures us, unless it acknowledged a call in the last seconds.
type Initiation struct{}

// Traffic reports coarsely (about once a second while there is any) what tunnel packets were seen since the last
// report. From is the path by which the newest packet came, if Rx and known: only then it counts as proof of life of
// that path. Link packets and checks are not traffic.
type Traffic struct {
	Tx, Rx bool
	From   Path
}

// CheckRequested says that a check, authentic under the pair's key, came from the peer by Path. The caller has answered
// it. A transaction id seen before triggers nothing.
type CheckRequested struct {
	ID   [12]byte
	Path Path
}

// CheckAnswered says that an authentic response came by Path. Responses to unknown checks, or from elsewhere than the
// check went to, prove no path.
type CheckAnswered struct {
	ID   [12]byte
	Path Path
}

// Call is the peer's CALL, opened and authenticated by the caller.
type Call struct {
	Session    uint64
	Candidates []keys.Candidate
}

// Ack is the peer's ACK to our CALL.
type Ack struct {
	Session    uint64
	Candidates []keys.Candidate
}

// Go is the peer's GO after our ACK: fire now.
type Go struct{ Session uint64 }

// Proven says that an authenticated WireGuard packet came in by Path (the device answered to it). It may be repeated;
// each counts as life of that path.
type Proven struct{ Path Path }

// KeepWarm asks for one check on the current path, to keep the NATs' mappings and to see its death, if nothing was
// answered there in the last seconds. For peers that are linked but have no traffic: about every 25 s. Urgent asks for
// the check in any case: its answer shows how our NAT maps us now.
type KeepWarm struct{ Urgent bool }

// Reset says that the network under us, or the peer itself, changed: nothing known about paths is sure any more.
type Reset struct{}

// Tick lets the time that Wake asked for come.
type Tick struct{}

func (Candidates) event()     {}
func (Connect) event()        {}
func (Initiation) event()     {}
func (Traffic) event()        {}
func (CheckRequested) event() {}
func (CheckAnswered) event()  {}
func (Call) event()           {}
func (Ack) event()            {}
func (Go) event()             {}
func (Proven) event()         {}
func (KeepWarm) event()       {}
func (Reset) event()          {}
func (Tick) event()           {}

// Action is something the caller must do; the types below are all there are. Actions are to be done in order.
type Action interface{ action() }

// SendCheck asks for a check with this transaction id by Path.
type SendCheck struct {
	ID   [12]byte
	Path Path
}

// Signal says which signalling message.
type Signal uint8

// The signalling messages; CALL and ACK carry the sender's candidates.
const (
	SignalCall Signal = 1
	SignalAck  Signal = 2
	SignalGo   Signal = 3
)

// SendSignal asks for a message to the peer through control links: the caller adds our candidates, seals and routes it.
type SendSignal struct {
	Signal  Signal
	Session uint64
}

// Use says by which path data to the peer goes from now on; the zero Path is none. A repeated Use tells who waits since
// Connect that the path is fresh.
type Use struct{ Path Path }

// Resend asks for the newest stored handshake initiation to be sent again, if it is still unanswered.
type Resend struct{}

// Changed says that the Snapshot changed in a way that status shows, or that an attempt since Connect ended.
type Changed struct{}

// Refresh says that our own addresses may have changed unnoticed (a NAT that lost its memory): the caller should give an
// urgent KeepWarm to the cores of other members soon, but not within this Step. A CALL with what they show follows.
type Refresh struct{}

// Wake asks for Step with Tick not before At and not much later; only the newest counts. A Tick too many does no harm.
type Wake struct{ At time.Time }

func (SendCheck) action()  {}
func (SendSignal) action() {}
func (Use) action()        {}
func (Resend) action()     {}
func (Changed) action()    {}
func (Refresh) action()    {}
func (Wake) action()       {}
