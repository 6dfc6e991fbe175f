package loop

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
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

func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		defer close(done)
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
		bad, tries := errors.New("bad"), 0
		try := func() (int, error) {
			if tries++; tries < 4 {
				return 0, bad
			}
			return tries, nil
		}
		began := time.Now()
		if got, err := Retry(t.Context(), l, time.Second, try); got != 4 || err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("got %d, %v after %v, want 4 after 3 s", got, err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		tries = -100
		if _, err := Retry(ctx, l, time.Second, try); !errors.Is(err, bad) {
			t.Errorf("got %v, want the last error of the func", err)
		}
	})
}
