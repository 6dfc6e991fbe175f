package main

import (
	"context"

	"github.com/spf13/cobra"
)

func downCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "down",
		Short:   "disconnect; the membership is kept",
		GroupID: groupNetwork,
		Args:    none,
		RunE:    verb(func(ctx context.Context, _ []string) error { return a.client().Down(ctx) }),
	}
}
