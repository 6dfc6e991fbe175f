package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"warren/mesh/control"
)

func waitCommand(a *app) *cobra.Command {
	req := control.WaitRequest{Timeout: 60 * time.Second}
	cmd := &cobra.Command{
		Use:     "wait",
		Short:   "block until this host is up and a member answers",
		GroupID: groupLook,
		Args:    none,
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := notEmpty(cmd, "peer"); err != nil {
				return err
			}
			if req.Direct && req.Peer == "" {
				return errors.New("--direct needs --peer")
			}
			return checkTimeout(req.Timeout)
		},
		RunE: verb(func(ctx context.Context, _ []string) error { return a.client().Wait(ctx, req) }),
	}
	f := cmd.Flags()
	f.StringVar(&req.Peer, "peer", "", "until this `PEER` answers")
	f.BoolVar(&req.Direct, "direct", false, "until its path is direct")
	f.Var((*span)(&req.Timeout), "timeout", "give up after this `time`")
	return cmd
}
