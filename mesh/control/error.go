package control

import (
	"context"
	"errors"
	"fmt"
)

// Exit codes of the command line.
const (
	ExitFailed     = 1 // a timeout, a refusal, already so, name taken
	ExitUsage      = 2 // also a code or PEER that cannot be read, and a bad config file
	ExitNotRunning = 3 // no agent answers at the socket
	ExitNoNetwork  = 4 // this host belongs to no network
	ExitPermission = 5
)

// Error is a failure that is told to a person: what is wrong, what would mend it, and the exit code of the verb. It
// travels over the socket, without the cause it wraps.
type Error struct {
	Exit    int    `json:"exit"`
	Message string `json:"message"`
	Hint    string `json:"hint"` // "" where there is none

	cause error
}

// Errorf makes an Error. The format may wrap one cause with %w; hint may be "".
func Errorf(exit int, hint, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Exit: exit, Hint: hint, Message: err.Error(), cause: errors.Unwrap(err)}
}

// Error returns the message without the hint.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause, nil if there is none or the error came over the socket.
func (e *Error) Unwrap() error { return e.cause }

// NoNetwork is the error of a verb that needs a network on a host that belongs to none.
func NoNetwork() *Error {
	return Errorf(ExitNoNetwork, "found a network with warren init, or enter one with warren join CODE", "this host belongs to no network")
}

// AsError returns the *Error in the chain of err, or one with ExitFailed that has err's text. It is nil for nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &Error{Exit: ExitFailed, Message: "timed out", cause: err}
	}
	return Errorf(ExitFailed, "", "%w", err)
}
