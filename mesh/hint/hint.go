// Package hint turns what goes wrong in the parts into what a person reads: an error, a hint and an exit code.
package hint

import (
	"errors"
	"os"
	"time"

	"warren/keys"
	"warren/mesh/control"
	"warren/tun"
)

// TUN explains why there is no interface of that name.
func TUN(err error, name string) error {
	switch {
	case errors.Is(err, tun.ErrPermission):
		return control.Errorf(control.ExitPermission, "run it as root or give it the capability CAP_NET_ADMIN", "%w", err)
	case errors.Is(err, tun.ErrNoTUN):
		return control.Errorf(control.ExitFailed, "load the module (modprobe tun) or pass /dev/net/tun into the container", "%w", err)
	case errors.Is(err, tun.ErrNameTaken):
		return control.Errorf(control.ExitFailed, "choose another name with --interface",
			"the interface name %s is taken", name)
	}
	return control.Errorf(control.ExitFailed, "", "%w", err)
}

// Clock says that this host's clock is too wrong to do something.
func Clock(now time.Time, what string) error {
	return control.Errorf(control.ExitFailed, "set the clock, then try again",
		"this host's clock says %s, which is before this program was built: it cannot %s", now.UTC().Format(time.DateTime), what)
}

// Name says that a name is none; what tells of what.
func Name(what, name string) error {
	return control.Errorf(control.ExitUsage, "letters a-z, digits and inner hyphens, at most 63 characters",
		"%q cannot be a %s", name, what)
}

// HostName is the name asked for, or one made of the system's.
func HostName(asked string) (string, error) {
	if asked != "" {
		if !keys.ValidName(asked) {
			return "", Name("host name", asked)
		}
		return asked, nil
	}
	system, err := os.Hostname()
	if err != nil {
		return "", control.Errorf(control.ExitFailed, "give a name with --hostname", "the system has no host name: %w", err)
	}
	return keys.MakeLabel(system), nil
}

// Code explains why a text is no join code.
func Code(err error) error {
	hint := "a code begins with warren1: and is printed by warren invite"
	switch {
	case errors.Is(err, keys.ErrCodeChecksum):
		hint = "copy it again: a character is wrong"
	case errors.Is(err, keys.ErrCodeTruncated):
		hint = "copy it again: its end is missing"
	case errors.Is(err, keys.ErrCodeVersion):
		hint = "it was made by a newer version: update warren on this host"
	}
	return control.Errorf(control.ExitUsage, hint, "%w", err)
}
