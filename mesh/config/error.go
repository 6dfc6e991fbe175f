package config

import "fmt"

// Error is a setting that is wrong: where, and what would mend it. It is a usage error, exit code 2.
type Error struct {
	File    string // or the flag
	Line    int    // from 1; 0: not known, or not a file
	Message string
	Hint    string // "" where there is none
}

// Error returns all but the hint.
func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Message)
	}
	return e.File + ": " + e.Message
}
