package control

import (
	"bytes"
	"encoding/json"
	"math"
	"net/netip"
	"time"
)

// State is what the agent is, as status shows it.
type State string

// The states of an agent. Up and down are states of a member.
const (
	StateUp      State = "up"
	StateDown    State = "down"
	StateNone    State = "none" // belongs to no network
	StateRevoked State = "revoked"
)

// Path is how tunnel traffic to a peer goes now.
type Path string

// The paths that status shows. PathIdle is a peer without traffic; PathUnreachable is tried and failed, or offline with
// traffic waiting.
const (
	PathDirect      Path = "direct"
	PathRelay       Path = "relay"
	PathProbing     Path = "probing"
	PathIdle        Path = "idle"
	PathUnreachable Path = "unreachable"
)

// Status is the document of "warren status --json". Its schema is stable: every key is always there, unknown is null,
// lists are [], keys are only ever added.
type Status struct {
	Version    string        `json:"version"`
	State      State         `json:"state"`
	Warnings   List[Warning] `json:"warnings"`
	Network    *Network      `json:"network"` // nil before init or join
	Self       Self          `json:"self"`
	Peers      List[Peer]    `json:"peers"`
	Forwarding List[Forward] `json:"forwarding"`
}

// Warning is something a person should know or mend. Code is for programs and never changes.
type Warning struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// Network is the network that a host belongs to.
type Network struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Members int    `json:"members"` // this host included
}

// Self is this host.
type Self struct {
	Name       Text                 `json:"name"`
	ID         Text                 `json:"id"`
	Addresses  List[netip.Addr]     `json:"addresses"` // IPv4 first
	PublicKey  Text                 `json:"public_key"`
	Candidates List[netip.AddrPort] `json:"candidates"`
	Signer     bool                 `json:"signer"`
	Expires    Time                 `json:"expires"` // of its certificate
	NAT        NAT                  `json:"nat"`
	Relays     List[string]         `json:"relays"`
}

// NAT is what is known of the translators between this host and the others.
type NAT struct {
	UDP       *bool `json:"udp"` // whether UDP passes
	Mapping   Text  `json:"mapping"`
	Filtering Text  `json:"filtering"`
}

// Peer is another member.
type Peer struct {
	Name          string           `json:"name"`
	ID            string           `json:"id"`
	Addresses     List[netip.Addr] `json:"addresses"` // IPv4 first
	Online        bool             `json:"online"`
	Path          Path             `json:"path"`
	Reason        string           `json:"reason"`    // why the path is no better, "" where there is nothing to say
	Endpoint      Text             `json:"endpoint"`  // ip:port, known while the path is direct
	Relay         Text             `json:"relay"`     // a member's name
	Transport     Text             `json:"transport"` // "udp" or "tls"
	RTT           *float64         `json:"rtt_ms"`
	Legs          List[float64]    `json:"legs_ms"` // to the relay, and from there
	RxBytes       uint64           `json:"rx_bytes"`
	TxBytes       uint64           `json:"tx_bytes"`
	LastHandshake Time             `json:"last_handshake"`
}

// Forward is traffic that this host relays for others, who are named.
type Forward struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Bytes uint64 `json:"bytes"`
}

// Millis returns d in milliseconds, rounded to a microsecond, as the documents hold it.
func Millis(d time.Duration) *float64 {
	return new(math.Round(float64(d)/float64(time.Microsecond)) / 1000)
}

// Text is a string whose unknown value, the empty one, is null in JSON.
type Text string

// MarshalJSON writes a string or null.
func (t Text) MarshalJSON() ([]byte, error) {
	if t == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(t))
}

// Time is a time whose unknown value, the zero one, is null in JSON. It is written in RFC 3339, UTC, whole seconds.
type Time struct{ time.Time }

// MarshalJSON writes a string or null.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(t.UTC().Format(time.RFC3339))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *Time) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		*t = Time{}
		return nil
	}
	return json.Unmarshal(b, &t.Time)
}

// List is a slice that is [] in JSON, never null.
type List[T any] []T

// MarshalJSON writes an array.
func (l List[T]) MarshalJSON() ([]byte, error) {
	if l == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]T(l))
}
