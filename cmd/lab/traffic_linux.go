package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"warren/nat/netlab"
)

// transfer is a measured TCP stream.
type transfer struct {
	bytes int64
	took  time.Duration
}

// rate is in bits a second.
func (t transfer) rate() float64 { return float64(t.bytes) * 8 / t.took.Seconds() }

func (t transfer) String() string { return formatRate(t.rate()) }

func formatRate(bits float64) string {
	if bits >= 1e9 {
		return fmt.Sprintf("%.2f Gbit/s", bits/1e9)
	}
	return fmt.Sprintf("%.0f Mbit/s", bits/1e6)
}

// stream sends over one TCP connection for so long, as fast as it goes, and measures what arrives.
func stream(ctx context.Context, from, to *netlab.Host, dst netip.Addr, length time.Duration) (transfer, error) {
	ln, err := to.ListenTCP(netip.AddrPortFrom(dst, 0))
	if err != nil {
		return transfer{}, fmt.Errorf("listen on %s: %w", to.Name(), err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(ctx, length+10*time.Second)
	defer cancel()
	out, err := from.DialTCP(ctx, netip.MustParseAddrPort(ln.Addr().String()))
	if err != nil {
		return transfer{}, fmt.Errorf("connect %s to %s: %w", from.Name(), to.Name(), err)
	}
	defer out.Close()
	in, err := ln.AcceptTCP()
	if err != nil {
		return transfer{}, fmt.Errorf("accept on %s: %w", to.Name(), err)
	}
	defer in.Close()
	// Whatever happens, both ends give up when ctx ends.
	stop := context.AfterFunc(ctx, func() {
		_ = in.SetDeadline(time.Now())
		_ = out.SetDeadline(time.Now())
	})
	defer stop()

	var got transfer
	var sendErr, receiveErr error
	var wg sync.WaitGroup
	began := time.Now()
	wg.Go(func() {
		buf := make([]byte, 256<<10)
		for time.Since(began) < length && sendErr == nil {
			_, sendErr = out.Write(buf)
		}
		sendErr = errors.Join(sendErr, out.CloseWrite())
	})
	wg.Go(func() {
		buf := make([]byte, 256<<10)
		for receiveErr == nil {
			var n int
			n, receiveErr = in.Read(buf)
			got.bytes += int64(n)
		}
		got.took = time.Since(began)
	})
	wg.Wait()
	if errors.Is(receiveErr, io.EOF) {
		receiveErr = nil
	}
	if err := errors.Join(sendErr, receiveErr); err != nil {
		return got, fmt.Errorf("stream from %s to %s: %w", from.Name(), to.Name(), err)
	}
	return got, nil
}
