package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxFile is the size of a configuration file that is still read.
const maxFile = 1 << 20

// Parse reads the text of a configuration file over base; name is for messages. An unknown key, a value of the wrong
// type or out of range is an *Error with its line.
func Parse(base Config, name string, text []byte) (Config, error) {
	if len(text) > maxFile {
		return Config{}, &Error{File: name, Message: "larger than 1 MiB"}
	}
	var values map[string]any
	md, err := toml.Decode(string(text), &values)
	if err != nil {
		return Config{}, syntaxError(name, err)
	}
	c := base
	c.pins = maps.Clone(base.pins)
	if c.pins == nil {
		c.pins = make(map[string]string)
	}
	lines := newFinder(string(text))
	for _, key := range md.Keys() { // a key inside a table counts as the table's
		e := &Error{File: name, Line: lines.next(key[0])}
		i := slices.IndexFunc(settings, func(s setting) bool { return s.key == key[0] })
		if i < 0 {
			e.Message = fmt.Sprintf("unknown key %q", key[0])
			e.Hint = "the nearest key is " + nearest(key[0])
			return Config{}, e
		}
		if msg := settings[i].set(&c, values[key[0]]); msg != "" {
			e.Message, e.Hint = key[0]+": "+msg, settings[i].example
			return Config{}, e
		}
		c.pins[key[0]] = fmt.Sprintf("%s:%d", name, e.Line)
	}
	return c, nil
}

func syntaxError(name string, err error) *Error {
	if pe, ok := errors.AsType[toml.ParseError](err); ok {
		msg := pe.Message
		if msg == "" {
			_, msg, _ = strings.Cut(pe.Error(), ": ")
		}
		return &Error{File: name, Line: pe.Position.Line, Message: msg}
	}
	return &Error{File: name, Message: strings.TrimPrefix(err.Error(), "toml: ")}
}

// finder finds the lines of top-level keys, which the decoder does not tell, in the order in which it read them.
type finder struct {
	lines []string
	at    int // the next line to look at
}

func newFinder(text string) *finder { return &finder{lines: strings.Split(text, "\n")} }

// next returns the number of the line at which key stands after the one found last, 0 if there is none.
func (f *finder) next(key string) int {
	for i := f.at; i < len(f.lines); i++ {
		if startsWithKey(f.lines[i], key) {
			f.at = i + 1
			return i + 1
		}
	}
	return 0
}

// startsWithKey reports whether line is "key = …", `"key" = …`, "key.more = …" or "[key]".
func startsWithKey(line, key string) bool {
	rest := strings.TrimLeft(line, "[ \t")
	table := strings.HasPrefix(strings.TrimSpace(line), "[")
	for _, form := range []string{key, fmt.Sprintf("%q", key), "'" + key + "'"} {
		after, ok := strings.CutPrefix(rest, form)
		if !ok {
			continue
		}
		after = strings.TrimLeft(after, " \t")
		if strings.HasPrefix(after, "=") || strings.HasPrefix(after, ".") || table && strings.HasPrefix(after, "]") {
			return true
		}
	}
	return false
}

// nearest returns the key that takes the fewest edits from the one given.
func nearest(key string) string {
	best, fewest := "", 0
	for _, s := range settings {
		if d := distance(strings.ToLower(key), s.key); best == "" || d < fewest {
			best, fewest = s.key, d
		}
	}
	return best
}

// distance is the Levenshtein distance of a, of which only the first 64 bytes count, and b.
func distance(a, b string) int {
	a = a[:min(len(a), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
