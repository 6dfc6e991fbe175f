// Package config reads the agent's configuration file, which is for people: TOML, optional, small. It checks every key
// and value at once, so that the engine works with a Config that is right, and a person learns the line that is wrong.
// It also knows where the files of an agent are. It never writes.
//
// A flag of the command line beats the file, the file beats what "warren set" left, and that beats the defaults.
package config

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// Config is the settings of one agent. The zero Config is not valid; see Default.
type Config struct {
	ListenPort   int      // UDP; 0: the remembered one, random at first
	Interface    string   // name of the network interface
	Advertise    []string // HOST:PORT at which others reach this host, for join codes
	STUN         []string // HOST:PORT of public STUN servers that may be asked
	Relay        string   // "auto", "on" or "off"
	RelayRate    uint64   // bits a second that this host forwards for others; 0: no limit
	Metered      bool     // traffic costs money here
	TLSPorts     []int    // TCP ports to serve, 0 for the listen port
	Proxy        string   // "env", "off" or the URL of an HTTP proxy
	PortMapping  bool     // ask the router by PCP, NAT-PMP or UPnP
	LANDiscovery bool     // find members on this LAN
	Prediction   bool     // guess the ports of symmetric NATs

	pins map[string]string // key -> where it is pinned
}

// Flags are settings of the command line. A field that is zero was not given.
type Flags struct {
	Interface  string
	ListenPort int
}

// Default returns the settings of an agent that was told nothing.
func Default() Config {
	return Config{
		Interface:    "warren0",
		Relay:        "auto",
		TLSPorts:     []int{0, 443},
		Proxy:        "env",
		PortMapping:  true,
		LANDiscovery: true,
		Prediction:   true,
	}
}

// Load reads the file at path over base (Default with what "warren set" left) and lays flags over it. If path is "" the
// file is FilePath(state) and may be missing. A wrong file or flag is an *Error.
func Load(base Config, state, path string, flags Flags) (Config, error) {
	name := path
	if name == "" {
		name = FilePath(state)
	}
	text, err := read(name)
	if errors.Is(err, fs.ErrNotExist) && path == "" {
		text, err = nil, nil
	}
	if err != nil {
		return Config{}, &Error{File: name, Message: "cannot be read: " + rootCause(err)}
	}
	c, err := Parse(base, name, text)
	if err != nil {
		return Config{}, err
	}
	return c.with(flags)
}

// read reads a file, of one that is too large no more than shows that.
func read(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// Pinned reports where a key is pinned so that "warren set" may not change it: "FILE:LINE", or the flag.
func (c Config) Pinned(key string) (where string, ok bool) {
	where, ok = c.pins[key]
	return where, ok
}

// Inert returns, sorted, the keys that the file sets and that this version accepts but does not act on yet.
func (c Config) Inert() []string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(c.pins)) {
		if i := slices.IndexFunc(settings, func(s setting) bool { return s.key == key }); i >= 0 && settings[i].inert {
			keys = append(keys, key)
		}
	}
	return keys
}

func (c Config) with(flags Flags) (Config, error) {
	c.pins = maps.Clone(c.pins)
	if flags.Interface != "" {
		if msg := checkInterface(flags.Interface); msg != "" {
			return Config{}, &Error{File: "--interface", Message: msg, Hint: "for example: --interface warren1"}
		}
		c.Interface = flags.Interface
		c.pins["interface"] = "--interface"
	}
	if flags.ListenPort != 0 {
		if flags.ListenPort < 0 || flags.ListenPort > 65535 {
			return Config{}, &Error{File: "--listen-port", Message: "not a port of 1 to 65535"}
		}
		c.ListenPort = flags.ListenPort
		c.pins["listen_port"] = "--listen-port"
	}
	return c, nil
}

func rootCause(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}
