package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"warren/mesh"
	"warren/mesh/control"
)

func agentCommand(a *app) *cobra.Command {
	var c mesh.Config
	cmd := &cobra.Command{
		Use:     "agent",
		Short:   "run the agent (the service does)",
		Long:    "Run the agent in the foreground, until SIGTERM or SIGINT. It idles until this host belongs to a network.",
		GroupID: groupAgent,
		Args:    none,
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("listen-port") && (c.ListenPort < 1 || c.ListenPort > 65535) {
				return fmt.Errorf("--listen-port: %d is not a port of 1 to 65535", c.ListenPort)
			}
			return notEmpty(cmd, "config", "interface")
		},
		RunE: verb(func(ctx context.Context, _ []string) error {
			log, err := a.logger()
			if err != nil {
				return err
			}
			c.State, c.Version, c.Log = a.state, version(), log
			if c.ConfigFile != "" {
				if c.ConfigFile, err = filepath.Abs(c.ConfigFile); err != nil {
					return control.Errorf(control.ExitUsage, "", "--config: %w", err)
				}
			}
			return mesh.Run(ctx, c)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&c.ConfigFile, "config", "", "configuration `file` (default /etc/warren/warren.toml, or warren.toml in the state folder)")
	f.StringVar(&c.Interface, "interface", "", "`name` of the network interface (default warren0)")
	f.Var((*number)(&c.ListenPort), "listen-port", "UDP `port` (default random, then kept)")
	return cmd
}

// logger writes to stderr, as loud as WARREN_LOG says. A service manager adds the time itself.
func (a *app) logger() (*slog.Logger, error) {
	var level slog.Level
	if text := os.Getenv("WARREN_LOG"); text != "" {
		if err := level.UnmarshalText([]byte(text)); err != nil {
			return nil, control.Errorf(control.ExitUsage, "debug, info, warn or error", "WARREN_LOG: unknown level %q", clip(text))
		}
	}
	opts := &slog.HandlerOptions{Level: level}
	if os.Getenv("JOURNAL_STREAM") != "" {
		opts.ReplaceAttr = func(groups []string, attr slog.Attr) slog.Attr {
			if len(groups) == 0 && attr.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return attr
		}
	}
	return slog.New(slog.NewTextHandler(a.err, opts)), nil
}
