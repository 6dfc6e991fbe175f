// Package settings joins what the command line, the config file and the state folder say about how an agent runs, and
// keeps the part of it that must be known at the next start.
package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"

	"warren/mesh/config"
)

// fileName is where they are kept, in the folder.
const fileName = "settings.json"

// Settings are what an agent goes by.
type Settings struct {
	Port       int           // UDP; 0: any
	Pinned     bool          // a person chose the port: if it is in use, that is an error
	Interface  string        // its name
	Down       bool          // told so by a person, remembered
	File       config.Config // flags included
	Advertised []netip.AddrPort
}

// Folder is where they are kept.
type Folder interface {
	ReadFile(name string) ([]byte, error)
	WriteFile(name string, content []byte) error
}

// remembered is the content of the settings file.
type remembered struct {
	Port int  `json:"port"`
	Down bool `json:"down"`
}

// Load adds to a config file, and the flags in it, what the folder remembers. A file that cannot be understood is
// forgotten: nothing in it is worth more than an agent that starts.
func Load(folder Folder, file config.Config, log *slog.Logger) (Settings, error) {
	s := Settings{File: file, Interface: file.Interface}
	var r remembered
	text, err := folder.ReadFile(fileName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return Settings{}, err
	default:
		if err := json.Unmarshal(text, &r); err != nil || r.Port < 0 || r.Port > 65535 {
			log.Warn("settings not readable, taking the defaults", "err", err)
			r = remembered{}
		}
	}
	s.Port, s.Down = r.Port, r.Down
	if file.ListenPort != 0 {
		s.Port, s.Pinned = file.ListenPort, true
	}
	return s, nil
}

// Pending reports whether a config file asks for what takes effect only when the agent starts again.
func (s *Settings) Pending(file config.Config) bool {
	port := s.Pinned
	if file.ListenPort != 0 {
		port = file.ListenPort != s.Port
	}
	return port || file.Interface != s.Interface
}

// Save writes what must be known at the next start.
func (s *Settings) Save(folder Folder) error {
	text, err := json.Marshal(remembered{Port: s.Port, Down: s.Down})
	if err != nil {
		return fmt.Errorf("settings: encoding: %w", err)
	}
	return folder.WriteFile(fileName, text)
}
