package main

import (
	"context"

	"github.com/spf13/cobra"
)

func upCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "up",
		Short:   "connect this host to its network",
		GroupID: groupNetwork,
		Args:    none,
		RunE:    verb(func(ctx context.Context, _ []string) error { return a.client().Up(ctx) }),
	}
}
