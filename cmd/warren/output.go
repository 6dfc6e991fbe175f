package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"warren/mesh/control"
)

// printJSON prints one document.
func (a *app) printJSON(doc any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}

// printHost prints who this host is, one "key: value" a line.
func (a *app) printHost(network control.Network, self control.Host) error {
	var b strings.Builder
	pair(&b, "network", network.Name)
	pair(&b, "id", network.ID)
	pair(&b, "name", self.Name)
	for _, addr := range self.Addresses {
		pair(&b, "address", addr.String())
	}
	pair(&b, "node", self.ID)
	pair(&b, "public key", self.PublicKey)
	_, err := io.WriteString(a.out, b.String())
	return err
}

func pair(w io.Writer, key, value string) {
	fmt.Fprintf(w, "%s: %s\n", key, clean(value))
}

// warn prints warnings to stderr.
func (a *app) warn(warnings []control.Warning) {
	for _, w := range warnings {
		fmt.Fprintf(a.err, "warren: warning: %s\n", cleanLines(w.Text))
	}
}

// clean makes a text that came from another host, or from the user, harmless for a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// cleanLines is clean for a text that may have several lines; the further ones are indented.
func cleanLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i, l := range lines {
		lines[i] = clean(strings.ReplaceAll(l, "\t", "  "))
	}
	return strings.Join(lines, "\n  ")
}

// millis shows a round trip with three figures at most: "0.4 ms", "12.3 ms", "140 ms".
func millis(ms *float64) string {
	switch {
	case ms == nil:
		return "-"
	case *ms < 100:
		return strconv.FormatFloat(*ms, 'f', 1, 64) + " ms"
	}
	return strconv.FormatFloat(*ms, 'f', 0, 64) + " ms"
}

// size shows a number of bytes with a binary unit.
func size(n uint64) string {
	if n < 1024 {
		return strconv.FormatUint(n, 10) + " B"
	}
	f, units := float64(n)/1024, "KMGTPE"
	for f >= 999.5 && len(units) > 1 {
		f, units = f/1024, units[1:]
	}
	if f < 9.95 {
		return fmt.Sprintf("%.1f %ciB", f, units[0])
	}
	return fmt.Sprintf("%.0f %ciB", f, units[0])
}

// joinAddrs lists addresses with two blanks between.
func joinAddrs(addrs []netip.Addr) string {
	texts := make([]string, len(addrs))
	for i, addr := range addrs {
		texts[i] = addr.String()
	}
	return strings.Join(texts, "  ")
}
