// Package control is the local API of the agent: the requests that a verb of the command line makes, the documents that
// it prints, and how both travel as HTTP with JSON over a unix socket. It knows nothing of networks, paths or keys: the
// engine (package mesh) implements Backend and serves it with Listener.Serve, cmd/warren calls it through Client.
//
// Every request is POST /v1/VERB with one JSON object. The answer is one JSON object, or, for ping and join, one
// object a line (see the type line). Who may ask is decided by the credentials that the kernel tells of
// the other end: root, the user that the agent runs as, and members of the group "warren".
package control

import (
	"context"
	"net/netip"
	"time"
)

// Backend does what the verbs ask. Its methods are called from many goroutines at a time; ctx ends when the caller
// hangs up or the agent stops. An error should be an *Error, which reaches the caller as it is; any other becomes one
// with ExitFailed. A PEER is a text as a person wrote it, "" where none was given: see Pick.
type Backend interface {
	// Init founds a network here.
	Init(ctx context.Context, r InitRequest) (*InitReply, error)
	// Invite makes a join code.
	Invite(ctx context.Context, r InviteRequest) (*InviteReply, error)
	// Join makes this host a member and returns when a member answered over the tunnel. If the certificate was issued
	// but nobody answered in time it returns both a reply and an error. progress may be called from one goroutine at a
	// time and only before Join returns.
	Join(ctx context.Context, r JoinRequest, progress func(Progress)) (*JoinReply, error)
	// Up connects.
	Up(ctx context.Context) error
	// Down disconnects; the membership is kept, and down is remembered over restarts.
	Down(ctx context.Context) error
	// Leave signs off and forgets the network.
	Leave(ctx context.Context) error
	// Status tells what the agent knows now, of one peer if peer is not "". It succeeds in every state: a host that
	// belongs to no network gets a document with StateNone.
	Status(ctx context.Context, peer string) (*Status, error)
	// Ping sends echo requests through the tunnel, one a second, and calls pong once for each in order. An error of
	// pong ends it and is returned. No answer at all is no error.
	Ping(ctx context.Context, r PingRequest, pong func(Pong) error) error
	// IP returns the overlay addresses of a peer, or of this host if peer is "", IPv4 first.
	IP(ctx context.Context, peer string) ([]netip.Addr, error)
	// Wait returns nil when what was asked for is so, and an *Error with ExitFailed when the time is over.
	Wait(ctx context.Context, r WaitRequest) error
}

// InitRequest asks to found a network.
type InitRequest struct {
	Name     string       `json:"name"`     // of the network; "" is "home"
	Hostname string       `json:"hostname"` // of this host; "" is the system's name
	IPRange  netip.Prefix `json:"ip_range"` // the zero Prefix is 100.64.0.0/10
}

// InitReply tells what was founded.
type InitReply struct {
	Network     Network       `json:"network"`
	Self        Host          `json:"self"`
	Reached     List[Reached] `json:"reached"`      // always empty; the same shape as JoinReply
	RecoveryKey string        `json:"recovery_key"` // shown this once, stored nowhere
	Warnings    List[Warning] `json:"warnings"`
}

// MaxUses is how many hosts may join with one code.
const MaxUses = 1 << 20

// InviteRequest asks for a join code.
type InviteRequest struct {
	TTL       time.Duration `json:"ttl"`       // > 0
	Uses      int           `json:"uses"`      // 1 to MaxUses
	Groups    []string      `json:"groups"`    // of the host that joins
	Endpoints []string      `json:"endpoints"` // HOST:PORT, to be resolved at once; empty: the agent chooses
}

// InviteReply is a join code and what it is good for.
type InviteReply struct {
	Code      string        `json:"code"`
	ID        string        `json:"id"`
	Expires   Time          `json:"expires"`
	Uses      int           `json:"uses"`
	Endpoints List[string]  `json:"endpoints"`
	Warnings  List[Warning] `json:"warnings"`
}

// JoinRequest asks to become a member.
type JoinRequest struct {
	Code     string        `json:"code"`
	Hostname string        `json:"hostname"` // a name that must be free; "": the system's, the signer changes it if taken
	Timeout  time.Duration `json:"timeout"`  // for all of it; > 0
}

// Progress is one step of a join, as a sentence for people.
type Progress struct {
	Text string `json:"text"`
}

// JoinReply tells who this host is now, and which members answered.
type JoinReply struct {
	Network  Network       `json:"network"`
	Self     Host          `json:"self"`
	Reached  List[Reached] `json:"reached"`
	Warnings List[Warning] `json:"warnings"`
}

// Host is how a host stands in its certificate.
type Host struct {
	Name      string           `json:"name"`
	ID        string           `json:"id"`
	Addresses List[netip.Addr] `json:"addresses"` // IPv4 first
	PublicKey string           `json:"public_key"`
}

// Reached is a member that answered over the tunnel during a join.
type Reached struct {
	Name string   `json:"name"`
	Path Path     `json:"path"`
	RTT  *float64 `json:"rtt_ms"`
}

// PingRequest asks for echo requests to one peer.
type PingRequest struct {
	Peer        string        `json:"peer"`
	Count       int           `json:"count"`   // 0: until ctx ends
	Timeout     time.Duration `json:"timeout"` // of each; > 0
	UntilDirect bool          `json:"until_direct"`
}

// Pong is what became of one echo request.
type Pong struct {
	Name    string     `json:"-"` // of the peer
	Address netip.Addr `json:"-"` // that was pinged

	Seq       int      `json:"seq"` // from 1
	OK        bool     `json:"ok"`
	RTT       *float64 `json:"rtt_ms"`
	Path      Text     `json:"path"`      // "direct" or "relay"
	Endpoint  Text     `json:"endpoint"`  // ip:port of a direct path
	Relay     Text     `json:"relay"`     // a member's name
	Transport Text     `json:"transport"` // "udp" or "tls"
	Error     Text     `json:"error"`     // "timeout", or what stood in the way
}

// WaitRequest asks to block until something is so.
type WaitRequest struct {
	Peer    string        `json:"peer"`    // "": this host is up and, unless it is alone, one member answers
	Direct  bool          `json:"direct"`  // the peer's path is direct
	Timeout time.Duration `json:"timeout"` // > 0
}
