package main

import (
	"context"

	"github.com/spf13/cobra"
)

func leaveCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "leave",
		Short:   "sign off and forget the network",
		GroupID: groupNetwork,
		Args:    none,
		RunE:    verb(func(ctx context.Context, _ []string) error { return a.client().Leave(ctx) }),
	}
}
