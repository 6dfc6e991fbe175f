package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"warren/mesh/config"
	"warren/mesh/control"
)

// failure is an error of a verb that was called as it should be. Every other error that cobra returns is one of usage.
type failure struct{ err error }

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// errQuiet fails with exit code 1 when all there is to say was said.
var errQuiet = errors.New("failed")

// report prints what went wrong and returns the exit code.
func (a *app) report(ctx context.Context, cmd *cobra.Command, err error) int {
	if err == nil {
		return 0
	}
	if errors.Is(err, errQuiet) || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return control.ExitFailed
	}
	e := a.explain(cmd, err)
	fmt.Fprintf(a.err, "warren: error: %s\n", cleanLines(withoutPackage(e.Message)))
	if e.Hint != "" {
		fmt.Fprintf(a.err, "warren: hint: %s\n", cleanLines(e.Hint))
	}
	return e.Exit
}

// explain finds exit code and hint.
func (a *app) explain(cmd *cobra.Command, err error) *control.Error {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		e := control.Errorf(control.ExitUsage, cmd.CommandPath()+" --help", "%w", err)
		if h, ok := errors.AsType[*hinted](err); ok {
			e.Hint = h.hint
		}
		return e
	}
	if c, ok := errors.AsType[*config.Error](f.err); ok && c.Hint != "" {
		return control.Errorf(control.ExitUsage, c.Hint, "%w", c)
	}
	e := control.AsError(f.err)
	if e.Exit == control.ExitNotRunning && e.Hint == "" {
		e.Hint = "start it: warren agent --state " + a.state
		if filepath.Clean(a.state) == config.DefaultState {
			e.Hint = "start it as root: systemctl start warren, or: warren agent"
		}
	}
	return e
}

// hinted is a usage error with a hint.
type hinted struct {
	error
	hint string
}

// unknownVerb refuses an argument of the root, which is a verb that does not exist.
func unknownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := &hinted{fmt.Errorf("unknown command %q", clip(args[0])), "warren help lists the commands"}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err.hint = "did you mean warren " + strings.Join(near, " or ") + "?"
	}
	return err
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// packages are those of ours whose name begins the text of their errors.
var packages = []string{
	"clock", "config", "control", "endpoints", "join", "keys", "link", "mesh", "name", "nat", "roster", "secret", "settings",
	"state", "tun", "vault",
}

// withoutPackage leaves out what helps only who reads the source: "state: opening /x" is "opening /x".
func withoutPackage(s string) string {
	for {
		name, rest, ok := strings.Cut(s, ": ")
		if !ok || !slices.Contains(packages, name) {
			return s
		}
		s = rest
	}
}
