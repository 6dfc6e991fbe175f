package control

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
)

// idPrefix is how many characters of an id name a member at least.
const idPrefix = 6

// Named is what a PEER argument may name a member by.
type Named struct {
	Name      string
	ID        string // 52 characters of base32
	Addresses []netip.Addr
}

// ErrNoMember is wrapped by the error of Pick where no member fits but one could, so that it may be worth waiting for.
var ErrNoMember = errors.New("no member")

// Pick returns the index of the member that text names: a name first (also name.network.internal, in any case), then an
// address, then a prefix of at least 6 characters of an id. If none or several fit the error is an *Error with
// ExitUsage.
func Pick(text string, members []Named) (int, error) {
	lower := strings.ToLower(strings.TrimSuffix(strings.TrimSpace(text), "."))
	label, rest, qualified := strings.Cut(lower, ".")
	if qualified && !strings.HasSuffix(rest, ".internal") {
		label = lower
	}
	if i := slices.IndexFunc(members, func(m Named) bool { return strings.ToLower(m.Name) == label }); i >= 0 {
		return i, nil
	}
	if addr, err := netip.ParseAddr(lower); err == nil {
		addr = addr.Unmap()
		if i := slices.IndexFunc(members, func(m Named) bool { return slices.Contains(m.Addresses, addr) }); i >= 0 {
			return i, nil
		}
		return -1, Errorf(ExitUsage, "warren status lists the members", "%w has the address %s", ErrNoMember, addr)
	}
	var found []int
	if len(lower) >= idPrefix {
		for i, m := range members {
			if strings.HasPrefix(m.ID, lower) {
				found = append(found, i)
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		if strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || label == "" {
			return -1, Errorf(ExitUsage, "warren status lists the members", "no member can be called %q", clip(text))
		}
		return -1, Errorf(ExitUsage, "warren status lists the members", "%w is called %q", ErrNoMember, clip(text))
	}
	var names []string
	for _, i := range found[:min(len(found), 10)] {
		names = append(names, members[i].Name+" ("+members[i].ID+")")
	}
	return -1, Errorf(ExitUsage, "it may be "+strings.Join(names, " or "), "%q fits %d members", clip(text), len(found))
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
