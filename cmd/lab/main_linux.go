// Lab puts real agents on a small Internet made of network namespaces on this machine: a demonstration for people, a
// benchmark against plain wireguard-go, and (in its tests) the end-to-end proof. It knows agents only as a user does,
// by the command line of the warren binary; package netlab makes the Internet.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"warren/nat/netlab"
)

func main() {
	code, ran, err := netlab.Reexec()
	if ran {
		os.Exit(code)
	}
	if err == nil {
		err = run(os.Args[1:])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "lab: error: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	cmd := root()
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if ctx.Err() != nil {
		return errors.New("interrupted; everything is cleaned up")
	}
	return err
}

func root() *cobra.Command {
	var binary string
	cmd := &cobra.Command{
		Use:           "lab",
		Short:         "Real agents on a small Internet in network namespaces",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.PersistentFlags().StringVar(&binary, "warren", "", "the warren binary (default: the one beside this program, else built from the source tree)")

	cmd.AddCommand(&cobra.Command{
		Use:   "demo",
		Short: "Five hosts behind different NATs become one network, and the founder dies",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withWorld(cmd.Context(), binary, func(w *world) error {
				return demo(cmd.Context(), w, cmd.OutOrStdout())
			})
		},
	})

	plan := benchPlan{}
	benchCmd := &cobra.Command{
		Use:   "bench",
		Short: "TCP through the mesh beside plain wireguard-go, and the time to join",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withWorld(cmd.Context(), binary, func(w *world) error {
				return bench(cmd.Context(), w, plan, cmd.OutOrStdout())
			})
		},
	}
	flags := benchCmd.Flags()
	flags.IntVar(&plan.rounds, "rounds", 7, "rounds of each tunnel, interleaved")
	flags.DurationVar(&plan.round, "round", defaultRound, "length of a round")
	flags.IntVar(&plan.joins, "joins", 10, "joins to time")
	flags.StringVar(&plan.wireguard, "wireguard", "", "the wireguard-go binary (default: built from the module in go.mod)")
	cmd.AddCommand(benchCmd)
	return cmd
}

// withWorld runs fn in a fresh world and takes that away afterwards, whatever happened.
func withWorld(ctx context.Context, binary string, fn func(*world) error) error {
	dir, err := os.MkdirTemp("", "warren-lab-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if binary, err = findWarren(ctx, binary, dir); err != nil {
		return err
	}
	w, err := newWorld(dir, binary)
	if err != nil {
		return err
	}
	return errors.Join(fn(w), w.close())
}
