package name

import "strings"

// maxLabel is the longest DNS label, RFC 1035 section 2.3.4.
const maxLabel = 63

// Label reads a name that a person typed as one DNS label for a host or a network: blanks around it are cut and it
// is lower-cased; the result is a [ValidName], or ok is false.
func Label(s string) (label string, ok bool) {
	label = strings.ToLower(strings.TrimSpace(s))
	return label, ValidName(label)
}

// ValidName reports whether s may name a host or a network: one LDH label (RFC 5890 section 2.3.1) of 1 to 63
// lower-case letters, digits and inner hyphens, no A-label or other label with hyphens in places 3 and 4, and none of
// the reserved localhost, wpad, isatap, gateway.
func ValidName(s string) bool {
	switch s {
	case "localhost", "wpad", "isatap", "gateway":
		return false
	}
	return ValidLabel(s) && (len(s) < 4 || s[2:4] != "--")
}

// ValidLabel reports whether s is one LDH label of 1 to 63 lower-case letters, digits and inner hyphens.
func ValidLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return !isLDH(r) }) < 0
}

func isLDH(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' }

// MakeLabel makes a system's host name into a [ValidName]: the part before the first dot, lower-cased, every run of
// other characters made one hyphen, cut at 63. What cannot be mended ("", "localhost") becomes "host", or gets the
// suffix "-host" if reserved otherwise.
func MakeLabel(hostname string) string {
	first, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(hostname)), ".")
	var b strings.Builder
	hyphen := false
	for _, r := range first {
		if r == '-' || !isLDH(r) {
			hyphen = b.Len() > 0
			continue
		}
		if hyphen {
			b.WriteByte('-')
			hyphen = false
		}
		b.WriteRune(r)
		if b.Len() >= maxLabel {
			break
		}
	}
	label := strings.TrimRight(b.String()[:min(b.Len(), maxLabel)], "-")
	switch {
	case ValidName(label):
		return label
	case label == "" || label == "localhost":
		return "host"
	}
	return label + "-host"
}
