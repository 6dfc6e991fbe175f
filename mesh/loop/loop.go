// Package loop lets one goroutine own state that many want to see or change: they send it funcs.
package loop

import (
	"context"
	"time"

	"warren/mesh/control"
)

// ErrStopping is what a caller sees whose question is no longer taken.
var ErrStopping = control.Errorf(control.ExitNotRunning, "", "the agent is stopping")

// backlog is how many funcs may wait.
const backlog = 256

// Loop is the way to the goroutine that owns the state. That one takes funcs from Calls and runs them one by one; it must
// never call Post or Ask itself.
type Loop struct {
	calls chan func()
	done  <-chan struct{}
}

// New returns a loop that takes funcs until done is closed.
func New(done <-chan struct{}) *Loop { return &Loop{calls: make(chan func(), backlog), done: done} }

// Calls delivers the funcs.
func (l *Loop) Calls() <-chan func() { return l.calls }

// Post sends a func without waiting for its turn. It blocks only while the loop is behind.
func (l *Loop) Post(f func()) {
	select {
	case l.calls <- f:
	case <-l.done:
	}
}

// TryPost is Post for callers that must not wait. What the loop has no room for is lost.
func (l *Loop) TryPost(f func()) {
	select {
	case l.calls <- f:
	default:
	}
}

// Ask runs f in the loop and returns what it returns. The error is ErrStopping or that of ctx where f was not run, or
// its result came too late.
func Ask[T any](ctx context.Context, l *Loop, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	var zero T
	select {
	case l.calls <- func() { v, err := f(); done <- result{v, err} }:
	case <-l.done:
		return zero, ErrStopping
	case <-ctx.Done():
		return zero, ctx.Err()
	}
	select {
	case r := <-done:
		return r.value, r.err
	case <-l.done:
		return zero, ErrStopping
	}
}

// Do is Ask for what has no result but an error.
func Do(ctx context.Context, l *Loop, f func() error) error {
	_, err := Ask(ctx, l, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

// Retry is Ask until f has no error or ctx ends; then it returns the last one.
func Retry[T any](ctx context.Context, l *Loop, every time.Duration, f func() (T, error)) (T, error) {
	again := time.NewTicker(every)
	defer again.Stop()
	for {
		v, err := Ask(ctx, l, f)
		if err == nil {
			return v, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return v, err
		}
	}
}
