// Package count counts what the data path and the loop of package nat drop or repeat, by reason. It has one counter a
// reason and no other memory; the names are those of `warren status`.
package count

import "sync/atomic"

// Reason is what is counted.
type Reason int

// The reasons. Of received packets:
const (
	RxUnknown         Reason = iota // no class
	RxRelay                         // a relay frame
	RxLong                          // a control packet that is longer than any
	RxFailed                        // a socket could not be read
	STUNMalformed                   //
	STUNFull                        // the loop is behind
	STUNFlood                       // its sender sent too many bad ones
	STUNForged                      // integrity
	STUNReplayed                    // transaction id seen before
	STUNUnasked                     // of nobody known, or an answer to nothing
	QUICStranger                    // its source never passed a check
	QUICStale                       // long header, and the last check is too old
	QUICFull                        // nobody reads
	SignalForged                    // not sealed by that member
	KnockRefused                    // an initiation of somebody who cannot have a tunnel, or too many
	InitiationCrossed               // theirs, as ours is on its way

	// Of packets to send:

	STUNTooMany      // own checks without an answer
	InitiationResent // not a drop
	TxNoPath         //
	TxNoFamily       // no socket carries IPv4, or IPv6
	TxRefused        // by the kernel
	TxClosed         // no socket is open

	reasons // how many there are
)

// names returns the name of each Reason.
func names() [reasons]string {
	return [reasons]string{
		RxUnknown:         "rx_unknown",
		RxRelay:           "rx_relay",
		RxLong:            "rx_long",
		RxFailed:          "rx_failed",
		STUNMalformed:     "stun_malformed",
		STUNFull:          "stun_full",
		STUNFlood:         "stun_flood",
		STUNForged:        "stun_forged",
		STUNReplayed:      "stun_replayed",
		STUNUnasked:       "stun_unasked",
		QUICStranger:      "quic_stranger",
		QUICStale:         "quic_stale",
		QUICFull:          "quic_full",
		SignalForged:      "signal_forged",
		KnockRefused:      "knocks_refused",
		InitiationCrossed: "initiations_crossed",
		STUNTooMany:       "stun_too_many",
		InitiationResent:  "initiations_resent",
		TxNoPath:          "tx_no_path",
		TxNoFamily:        "tx_no_family",
		TxRefused:         "tx_refused",
		TxClosed:          "tx_closed",
	}
}

// Set is a counter for each Reason. The zero Set is ready; everybody may use it at the same time.
type Set struct{ n [reasons]atomic.Uint64 }

// Add counts one more.
func (s *Set) Add(r Reason) { s.n[r].Add(1) }

// All returns every counter by its name, those at 0 too.
func (s *Set) All() map[string]uint64 {
	all := make(map[string]uint64, reasons)
	for r, name := range names() {
		all[name] = s.n[r].Load()
	}
	return all
}
