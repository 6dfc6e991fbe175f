package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"warren/mesh/config"
	"warren/mesh/control"
)

func inviteCommand(a *app) *cobra.Command {
	var req control.InviteRequest
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "invite",
		Short:   "print a join code for another host",
		GroupID: groupNetwork,
		Args:    none,
		PreRunE: func(*cobra.Command, []string) error { return checkInvite(req) },
		RunE: verb(func(ctx context.Context, _ []string) error {
			rep, err := a.client().Invite(ctx, req)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(rep)
			}
			a.warn(rep.Warnings)
			_, err = fmt.Fprintln(a.out, clean(rep.Code))
			return err
		}),
	}
	f := cmd.Flags()
	f.DurationVar(&req.TTL, "ttl", 24*time.Hour, "`time` until the code expires")
	f.IntVar(&req.Uses, "uses", 1, "how many hosts may join with it")
	f.StringArrayVar(&req.Groups, "group", nil, "`group` of the host that joins (may be repeated)")
	f.StringArrayVar(&req.Endpoints, "endpoint", nil, "`HOST:PORT` at which this host is reached (may be repeated)")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func checkInvite(r control.InviteRequest) error {
	if r.TTL <= 0 {
		return errors.New("--ttl must be more than nothing")
	}
	if r.Uses < 1 {
		return errors.New("--uses must be at least 1")
	}
	for _, e := range r.Endpoints {
		if msg := config.CheckHostPort(e); msg != "" {
			return &hinted{errors.New("--endpoint: " + msg), "for example: --endpoint vpn.example.org:41641"}
		}
	}
	return nil
}
