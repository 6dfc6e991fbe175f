// Package clock is the one place from which Warren's code takes wall time. It exists so that a wrong clock can be
// tested: WARREN_CLOCK_OFFSET shifts what it tells. Intervals are measured with the monotonic reading that Now carries.
//
// It is not net time (the agreement with other members): that is the engine's business.
package clock

import (
	"fmt"
	"os"
	"runtime/debug"
	"time"
)

// Env names the variable that shifts the clock by a Go duration, for tests.
const Env = "WARREN_CLOCK_OFFSET"

// Clock tells wall time shifted by a fixed offset. The zero Clock tells the system's time.
type Clock struct{ offset time.Duration }

// FromEnv returns the clock that the environment asks for. A value that is no duration is an error.
func FromEnv() (Clock, error) {
	text := os.Getenv(Env)
	if text == "" {
		return Clock{}, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return Clock{}, fmt.Errorf("clock: reading %s: %w", Env, err)
	}
	return Clock{offset: d}, nil
}

// Now returns the shifted wall time; differences of two results are monotonic.
func (c Clock) Now() time.Time { return time.Now().Add(c.offset) }

// Offset is the shift that the environment asked for.
func (c Clock) Offset() time.Duration { return c.offset }

// released is the floor below which no clock of a host that runs this program can be right.
var released = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// BuildDate returns the time of the commit that the program was built from, or the date of this
// release series where the build does not tell. A clock before it is wrong.
func BuildDate() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return released
	}
	for _, s := range info.Settings {
		if s.Key != "vcs.time" {
			continue
		}
		if t, err := time.Parse(time.RFC3339, s.Value); err == nil && t.After(released) {
			return t
		}
	}
	return released
}
