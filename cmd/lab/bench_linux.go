package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"warren/nat/netlab"
)

const defaultRound = 5 * time.Second

// What the mesh promises.
const (
	goalRatio = 0.95        // of plain wireguard-go's TCP rate
	goalJoin  = time.Second // from typing join to the first answered ping
)

type benchPlan struct {
	rounds, joins int
	round         time.Duration
	wireguard     string
}

// bench measures, prints, and returns an error if a goal was missed.
func bench(ctx context.Context, w *world, plan benchPlan, out io.Writer) error {
	var missed []error
	if plan.rounds > 0 {
		ratio, err := benchTCP(ctx, w, plan, out)
		if err != nil {
			fmt.Fprint(out, w.logs(15))
			return err
		}
		if ratio < goalRatio {
			missed = append(missed, fmt.Errorf("TCP ratio %.3f is below %.2f", ratio, goalRatio))
		}
	}
	if plan.joins > 0 {
		took, err := benchJoin(ctx, w, plan.joins, out)
		if err != nil {
			return err
		}
		if took >= goalJoin {
			missed = append(missed, fmt.Errorf("joining takes %s, the goal is under %s", took, goalJoin))
		}
	}
	return errors.Join(missed...)
}

// tunnel is one way from one host to another, and the processes that carry it.
type tunnel struct {
	name      string
	from, to  *netlab.Host
	dst       netip.Addr
	processes []*netlab.Process
}

