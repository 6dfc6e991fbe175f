package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"warren/mesh/control"
)

func pingCommand(a *app) *cobra.Command {
	req := control.PingRequest{Count: 4, Timeout: 2 * time.Second}
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ping PEER",
		Short:   "ping through the tunnel and show the path of each answer",
		GroupID: groupLook,
		Args:    one("PEER"),
		PreRunE: func(*cobra.Command, []string) error {
			if req.Count < 0 {
				return errors.New("--count must not be negative")
			}
			return nil
		},
		RunE: verb(func(ctx context.Context, args []string) error {
			req.Peer = args[0]
			return a.ping(ctx, req, asJSON)
		}),
	}
	f := cmd.Flags()
	f.VarP((*number)(&req.Count), "count", "c", "how many, 0: until interrupted")
	f.BoolVar(&req.UntilDirect, "until-direct", false, "stop when an answer came by a direct path")
	f.BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

// ping fails when there was no answer at all, and tells why if that is known. An interrupt is how an endless one ends.
func (a *app) ping(ctx context.Context, req control.PingRequest, asJSON bool) error {
	var last control.Pong
	answered, direct := false, false
	err := a.client().Ping(ctx, req, func(p control.Pong) error {
		last = p
		answered = answered || p.OK
		direct = direct || p.OK && control.Path(p.Path) == control.PathDirect
		if asJSON {
			return json.NewEncoder(a.out).Encode(p)
		}
		_, err := fmt.Fprintln(a.out, pongLine(p))
		return err
	})
	interrupted := ctx.Err() != nil && errors.Is(err, context.Canceled)
	switch {
	case err != nil && !interrupted:
		return err
	case !answered && interrupted:
		return errQuiet
	case !answered:
		return control.Errorf(control.ExitFailed, reason(last), "no answer from %s", last.Name)
	case req.UntilDirect && !direct:
		fmt.Fprintln(a.err, "warren: warning: no answer came by a direct path")
	}
	return nil
}

// pongLine is what people see of one ping.
func pongLine(p control.Pong) string {
	if !p.OK {
		if p.Error == "" || reason(p) != "" {
			return "timeout"
		}
		return clean(string(p.Error))
	}
	via := clean(string(p.Path))
	switch {
	case p.Relay != "":
		via += " " + clean(string(p.Relay))
	case p.Endpoint != "":
		via += " " + clean(string(p.Endpoint))
	}
	return fmt.Sprintf("pong from %s (%s) via %s in %s", clean(p.Name), p.Address, via, millis(p.RTT))
}

// reason is what the agent knows of why there was no answer in time, "" if nothing.
func reason(p control.Pong) string {
	_, why, _ := strings.Cut(string(p.Error), "timeout: ")
	return why
}
