package loop

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		l := New(done)
		go func() {
			for {
				select {
				case f := <-l.Calls():
					f()
				case <-done:
					return
				}
			}
		}()
		if got, err := Ask(t.Context(), l, func() (int, error) { return 7, nil }); got != 7 || err != nil {
			t.Errorf("got %d, %v", got, err)
		}
		bad := errors.New("bad")
		if err := Do(t.Context(), l, func() error { return bad }); !errors.Is(err, bad) {
			t.Errorf("got %v, want the error of the func", err)
		}
		close(done)
		synctest.Wait()
		if _, err := Ask(t.Context(), l, func() (int, error) { return 7, nil }); err == nil {
			// There was room in the queue: the func may have been taken, its result is not waited for.
			t.Error("no error after the end")
		}
	})
}

// A loop that hangs must not hang those who may not wait, nor those who ask with a deadline.
func TestBehind(t *testing.T) {
	l := New(make(chan struct{}))
	for range backlog {
		l.Post(func() {})
	}
	l.TryPost(func() { t.Error("ran") })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Do(ctx, l, func() error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}
