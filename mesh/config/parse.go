package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxFile is the size of a configuration file that is still read. The decoder recurses: a larger one could exhaust the
// stack.
const maxFile = 64 << 10

// maxLine is the longest line: the decoder's time grows with the square of a key's length.
const maxLine = 2 << 10

// Parse reads the text of a configuration file over base; name is for messages. An unknown key, a value of the wrong
// type or out of range is an *Error with its line.
func Parse(base Config, name string, text []byte) (Config, error) {
	if len(text) > maxFile {
		return Config{}, &Error{File: name, Message: "larger than 64 KiB"}
	}
	for i, line := range bytes.Split(text, []byte("\n")) {
		if len(line) > maxLine {
			return Config{}, &Error{File: name, Line: i + 1, Message: fmt.Sprintf("a line of more than %d bytes", maxLine)}
		}
	}
	var values map[string]any
	md, err := toml.Decode(string(text), &values)
	if err != nil {
		return Config{}, syntaxError(name, err)
	}
	lines, err := linesOf(text)
	if err != nil {
		return Config{}, syntaxError(name, err)
	}
	c := base
	c.pins = maps.Clone(base.pins)
	if c.pins == nil {
		c.pins = make(map[string]string)
	}
	for _, key := range md.Keys() { // a key inside a table counts as the table's
		e := &Error{File: name, Line: lines[key[0]]}
		i := slices.IndexFunc(settings, func(s setting) bool { return s.key == key[0] })
		if i < 0 {
			e.Message = fmt.Sprintf("unknown key %.70q", key[0])
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
		return &Error{File: name, Line: max(1, pe.Position.Line), Message: msg}
	}
	return &Error{File: name, Line: 1, Message: strings.TrimPrefix(err.Error(), "toml: ")}
}

// linesOf returns the line of each top-level key; of one whose string takes several lines, the last of them.
func linesOf(text []byte) (map[string]int, error) {
	var values map[string]toml.Primitive
	md, err := toml.Decode(string(text), &values)
	if err != nil {
		return nil, err
	}
	lines := make(map[string]int, len(values))
	for key, v := range values {
		lines[key] = max(1, lineOf(&md, v))
	}
	return lines, nil
}

// lineOf returns the line of a key, 0 if there is none. The decoder tells it only in errors. A table that nobody wrote
// down, as a in a.b = 1, is where the first key in it is.
func lineOf(md *toml.MetaData, v toml.Primitive) int {
	if e, ok := errors.AsType[toml.ParseError](md.PrimitiveDecode(v, new(refuser))); ok && e.Position.Line > 0 {
		return e.Position.Line
	}
	first := 0
	var inside map[string]toml.Primitive
	if md.PrimitiveDecode(v, &inside) == nil {
		for _, v := range inside {
			if line := lineOf(md, v); line > 0 && (first == 0 || line < first) {
				first = line
			}
		}
	}
	return first
}

// refuser is a toml.Unmarshaler that takes nothing.
type refuser struct{}

// UnmarshalTOML returns an error, to which the decoder adds where it is.
func (refuser) UnmarshalTOML(any) error { return errors.New("config: nothing is taken") }

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
