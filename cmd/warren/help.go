package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// helpCommand is cobra's, but for an unknown command, which is an error.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "help about a command",

		GroupID: groupAgent,
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return &hinted{fmt.Errorf("unknown command %q", clip(strings.Join(args, " "))), "warren help lists the commands"}
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}
