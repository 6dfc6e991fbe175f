package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"warren/mesh/control"
)

func joinCommand(a *app) *cobra.Command {
	req := control.JoinRequest{Timeout: 60 * time.Second}
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "join CODE",
		Short:   "become a member of the network that CODE is for",
		GroupID: groupNetwork,
		Args:    one("join code"),
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := notEmpty(cmd, "hostname"); err != nil {
				return err
			}
			return checkTimeout(req.Timeout)
		},
		RunE: verb(func(ctx context.Context, args []string) error {
			req.Code = args[0]
			rep, err := a.client().Join(ctx, req, func(p control.Progress) {
				if !asJSON {
					fmt.Fprintf(a.err, "%s\n", clean(p.Text))
				}
			})
			if rep == nil {
				return err
			}
			// Without an answer of a member there is an error too, but a membership to tell of.
			return errors.Join(err, a.printJoin(rep, asJSON))
		}),
	}
	f := cmd.Flags()
	f.StringVar(&req.Hostname, "hostname", "", "`name` of this host, refused if taken (default the system's, changed if taken)")
	f.Var((*span)(&req.Timeout), "timeout", "give up after this `time`")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) printJoin(rep *control.JoinReply, asJSON bool) error {
	if asJSON {
		return a.printJSON(rep)
	}
	if err := a.printHost(rep.Network, rep.Self); err != nil {
		return err
	}
	for _, r := range rep.Reached {
		pair(a.out, "reached", fmt.Sprintf("%s %s %s", r.Name, r.Path, millis(r.RTT)))
	}
	a.warn(rep.Warnings)
	return nil
}

func checkTimeout(d time.Duration) error {
	if d <= 0 {
		return errors.New("--timeout must be more than nothing")
	}
	return nil
}
