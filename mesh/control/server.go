package control

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"time"
)

// What a caller may ask of the agent's memory and patience.
const (
	maxRequest = 64 << 10         // bytes of a request's body; a join code has 172 characters
	bodyTime   = 10 * time.Second // for the body to come
	lineTime   = 10 * time.Second // for a line of a stream to be taken
	replyTime  = 30 * time.Second // for a document to be taken: the status of a large network is some MB
)

// routes serves b.
func routes(b Backend) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/init", answer(b.Init))
	mux.HandleFunc("POST /v1/invite", answer(b.Invite))
	mux.HandleFunc("POST /v1/up", answer(plain(b.Up)))
	mux.HandleFunc("POST /v1/down", answer(plain(b.Down)))
	mux.HandleFunc("POST /v1/leave", answer(plain(b.Leave)))
	mux.HandleFunc("POST /v1/status", answer(func(ctx context.Context, r peerRequest) (*Status, error) {
		return b.Status(ctx, r.Peer)
	}))
	mux.HandleFunc("POST /v1/ip", answer(func(ctx context.Context, r peerRequest) (*ipReply, error) {
		addrs, err := b.IP(ctx, r.Peer)
		return &ipReply{Addresses: List[netip.Addr](addrs)}, err
	}))
	mux.HandleFunc("POST /v1/wait", answer(func(ctx context.Context, r WaitRequest) (*empty, error) {
		return nil, b.Wait(ctx, r)
	}))
	mux.HandleFunc("POST /v1/join", stream(func(ctx context.Context, r JoinRequest, send func(line) error) error {
		rep, err := b.Join(ctx, r, func(p Progress) { _ = send(line{Progress: &p}) })
		if rep != nil {
			_ = send(line{Reply: rep})
		}
		return err
	}))
	mux.HandleFunc("POST /v1/ping", stream(func(ctx context.Context, r PingRequest, send func(line) error) error {
		return b.Ping(ctx, r, func(p Pong) error {
			return send(line{Pong: &pongLine{Pong: p, Name: p.Name, Address: p.Address}})
		})
	}))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		reply(w, nil, Errorf(ExitFailed, "agent and command line are of different versions: restart the agent",
			"the agent does not know %s", r.URL.Path))
	})
	return mux
}

func plain(f func(context.Context) error) func(context.Context, empty) (*empty, error) {
	return func(ctx context.Context, _ empty) (*empty, error) { return nil, f(ctx) }
}

// answer serves a verb whose answer is one document.
func answer[Req, Rep any](f func(context.Context, Req) (*Rep, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req Req
		if err := decode(w, r, &req); err != nil {
			reply(w, nil, err)
			return
		}
		rep, err := f(r.Context(), req)
		if err != nil {
			reply(w, nil, failed(r.Context(), err))
			return
		}
		if rep == nil {
			reply(w, empty{}, nil)
			return
		}
		reply(w, rep, nil)
	}
}

// stream serves a verb whose answer is one document a line. send fails when the caller has hung up.
func stream[Req any](f func(context.Context, Req, func(line) error) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req Req
		if err := decode(w, r, &req); err != nil {
			reply(w, nil, err)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		enc, rc := json.NewEncoder(w), http.NewResponseController(w)
		send := func(l line) error {
			// A caller that takes nothing would hold what Join holds.
			_ = rc.SetWriteDeadline(time.Now().Add(lineTime))
			if err := enc.Encode(l); err != nil {
				return err
			}
			return rc.Flush()
		}
		if err := f(r.Context(), req, send); err != nil {
			_ = send(line{Error: failed(r.Context(), err)})
			return
		}
		_ = send(line{Done: true})
	}
}

// failed is what a caller hears of an error. One who still listens when ctx has ended hears that the agent ends, and not
// what that made of the verb.
func failed(ctx context.Context, err error) *Error {
	if e := AsError(err); ctx.Err() == nil || e.Exit == ExitNotRunning {
		return e
	}
	return Errorf(ExitFailed, "", "the agent was stopped before it had answered")
}

// decode reads a request. All of the body is read, as only then the server notices that the caller hangs up.
func decode(w http.ResponseWriter, r *http.Request, req any) *Error {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTime))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err == nil {
		err = json.Unmarshal(body, req)
	}
	if err != nil {
		return Errorf(ExitUsage, "", "the request cannot be read: %w", err)
	}
	_ = rc.SetReadDeadline(time.Time{})
	if c, ok := req.(interface{ check() *Error }); ok {
		return c.check()
	}
	return nil
}

func (r *InviteRequest) check() *Error {
	if r.TTL < 0 || r.Uses < 0 || r.Uses > MaxUses {
		return Errorf(ExitUsage, "", "a join code cannot be good for %s and %d uses", r.TTL, r.Uses)
	}
	return nil
}

func (r *PingRequest) check() *Error {
	if r.Count < 0 || r.Timeout < 0 {
		return Errorf(ExitUsage, "", "a ping cannot be sent %d times and wait for %s", r.Count, r.Timeout)
	}
	return nil
}

// reply writes a document, or err with a status code that is not 200.
func reply(w http.ResponseWriter, doc any, err *Error) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(replyTime))
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		code := http.StatusUnprocessableEntity
		if err.Exit == ExitPermission {
			code = http.StatusForbidden
		}
		w.WriteHeader(code)
		doc = err
	}
	_ = json.NewEncoder(w).Encode(doc) // fails when the caller hung up, who then has no use for it
}

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
