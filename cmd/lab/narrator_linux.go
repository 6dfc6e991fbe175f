package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// narrator tells a person what happens, and remembers what did not hold.
type narrator struct {
	out    io.Writer
	began  time.Time
	broken []string
}

// chapter begins a new part of the story.
func (n *narrator) chapter(format string, args ...any) {
	fmt.Fprintf(n.out, "\n[%4.1f s] %s\n", time.Since(n.began).Seconds(), fmt.Sprintf(format, args...))
}

// typed shows a command on a host, and what it printed.
func (n *narrator) typed(host, command, output string) {
	fmt.Fprintf(n.out, "  %s $ %s\n", host, command)
	n.block(output)
}

// block shows text as it is, indented.
func (n *narrator) block(text string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, " \n"); line != "" {
			fmt.Fprintf(n.out, "      %s\n", line)
		}
	}
}

// promise shows whether something held that must hold.
func (n *narrator) promise(held bool, format string, args ...any) {
	text, mark := fmt.Sprintf(format, args...), "ok"
	if !held {
		mark = "BROKEN"
		n.broken = append(n.broken, text)
	}
	fmt.Fprintf(n.out, "  %-6s %s\n", mark, text)
}

// verdict is nil if every promise held.
func (n *narrator) verdict() error {
	if len(n.broken) == 0 {
		return nil
	}
	return errors.New("promises broken:\n  " + strings.Join(n.broken, "\n  "))
}
