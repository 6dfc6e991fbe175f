package ring

import (
	"bytes"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestRingIsBounded(t *testing.T) {
	r, from, at := New(2), &net.UDPAddr{Port: 7}, time.Unix(1, 0)
	for i, want := range []bool{true, true, false} {
		if got := r.Keep([]byte{byte(i)}, Origin{From: from, At: at}); got != want {
			t.Errorf("packet %d: kept %v, want %v", i, got, want)
		}
	}
	p := <-r.Packets()
	if !bytes.Equal(p.Bytes(), []byte{0}) || p.From != net.Addr(from) || p.At != at {
		t.Errorf("got %x from %v at %v, want the oldest", p.Bytes(), p.From, p.At)
	}
	r.Free(p)
	if !r.Keep(make([]byte, MaxPacket+1), Origin{}) {
		t.Error("no room where one was taken out")
	}
	r.Free(<-r.Packets())
	if got := len((<-r.Packets()).Bytes()); got != MaxPacket {
		t.Errorf("%d bytes of a packet too long, want %d", got, MaxPacket)
	}
}

func TestConnWrites(t *testing.T) {
	var got []byte
	refused := errors.New("refused")
	c := NewConn(New(1), &net.UDPAddr{}, func(b []byte, to net.Addr) error {
		if to == nil {
			return refused
		}
		got = b
		return nil
	})
	if n, err := c.WriteTo([]byte{1, 2}, &net.UDPAddr{}); n != 2 || err != nil || !bytes.Equal(got, []byte{1, 2}) {
		t.Errorf("WriteTo: %d, %v, wrote %x", n, err, got)
	}
	if _, err := c.WriteTo(nil, nil); !errors.Is(err, refused) {
		t.Errorf("WriteTo nobody: %v", err)
	}
	_ = c.Close()
	if _, err := c.WriteTo(nil, &net.UDPAddr{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("WriteTo after Close: %v", err)
	}
}

func TestConnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewConn(New(1), nil, nil)
		b := make([]byte, 10)
		start := time.Now()
		for _, wait := range []time.Duration{time.Second, -time.Second, 2 * time.Second} {
			_ = c.SetReadDeadline(time.Now().Add(wait))
			if _, _, err := c.ReadFrom(b); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("deadline in %v: %v", wait, err)
			}
		}
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("waited %v, want 3s", got)
		}
		_ = c.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { _ = c.SetReadDeadline(time.Now()) })
		if _, _, err := c.ReadFrom(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("deadline set while reading: %v", err)
		}
		_ = c.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { _ = c.Close() })
		if _, _, err := c.ReadFrom(b); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed while reading: %v", err)
		}
	})
}
