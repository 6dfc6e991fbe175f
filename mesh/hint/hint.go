// Package hint turns what goes wrong in the parts into what a person reads: an error, a hint and an exit code.
package hint

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"warren/keys"
	"warren/mesh/control"
	"warren/tun"
)

// Folder explains why the state folder cannot be used. The error may know a Remedy.
func Folder(err error) error {
	code, advice := control.ExitFailed, "choose another folder with --state DIR"
	if errors.Is(err, os.ErrPermission) {
		code, advice = control.ExitPermission, "run it as root, or "+advice
	}
	var known interface{ Remedy() string }
	if errors.As(err, &known) {
		advice = known.Remedy()
	}
	return control.Errorf(code, advice, "%w", err)
}

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
		"%.100q cannot be a %s", name, what)
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
	switch {
	case errors.Is(err, keys.ErrCodeChecksum):
		return control.Errorf(control.ExitUsage, "copy it again: a character is wrong", "%w", keys.ErrCodeChecksum)
	case errors.Is(err, keys.ErrCodeTruncated):
		return control.Errorf(control.ExitUsage, "copy it again: its end is missing", "%w", keys.ErrCodeTruncated)
	case errors.Is(err, keys.ErrCodeVersion):
		return control.Errorf(control.ExitUsage, "it was made by a newer version: update warren on this host",
			"this is %w", keys.ErrCodeVersion)
	}
	return control.Errorf(control.ExitUsage, "a code begins with warren1: and is printed by warren invite", "this is %w", keys.ErrNotCode)
}

// Groups returns the groups that a person named as a certificate holds them: sorted, each once.
func Groups(asked []string) ([]string, error) {
	groups := slices.Clone(asked)
	slices.Sort(groups)
	groups = slices.Compact(groups)
	for _, g := range groups {
		if !keys.ValidName(g) {
			return nil, Name("group", g)
		}
	}
	if len(groups) > keys.MaxGroups {
		return nil, control.Errorf(control.ExitUsage, fmt.Sprintf("at most %d", keys.MaxGroups), "%d groups are too many", len(groups))
	}
	return groups, nil
}
