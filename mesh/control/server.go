package control

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
)

// maxRequest is the size of a request's body; a join code has 172 characters.
const maxRequest = 1 << 20

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
			reply(w, nil, AsError(err))
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
			if err := enc.Encode(l); err != nil {
				return err
			}
			return rc.Flush()
		}
		if err := f(r.Context(), req, send); err != nil {
			_ = send(line{Error: AsError(err)})
			return
		}
		_ = send(line{Done: true})
	}
}

func decode(w http.ResponseWriter, r *http.Request, req any) *Error {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(req); err != nil {
		return Errorf(ExitUsage, "", "the request cannot be read: %w", err)
	}
	return nil
}

// reply writes a document, or err with a status code that is not 200.
func reply(w http.ResponseWriter, doc any, err *Error) {
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
