package main

import (
	"context"
	"log/slog"

	"warren/mesh/control"
)

// engineConfig is what the agent verb knows.
type engineConfig struct {
	State      string
	ConfigFile string
	Interface  string
	ListenPort int
	Version    string
	Log        *slog.Logger
}

func runEngine(context.Context, engineConfig) error {
	return control.Errorf(control.ExitFailed, "", "this build has no engine yet")
}
