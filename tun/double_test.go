package tun

import (
	"bytes"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	wgtun "golang.zx2c4.com/wireguard/tun"

	"warren/keys"
	"warren/tun/icmp"
)

// fakeKernel is a kernel device in memory. A Read returns what one send put in, as a super-packet gives many.
type fakeKernel struct {
	mu       sync.Mutex
	in       [][][]byte
	failures []error // returned by Read before anything else
	out      [][]byte
	deadline time.Time
	closed   bool
	changed  chan struct{} // closed and replaced at each change
}

func newFakeKernel() *fakeKernel { return &fakeKernel{changed: make(chan struct{})} }

func (k *fakeKernel) change(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
	close(k.changed)
	k.changed = make(chan struct{})
}

func (k *fakeKernel) send(packets ...[]byte) { k.change(func() { k.in = append(k.in, packets) }) }

func (k *fakeKernel) fail(errs ...error) {
	k.change(func() { k.failures = append(k.failures, errs...) })
}

// await returns the first packet written that match accepts, and takes it away.
func (k *fakeKernel) await(t *testing.T, match func([]byte) bool) []byte {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		k.mu.Lock()
		i, changed := slices.IndexFunc(k.out, match), k.changed
		if i >= 0 {
			b := k.out[i]
			k.out = slices.Delete(k.out, i, i+1)
			k.mu.Unlock()
			return b
		}
		k.mu.Unlock()
		select {
		case <-changed:
		case <-timeout:
			t.Fatal("the kernel was not given the packet")
		}
	}
}

func (k *fakeKernel) written() [][]byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.out)
}

func (k *fakeKernel) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	for {
		k.mu.Lock()
		changed, deadline := k.changed, k.deadline
		switch {
		case k.closed:
			k.mu.Unlock()
			return 0, os.ErrClosed
		case !deadline.IsZero() && !time.Now().Before(deadline):
			k.mu.Unlock()
			return 0, &os.PathError{Op: "read", Path: "fake", Err: os.ErrDeadlineExceeded}
		case len(k.failures) > 0:
			err := k.failures[0]
			k.failures = k.failures[1:]
			k.mu.Unlock()
			return 0, err
		case len(k.in) > 0:
			batch := k.in[0]
			k.in = k.in[1:]
			k.mu.Unlock()
			for i, b := range batch {
				sizes[i] = copy(bufs[i][offset:], b)
			}
			return len(batch), nil
		}
		k.mu.Unlock()
		var timer <-chan time.Time
		if !deadline.IsZero() {
			timer = time.After(time.Until(deadline))
		}
		select {
		case <-changed:
		case <-timer:
		}
	}
}

func (k *fakeKernel) Write(bufs [][]byte, offset int) (int, error) {
	if offset < 10 {
		panic("fake: no room for a virtio header")
	}
	closed := false
	k.change(func() {
		if closed = k.closed; closed {
			return
		}
		for _, b := range bufs {
			clear(b[offset-10 : offset])
			k.out = append(k.out, bytes.Clone(b[offset:]))
		}
	})
	if closed {
		return 0, os.ErrClosed
	}
	return len(bufs), nil
}

func (k *fakeKernel) SetReadDeadline(at time.Time) error {
	k.change(func() { k.deadline = at })
	return nil
}

func (k *fakeKernel) Close() error {
	k.change(func() { k.closed = true })
	return nil
}

func (k *fakeKernel) File() *os.File             { return nil }
func (k *fakeKernel) MTU() (int, error)          { return DefaultMTU, nil }
func (k *fakeKernel) Name() (string, error)      { return "fake0", nil }
func (k *fakeKernel) Events() <-chan wgtun.Event { return nil }
func (k *fakeKernel) BatchSize() int             { return 128 }

var _ wgtun.Device = (*fakeKernel)(nil)

// member is one host of a test: its id and addresses.
type member struct {
	id     keys.NodeID
	v4, v6 netip.Addr
}

var (
	alice = member{keys.NodeID{1}, netip.MustParseAddr("100.90.0.1"), netip.MustParseAddr("fd01:2:3::1")}
	bob   = member{keys.NodeID{2}, netip.MustParseAddr("100.90.0.2"), netip.MustParseAddr("fd01:2:3::2")}
	carol = member{keys.NodeID{3}, netip.MustParseAddr("100.90.0.3"), netip.MustParseAddr("fd01:2:3::3")}
)

func own(members ...member) map[netip.Addr]keys.NodeID {
	m := make(map[netip.Addr]keys.NodeID)
	for _, x := range members {
		m[x.v4], m[x.v6] = x.id, x.id
	}
	return m
}

// datagram is a packet that is no ICMP.
func datagram(src, dst netip.Addr, body string) []byte {
	b := icmp.AppendEcho(nil, icmp.Echo{Src: src, Dst: dst, Payload: []byte(body)})
	if dst.Is4() {
		b[9] = 17
	} else {
		b[6] = 17
	}
	return b
}

func body(b []byte) string {
	if b[0]>>4 == 4 {
		return string(b[28:])
	}
	return string(b[48:])
}

// drain plays the engine: it reads d until it closes and hands over each packet that may go out.
func drain(d *Device) <-chan []byte {
	got := make(chan []byte, 10000)
	go func() {
		defer close(got)
		bufs, sizes := make([][]byte, 128), make([]int, 128)
		for i := range bufs {
			bufs[i] = make([]byte, 65535)
		}
		for {
			n, err := d.Read(bufs, sizes, 16)
			for i := range n {
				if sizes[i] > 0 {
					got <- bytes.Clone(bufs[i][16 : 16+sizes[i]])
				}
			}
			if err != nil {
				return
			}
		}
	}()
	return got
}