func (t *tunnel) cpu() (time.Duration, error) {
	var sum time.Duration
	for _, p := range t.processes {
		used, err := p.CPU()
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// sample is one round: bits a second, and processor seconds of both ends for each GB.
type sample struct{ rate, cpu float64 }

func (t *tunnel) round(ctx context.Context, length time.Duration) (sample, error) {
	before, err := t.cpu()
	if err != nil {
		return sample{}, err
	}
	got, err := stream(ctx, t.from, t.to, t.dst, length)
	if err != nil {
		return sample{}, err
	}
	after, err := t.cpu()
	if err != nil {
		return sample{}, err
	}
	if got.bytes == 0 {
		return sample{}, fmt.Errorf("%s carried nothing", t.name)
	}
	return sample{got.rate(), (after - before).Seconds() / (float64(got.bytes) / 1e9)}, nil
}

// benchTCP runs both tunnels between the same two public hosts, in turns, and returns the median of the ratios.
func benchTCP(ctx context.Context, w *world, plan benchPlan, out io.Writer) (float64, error) {
	mesh, err := meshTunnel(ctx, w)
	if err != nil {
		return 0, err
	}
	plain, err := wireguardTunnel(ctx, w, plan.wireguard, mesh.from, mesh.to)
	if err != nil {
		return 0, err
	}
	tunnels := []*tunnel{mesh, plain}
	for _, t := range tunnels {
		if _, err := t.from.FirstEcho(ctx, t.dst, 50*time.Millisecond); err != nil {
			return 0, err
		}
		if _, err := t.round(ctx, time.Second); err != nil { // warms up, not counted
			return 0, err
		}
	}
	fmt.Fprintf(out, "TCP between two public hosts, MTU %d, one stream, %d rounds of %s each, in turns\n\n", meshMTU, plan.rounds, plan.round)
	fmt.Fprintf(out, "%5s  %14s  %14s  %6s   %s\n", "round", mesh.name, plain.name, "ratio", "CPU s/GB, both ends")
	samples := map[*tunnel][]sample{}
	var ratios []float64
	for i := range plan.rounds {
		for j := range tunnels {
			t := tunnels[(i+j)%len(tunnels)] // neither always goes first
			s, err := t.round(ctx, plan.round)
			if err != nil {
				return 0, err
			}
			samples[t] = append(samples[t], s)
		}
		m, p := samples[mesh][i], samples[plain][i]
		ratios = append(ratios, m.rate/p.rate)
		fmt.Fprintf(out, "%5d  %14s  %14s  %6.3f   %.2f / %.2f\n", i+1, formatRate(m.rate), formatRate(p.rate), m.rate/p.rate, m.cpu, p.cpu)
	}
	rate := func(s sample) float64 { return s.rate }
	cpu := func(s sample) float64 { return s.cpu }
	fmt.Fprintf(out, "median %14s  %14s  %6.3f   %.2f / %.2f\n\n", formatRate(medianOf(samples[mesh], rate)),
		formatRate(medianOf(samples[plain], rate)), median(ratios), medianOf(samples[mesh], cpu), medianOf(samples[plain], cpu))
	return median(ratios), nil
}

func meshTunnel(ctx context.Context, w *world) (*tunnel, error) {
	a, err := w.public(ctx, "a")
	if err != nil {
		return nil, err
	}
	b, err := w.public(ctx, "b")
	if err != nil {
		return nil, err
	}
	if _, err := a.ok(ctx, "init", "--name", "bench", "--hostname", a.name); err != nil {
		return nil, err
	}
	if err := w.admit(ctx, a, b); err != nil {
		return nil, err
	}
	addrs, err := b.addresses(ctx)
	if err != nil {
		return nil, err
	}
	return &tunnel{"warren", a.host, b.host, addrs[0], []*netlab.Process{a.agent, b.agent}}, nil
}

func wireguardTunnel(ctx context.Context, w *world, binary string, from, to *netlab.Host) (*tunnel, error) {
	var err error
	if binary == "" {
		if binary, err = build(ctx, w.dir, "wireguard-go", "golang.zx2c4.com/wireguard"); err != nil {
			return nil, err
		}
	} else if binary, err = filepath.Abs(binary); err != nil {
		return nil, err
	}
	a, err := newPlainTunnel(ctx, binary, from, netip.MustParseAddr("10.77.0.1"))
	if err != nil {
		return nil, err
	}
	b, err := newPlainTunnel(ctx, binary, to, netip.MustParseAddr("10.77.0.2"))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(a.connect(ctx, b), b.connect(ctx, a)); err != nil {
		return nil, err
	}
	return &tunnel{"wireguard-go", from, to, b.addr, []*netlab.Process{a.process, b.process}}, nil
}

// joinTimes are counted from typing join.
type joinTimes struct {
	command time.Duration // join returned
	inviter time.Duration // first answered ping of the host that made the code
	member  time.Duration // first answered ping of a member that did not
}

// benchJoin measures joins of a fresh third public host, each in a network of its own, and returns the median time
// until the ping of a member that had nothing to do with the join is answered.
func benchJoin(ctx context.Context, w *world, n int, out io.Writer) (time.Duration, error) {
	fmt.Fprintf(out, "Join of a third public host: from typing `join CODE`, a ping every 25 ms from the start\n\n")
	fmt.Fprintf(out, "%6s  %10s  %14s  %14s\n", "join", "returned", "inviter pinged", "member pinged")
	var all []joinTimes
	for i := range n {
		took, err := timeJoin(ctx, w)
		if err != nil {
			return 0, err
		}
		all = append(all, took)
		printJoin(out, fmt.Sprint(i+1), took)
	}
	middle := joinTimes{
		medianOf(all, func(t joinTimes) time.Duration { return t.command }),
		medianOf(all, func(t joinTimes) time.Duration { return t.inviter }),
		medianOf(all, func(t joinTimes) time.Duration { return t.member }),
	}
	printJoin(out, "median", middle)
	return middle.member, nil
}

func printJoin(out io.Writer, label string, t joinTimes) {
	fmt.Fprintf(out, "%6s  %10s  %14s  %14s\n", label, t.command.Round(time.Millisecond),
		t.inviter.Round(time.Millisecond), t.member.Round(time.Millisecond))
}

func timeJoin(ctx context.Context, outer *world) (took joinTimes, err error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	w, err := outer.another()
	if err != nil {
		return took, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, w.logs(15))
		}
		err = errors.Join(err, w.close())
	}()
	tun, err := meshTunnel(ctx, w)
	if err != nil {
		return took, err
	}
	founder := w.members[0]
	addrs, err := founder.addresses(ctx)
	if err != nil {
		return took, err
	}
	code, err := founder.ok(ctx, "invite")
	if err != nil {
		return took, err
	}
	joiner, err := w.public(ctx, "joiner")
	if err != nil {
		return took, err
	}

	type first struct {
		at  time.Time
		err error
	}
	pinged := func(dst netip.Addr) chan first {
		done := make(chan first, 1)
		go func() {
			e, err := joiner.host.FirstEcho(ctx, dst, 25*time.Millisecond)
			done <- first{e.Sent.Add(e.RTT), err}
		}()
		return done
	}
	inviter, member := pinged(addrs[0]), pinged(tun.dst)
	began := time.Now()
	r, err := joiner.warren(ctx, "join", strings.TrimSpace(code), "--hostname", joiner.name)
	if err == nil && r.exit != 0 {
		err = errors.New(r.String())
	}
	if err != nil {
		cancel()
	}
	a, b := <-inviter, <-member
	if err = errors.Join(err, a.err, b.err); err != nil {
		return took, err
	}
	return joinTimes{r.took, a.at.Sub(began), b.at.Sub(began)}, nil
}

func medianOf[T any, V cmp.Ordered](list []T, value func(T) V) V {
	values := make([]V, len(list))
	for i, x := range list {
		values[i] = value(x)
	}
	return median(values)
}

// median of an even number is the upper one of the middle two.
func median[V cmp.Ordered](values []V) V {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
