package config

import "path/filepath"

// DefaultState is the state folder of an agent that was told no other.
const DefaultState = "/var/lib/warren"

// SocketPath returns where the agent of a state folder serves its unix socket.
func SocketPath(state string) string {
	if isDefault(state) {
		return "/run/warren/warren.sock"
	}
	return filepath.Join(state, "warren.sock")
}

// FilePath returns where the configuration file of a state folder is.
func FilePath(state string) string {
	if isDefault(state) {
		return "/etc/warren/warren.toml"
	}
	return filepath.Join(state, "warren.toml")
}

func isDefault(state string) bool { return filepath.Clean(state) == DefaultState }
