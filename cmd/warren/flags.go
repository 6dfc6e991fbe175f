package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// span is a flag that holds a time; what it says of a wrong one is for people.
type span time.Duration

// String writes no unit that is nothing: 24h, not 24h0m0s.
func (s *span) String() string {
	d := time.Duration(*s)
	switch {
	case d >= time.Hour && d%time.Hour == 0:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	case d%time.Second == 0:
		return strconv.Itoa(int(d/time.Second)) + "s"
	}
	return d.String()
}

// Set reads a Go duration.
func (s *span) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("want a time such as 90s, 15m or 24h")
	}
	*s = span(d)
	return nil
}

// Type is the word of the help.
func (*span) Type() string { return "time" }

// number is a flag that holds a whole number.
type number int

// String writes the number.
func (n *number) String() string { return strconv.Itoa(int(*n)) }

// Set reads a number.
func (n *number) Set(text string) error {
	i, err := strconv.Atoi(text)
	if err != nil {
		return errors.New("want a number")
	}
	*n = number(i)
	return nil
}

// Type is the word of the help.
func (*number) Type() string { return "number" }

// notEmpty refuses flags that were given and hold nothing, as where a variable of a script was never set.
func notEmpty(cmd *cobra.Command, names ...string) error {
	for _, name := range names {
		if f := cmd.Flag(name); f.Changed && f.Value.String() == "" {
			return fmt.Errorf("--%s must not be empty", name)
		}
	}
	return nil
}
