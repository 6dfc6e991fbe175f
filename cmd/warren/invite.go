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
	req := control.InviteRequest{TTL: 24 * time.Hour, Uses: 1}
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
	f.Var((*span)(&req.TTL), "ttl", "`time` until the code expires")
	f.Var((*number)(&req.Uses), "uses", "how many hosts may join with it")
	f.StringArrayVar(&req.Groups, "group", nil, "`group` of the host that joins (may be repeated)")
	f.StringArrayVar(&req.Endpoints, "endpoint", nil, "`HOST:PORT` at which this host is reached (may be repeated)")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func checkInvite(r control.InviteRequest) error {
	if r.TTL <= 0 {
		return errors.New("--ttl must be more than nothing")
	}
	if r.Uses < 1 || r.Uses > control.MaxUses {
		return fmt.Errorf("--uses must be at least 1 and at most %d", control.MaxUses)
	}
	for _, e := range r.Endpoints {
		if msg := config.CheckHostPort(e); msg != "" {
			return &hinted{errors.New("--endpoint: " + msg), "for example: --endpoint vpn.example.org:41641"}
		}
	}
	return nil
}
