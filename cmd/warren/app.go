package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"warren/mesh/config"
	"warren/mesh/control"
)

// app is what the verbs of one command line share.
type app struct {
	out, err io.Writer
	state    string // the state folder, absolute
}

// root returns the command line.
func (a *app) root() *cobra.Command {
	cobra.EnableCommandSorting = false // ours is the order in which they are needed
	root := &cobra.Command{
		Use:   "warren",
		Short: "a mesh VPN without a server",
		Long: `Warren joins hosts into one private network, with WireGuard between each two and without a server.

An agent runs on every host ("warren agent", or the service); the other commands ask it.`,
		Version:       version(),
		Args:          unknownVerb,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,

		DisableFlagsInUseLine: true,
		DisableSuggestions:    true,
		PersistentPreRunE:     a.findState,
		CompletionOptions:     cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetVersionTemplate("warren {{.Version}}\n")
	root.PersistentFlags().StringVar(&a.state, "state", "", "`folder` of the agent (default $WARREN_STATE or "+config.DefaultState+")")
	root.AddGroup(&cobra.Group{ID: groupNetwork, Title: "A network:"}, &cobra.Group{ID: groupLook, Title: "Look at it:"},
		&cobra.Group{ID: groupAgent, Title: "The agent:"})
	root.SetHelpCommand(helpCommand())
	root.AddCommand(initCommand(a), inviteCommand(a), joinCommand(a), upCommand(a), downCommand(a), leaveCommand(a),
		statusCommand(a), pingCommand(a), ipCommand(a), waitCommand(a),
		agentCommand(a), versionCommand(a))
	return root
}

// Groups of verbs in the help.
const (
	groupNetwork = "network"
	groupLook    = "look"
	groupAgent   = "agent"
)

// findState settles the state folder: the flag, then the environment, then the default.
func (a *app) findState(cmd *cobra.Command, _ []string) error {
	if !cmd.Flags().Changed("state") {
		a.state = os.Getenv("WARREN_STATE")
		if a.state == "" {
			a.state = config.DefaultState
		}
	}
	if a.state == "" {
		return fmt.Errorf("--state needs a folder")
	}
	abs, err := filepath.Abs(a.state)
	if err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	a.state = abs
	return nil
}

func (a *app) client() *control.Client { return control.NewClient(config.SocketPath(a.state)) }

// verb makes the RunE of a command: whatever f returns is a failure of the verb, not of its usage.
func verb(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := f(cmd.Context(), args); err != nil {
			return &failure{err}
		}
		return nil
	}
}

// none takes no argument.
func none(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no argument, got %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// one takes exactly one argument, called what.
func one(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s needs a %s", cmd.CommandPath(), what)
		}
		return atMostOne(what)(cmd, args)
	}
}

// atMostOne takes one argument, called what, or none.
func atMostOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return fmt.Errorf("%s takes one %s, got %q too", cmd.CommandPath(), what, args[1])
		}
		if len(args) == 1 && args[0] == "" { // a variable of a script that was never set
			return fmt.Errorf("%s got an empty %s", cmd.CommandPath(), what)
		}
		return nil
	}
}

// first returns the first argument, "" if there is none.
func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
