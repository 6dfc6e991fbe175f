package tun

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	wgtun "golang.zx2c4.com/wireguard/tun"

	"warren/keys"
	"warren/tun/icmp"
)

// start makes a Device that is read, in a bubble.
func start(t *testing.T, cfg DeviceConfig) (*Device, <-chan []byte) {
	t.Helper()
	d := NewDevice(cfg)
	got := drain(d)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		synctest.Wait()
	})
	return d, got
}

// bodies returns what has been read by now.
func bodies(got <-chan []byte) []string {
	synctest.Wait()
	list := []string{}
	for {
		select {
		case b := <-got:
			list = append(list, body(b))
		default:
			return list
		}
	}
}

func attach(t *testing.T, d *Device) *fakeKernel {
	t.Helper()
	k := newFakeKernel()
	if err := d.Attach(k); err != nil {
		t.Fatal(err)
	}
	return k
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func stat(t *testing.T, d *Device, name string, want uint64) {
	t.Helper()
	if got := d.Stats()[name]; got != want {
		t.Errorf("counter %s: got %d, want %d", name, got, want)
	}
}

func TestPassesPacketsOfReadyPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, got := start(t, DeviceConfig{})
		d.SetOwners(own(bob, carol))
		d.SetReady(bob.id, true)
		d.SetReady(carol.id, true)
		k := attach(t, d)
		// A super-packet and a mixture.
		k.send(datagram(alice.v4, bob.v4, "1"), datagram(alice.v4, bob.v4, "2"), datagram(alice.v4, bob.v4, "3"))
		k.send(datagram(alice.v6, carol.v6, "4"), []byte("junk"), datagram(alice.v6, bob.v6, "5"))
		same(t, "read", bodies(got), "1", "2", "3", "4", "5")
		stat(t, d, "malformed", 1)
		if len(k.written()) != 0 {
			t.Errorf("kernel was given %x", k.written())
		}
	})
}

func TestHoldsUntilReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wanted []keys.NodeID
		d, got := start(t, DeviceConfig{Wanted: func(id keys.NodeID) { wanted = append(wanted, id) }})
		d.SetOwners(own(bob, carol))
		d.SetReady(carol.id, true)
		k := attach(t, d)
		for i := range 70 {
			k.send(datagram(alice.v4, bob.v4, fmt.Sprint(i)), datagram(alice.v4, carol.v4, "c"))
		}
		if n := len(bodies(got)); n != 70 {
			t.Errorf("got %d packets of the ready peer, want 70", n)
		}
		stat(t, d, "held", 64)
		stat(t, d, "held_dropped", 6)
		time.Sleep(1100 * time.Millisecond)
		k.send(datagram(alice.v4, bob.v4, "again"))
		synctest.Wait()
		if len(wanted) != 2 || wanted[0] != bob.id {
			t.Errorf("wanted %v, want bob twice", wanted)
		}
		d.SetReady(bob.id, true)
		list := bodies(got)
		if len(list) != 64 || list[0] != "0" || list[63] != "63" {
			t.Errorf("flushed %q, want 0 to 63", list)
		}
		k.send(datagram(alice.v4, bob.v4, "late"))
		same(t, "then", bodies(got), "late")
		d.SetReady(bob.id, false)
		k.send(datagram(alice.v4, bob.v4, "held again"))
		same(t, "not ready again", bodies(got))
	})
}

func TestHeldPacketsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, got := start(t, DeviceConfig{})
		d.SetOwners(own(bob, carol))
		k := attach(t, d)
		k.send(datagram(alice.v6, bob.v6, "early"))
		time.Sleep(3 * time.Second)
		k.send(datagram(alice.v4, bob.v4, "late"), datagram(alice.v4, carol.v4, "late too"))
		time.Sleep(2100 * time.Millisecond)
		synctest.Wait()
		stat(t, d, "expired", 1)
		list := k.written()
		if len(list) != 1 || icmp.Source(list[0]) != bob.v6 {
			t.Fatalf("answers %x, want one from bob", list)
		}
		d.SetReady(bob.id, true)
		same(t, "in time", bodies(got), "late")
		time.Sleep(4 * time.Second)
		synctest.Wait()
		stat(t, d, "expired", 2)
		stat(t, d, "unreachable", 2)
		d.SetReady(carol.id, true)
		same(t, "too late", bodies(got))
	})
}

func TestNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, got := start(t, DeviceConfig{})
		d.SetOwners(own(bob))
		d.SetReady(bob.id, true)
		k := attach(t, d)
		k.send(datagram(alice.v4, carol.v4, "x"), datagram(alice.v4, bob.v4, "ok"))
		k.send(datagram(alice.v6, netip.MustParseAddr("ff02::2"), "y"))
		same(t, "read", bodies(got), "ok")
		list := k.written()
		if len(list) != 1 || icmp.Source(list[0]) != carol.v4 {
			t.Fatalf("answers %x, want one from the address of nobody", list)
		}
		stat(t, d, "nobody", 2)
		for range 3 * maxAnswers {
			k.send(datagram(alice.v4, carol.v4, "x"))
		}
		synctest.Wait()
		if n := d.Stats()["unreachable"]; n > 2*maxAnswers {
			t.Errorf("%d answers at once, want at most %d", n, 2*maxAnswers)
		}
	})
}

func TestOwnersChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, got := start(t, DeviceConfig{})
		k := attach(t, d)
		d.SetReady(bob.id, true) // before it is named
		d.SetOwners(own(bob, carol))
		k.send(datagram(alice.v4, bob.v4, "1"), datagram(alice.v4, carol.v4, "held"))
		same(t, "named", bodies(got), "1")
		d.SetOwners(own(bob))
		stat(t, d, "held_dropped", 1)
		k.send(datagram(alice.v4, bob.v4, "2"), datagram(alice.v4, carol.v4, "gone"))
		same(t, "less", bodies(got), "2")
		stat(t, d, "nobody", 1)
		d.SetOwners(map[netip.Addr]keys.NodeID{bob.v4: carol.id})
		k.send(datagram(alice.v4, bob.v4, "of carol now"))
		same(t, "moved", bodies(got))
		d.SetReady(carol.id, true)
		same(t, "moved and ready", bodies(got), "of carol now")
	})
}

func TestLastUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := start(t, DeviceConfig{})
		k := attach(t, d)
		d.SetOwners(own(bob, carol))
		d.SetReady(bob.id, true)
		time.Sleep(time.Minute)
		k.send(datagram(alice.v4, bob.v4, "x"))
		synctest.Wait()
		want := time.Now()
		time.Sleep(time.Minute)
		if got := d.LastUsed(bob.id); got.Sub(want).Abs() > time.Millisecond {
			t.Errorf("got %v, want %v", got, want)
		}
		if got := d.LastUsed(carol.id); !got.IsZero() {
			t.Errorf("never used: got %v", got)
		}
		if got := d.LastUsed(keys.NodeID{99}); !got.IsZero() {
			t.Errorf("unknown: got %v", got)
		}
	})
}

func TestDetach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, got := start(t, DeviceConfig{})
		d.SetOwners(own(bob, carol))
		d.SetReady(bob.id, true)
		first := attach(t, d)
		first.send(datagram(alice.v4, carol.v4, "held"))
		synctest.Wait()
		d.Detach()
		d.Detach()
		if !first.closed {
			t.Error("the detached device is open")
		}
		stat(t, d, "held_dropped", 1)
		if n, err := d.Write([][]byte{make([]byte, 100)}, 16); n != 1 || err != nil {
			t.Errorf("Write while detached: %d, %v", n, err)
		}
		stat(t, d, "detached", 1)
		if name, err := d.Name(); name != "detached" || err != nil {
			t.Errorf("Name: %q, %v", name, err)
		}

		second := attach(t, d)
		second.send(datagram(alice.v4, bob.v4, "2"))
		same(t, "second", bodies(got), "2")
		third := attach(t, d)
		third.send(datagram(alice.v4, bob.v4, "3"))
		same(t, "third", bodies(got), "3")
		if !second.closed {
			t.Error("the replaced device is open")
		}
		if _, err := d.Write([][]byte{append(make([]byte, 16), datagram(bob.v4, alice.v4, "in")...)}, 16); err != nil {
			t.Error(err)
		}
		if list := third.written(); len(list) != 1 || body(list[0]) != "in" {
			t.Errorf("kernel was given %x", list)
		}
	})
}

func TestKernelErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lost []error
		d, got := start(t, DeviceConfig{Lost: func(err error) { lost = append(lost, err) }})
		d.SetOwners(own(bob))
		d.SetReady(bob.id, true)
		k := attach(t, d)
		k.fail(errors.New("bad virtio header"), wgtun.ErrTooManySegments, syscall.EINVAL)
		k.send(datagram(alice.v4, bob.v4, "1"))
		same(t, "after errors", bodies(got), "1")
		stat(t, d, "read_errors", 2)
		stat(t, d, "segments", 1)
		if len(lost) != 0 {
			t.Fatalf("lost: %v", lost)
		}
		// Somebody removed the interface.
		k.fail(os.ErrClosed)
		synctest.Wait()
		if len(lost) != 1 || !errors.Is(lost[0], os.ErrClosed) || !k.closed {
			t.Fatalf("lost: %v, closed %v", lost, k.closed)
		}
		k = attach(t, d)
		for range maxFailures {
			k.fail(io.ErrUnexpectedEOF)
		}
		synctest.Wait()
		if len(lost) != 2 || !errors.Is(lost[1], io.ErrUnexpectedEOF) {
			t.Fatalf("lost: %v", lost)
		}
		k = attach(t, d)
		k.send(datagram(alice.v4, bob.v4, "2"))
		same(t, "mended", bodies(got), "2")
	})
}

func TestAttachRefuses(t *testing.T) {
	d := NewDevice(DeviceConfig{})
	if err := d.Attach(struct{ wgtun.Device }{newFakeKernel()}); !errors.Is(err, os.ErrNoDeadline) {
		t.Errorf("without deadline: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Attach(newFakeKernel()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := d.Read(nil, nil, 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read of a closed device: %v", err)
	}
	if e, ok := <-d.Events(); !ok || e != wgtun.EventUp {
		t.Errorf("first event %v, %v", e, ok)
	}
	if e, ok := <-d.Events(); ok {
		t.Errorf("second event %v", e)
	}
}

// TestWake races injections with attaching and detaching: none may be left behind by a reader that sleeps.
func TestWake(t *testing.T) {
	d := NewDevice(DeviceConfig{})
	got := drain(d)
	d.SetOwners(own(bob))
	d.SetReady(bob.id, true)
	const rounds, senders = 100, 4
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := d.Attach(newFakeKernel()); err != nil {
				t.Error(err)
			}
			d.Detach()
		}
	})
	timeout := time.After(20 * time.Second)
	for range rounds {
		for range senders {
			wg.Go(func() {
				d.queue.put(packet{data: datagram(alice.v4, bob.v4, "x")})
				d.wakeReader()
			})
		}
		for range senders {
			select {
			case <-got:
			case <-timeout:
				t.Fatal("an injected packet was not read")
			}
		}
	}
	close(stop)
	wg.Wait()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	for range got {
	}
}

// pong answers as a peer would.
func pong(t *testing.T, request []byte) []byte {
	t.Helper()
	e, ok := icmp.ParseEcho(request)
	if !ok || e.Reply {
		t.Fatalf("no echo request: %x", request)
	}
	e.Src, e.Dst, e.Reply = e.Dst, e.Src, true
	return append(make([]byte, 16), icmp.AppendEcho(nil, e)...)
}

func TestPing(t *testing.T) {
	for _, attached := range []bool{true, false} {
		for _, p := range [][2]netip.Addr{{alice.v4, bob.v4}, {alice.v6, bob.v6}} {
			t.Run(fmt.Sprint(attached, p[1]), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					wanted := 0
					d, got := start(t, DeviceConfig{Wanted: func(keys.NodeID) { wanted++ }})
					d.SetOwners(own(bob))
					k := newFakeKernel()
					if attached {
						k = attach(t, d)
					}
					var rtt time.Duration
					var err error
					done := make(chan struct{})
					go func() {
						defer close(done)
						rtt, err = d.Ping(t.Context(), p[0], p[1])
					}()
					synctest.Wait()
					if wanted != 1 {
						t.Errorf("wanted %d times, want once", wanted)
					}
					d.SetReady(bob.id, true)
					request := <-got
					time.Sleep(7 * time.Millisecond)
					answer := pong(t, request)
					other := append(make([]byte, 16), datagram(p[1], p[0], "other")...)
					stranger := append(make([]byte, 16), icmp.AppendEcho(nil, icmp.Echo{Src: p[1], Dst: p[0], Reply: true, Payload: make([]byte, 16)})...)
					bufs := [][]byte{other, answer, stranger, answer}
					if n, err := d.Write(bufs, 16); n != 4 || err != nil {
						t.Errorf("Write: %d, %v", n, err)
					}
					<-done
					if err != nil || rtt != 7*time.Millisecond {
						t.Errorf("Ping: %v, %v; want 7ms", rtt, err)
					}
					if n := len(k.written()); attached && n != 2 {
						t.Errorf("the kernel got %d packets, want the 2 of others", n)
					}
					if &bufs[1][0] != &answer[0] {
						t.Error("Write changed the caller's slice")
					}
				})
			})
		}
	}
}

func TestPingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := start(t, DeviceConfig{})
		d.SetOwners(own(bob))
		k := attach(t, d)
		if _, err := d.Ping(t.Context(), alice.v4, carol.v4); !errors.Is(err, ErrNobody) {
			t.Errorf("nobody: %v", err)
		}
		if _, err := d.Ping(t.Context(), alice.v4, bob.v6); err == nil {
			t.Error("two families: no error")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		if _, err := d.Ping(ctx, alice.v4, bob.v4); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("timeout: %v", err)
		}
		stat(t, d, "expired", 1)
		if list := k.written(); len(list) != 0 {
			t.Errorf("the kernel got answers to pings of ours: %x", list)
		}
		if n := d.pings.waiting.Load(); n != 0 {
			t.Errorf("%d pings wait", n)
		}
		failed := make(chan error)
		go func() {
			_, err := d.Ping(t.Context(), alice.v4, bob.v4)
			failed <- err
		}()
		synctest.Wait()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if err := <-failed; !errors.Is(err, os.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

// constantKernel returns the same batch for ever and swallows what it is given.
type constantKernel struct {
	fakeKernel
	batch []byte
	n     int
}

func (k *constantKernel) SetReadDeadline(time.Time) error { return nil }

func (k *constantKernel) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	for i := range k.n {
		sizes[i] = len(k.batch)
	}
	return k.n, nil
}

func (k *constantKernel) Write(bufs [][]byte, _ int) (int, error) { return len(bufs), nil }

func BenchmarkRead(b *testing.B) {
	for _, n := range []int{1, 44, 128} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			k := &constantKernel{batch: datagram(alice.v4, bob.v4, string(make([]byte, 1300))), n: n}
			k.changed = make(chan struct{})
			d := NewDevice(DeviceConfig{})
			d.SetOwners(own(bob))
			d.SetReady(bob.id, true)
			if err := d.Attach(k); err != nil {
				b.Fatal(err)
			}
			bufs, sizes := make([][]byte, n), make([]int, n)
			for i := range bufs {
				bufs[i] = append(make([]byte, 16), k.batch...)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Read(bufs, sizes, 16); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, waiting := range []bool{false, true} {
		b.Run(fmt.Sprintf("ping=%v", waiting), func(b *testing.B) {
			k := &constantKernel{}
			k.changed = make(chan struct{})
			d := NewDevice(DeviceConfig{})
			if err := d.Attach(k); err != nil {
				b.Fatal(err)
			}
			if waiting {
				d.pings.add(bob.v4)
			}
			bufs := make([][]byte, 44)
			for i := range bufs {
				bufs[i] = append(make([]byte, 16), datagram(bob.v4, alice.v4, string(make([]byte, 1300)))...)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Write(bufs, 16); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestDataPathAllocates holds that it does not.
func TestDataPathAllocates(t *testing.T) {
	k := &constantKernel{batch: datagram(alice.v6, bob.v6, "x"), n: 1}
	k.changed = make(chan struct{})
	d := NewDevice(DeviceConfig{})
	d.SetOwners(own(bob))
	d.SetReady(bob.id, true)
	if err := d.Attach(k); err != nil {
		t.Fatal(err)
	}
	d.pings.add(bob.v4)
	bufs, sizes := [][]byte{append(make([]byte, 16), k.batch...)}, make([]int, 1)
	got := testing.AllocsPerRun(100, func() {
		if _, err := d.Read(bufs, sizes, 16); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Write(bufs, 16); err != nil {
			t.Fatal(err)
		}
	})
	if got != 0 {
		t.Errorf("%v allocations a packet, want 0", got)
	}
}
