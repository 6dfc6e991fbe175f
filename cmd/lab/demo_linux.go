package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"

	"warren/nat/netlab"
)

// The story of the demonstration: who lives where. The first one founds the network.
var cast = []struct {
	name  string
	kind  netlab.NAT // 0: public
	where string
}{
	{"berlin", 0, "a server on the Internet"},
	{"tokyo", 0, "another server"},
	{"alice", netlab.PortRestricted, "at home, behind a router"},
	{"bob", netlab.PortRestrictedRemap, "at another home, behind a router that picks its own ports"},
	{"hotel", netlab.Symmetric, "behind a symmetric NAT, the hardest kind"},
}

// play is the demonstration while it runs.
type play struct {
	*narrator
	w       *world
	members []*member               // as in cast
	addrs   map[*member]netip.Addr  // their IPv4 addresses in the mesh
	hard    map[[2]*member]struct{} // pairs for which no direct path exists
}

// demo tells the story and returns an error if anything that it promises did not hold.
func demo(ctx context.Context, w *world, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	d := &play{narrator: &narrator{out: out, began: time.Now()}, w: w, addrs: map[*member]netip.Addr{}, hard: map[[2]*member]struct{}{}}
	for _, act := range []func(context.Context) error{d.build, d.join, d.paths, d.measure, d.founderDies, d.leave} {
		if err := act(ctx); err != nil {
			fmt.Fprint(out, w.logs(15))
			return err
		}
	}
	fmt.Fprintf(out, "\nThe whole story took %.0f s.\n", time.Since(d.began).Seconds())
	return d.verdict()
}

func (d *play) build(ctx context.Context) error {
	d.chapter("A small Internet on this machine, and five hosts with an agent each")
	for _, c := range cast {
		var m *member
		var err error
		if c.kind == 0 {
			m, err = d.w.public(ctx, c.name)
		} else {
			m, err = d.w.home(ctx, c.name, c.kind)
		}
		if err != nil {
			return err
		}
		d.members = append(d.members, m)
		at := m.host.Addr().String()
		if r := m.host.Router(); r != nil {
			at += " behind " + r.Addr().String()
		}
		fmt.Fprintf(d.out, "  %-8s %-34s %s\n", m.name, at, c.where)
	}
	for i, m := range d.members {
		for j, other := range d.members {
			// A symmetric NAT shows every peer another port, and a port-restricted one lets only the known port in.
			if i != j && (cast[i].kind == netlab.Symmetric && cast[j].kind != 0 || cast[j].kind == netlab.Symmetric && cast[i].kind != 0) {
				d.hard[[2]*member{m, other}] = struct{}{}
			}
		}
	}
	return nil
}

func (d *play) join(ctx context.Context) error {
	founder, others := d.members[0], d.members[1:]
	d.chapter("One command makes a network, one more brings each host into it")
	out, err := founder.ok(ctx, "init", "--name", "demo", "--hostname", founder.name)
	if err != nil {
		return err
	}
	d.typed(founder.name, "warren init --name demo", out)
	code, err := founder.ok(ctx, "invite", "--uses", fmt.Sprint(len(others)))
	if err != nil {
		return err
	}
	code = strings.TrimSpace(code)
	d.typed(founder.name, fmt.Sprintf("warren invite --uses %d", len(others)), code)
	for _, m := range others {
		r, err := m.warren(ctx, "join", code, "--hostname", m.name)
		if err != nil {
			return err
		}
		d.typed(m.name, "warren join "+code[:min(20, len(code))]+"...", r.stdout+r.stderr)
		if r.exit != 0 {
			return fmt.Errorf("%s could not join: %s", m.name, r)
		}
		d.promise(r.took < 5*time.Second, "%s joined in %.2f s", m.name, r.took.Seconds())
	}
	for _, m := range d.members {
		addrs, err := m.addresses(ctx)
		if err != nil {
			return err
		}
		d.addrs[m] = addrs[0]
	}
	return nil
}

// traffic pings between all pairs of members until the returned function is called, which gives the echoes of
// every pair.
func (d *play) traffic(ctx context.Context, members []*member, every time.Duration) func() (map[[2]*member][]netlab.Echo, error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var mu sync.Mutex
	all := map[[2]*member][]netlab.Echo{}
	var failed error
	for _, from := range members {
		for _, to := range members {
			if from == to {
				continue
			}
			wg.Go(func() {
				echoes, err := from.host.Echoes(ctx, d.addrs[to], every)
				mu.Lock()
				defer mu.Unlock()
				all[[2]*member{from, to}] = echoes
				if err != nil {
					failed = err
				}
			})
		}
	}
	return func() (map[[2]*member][]netlab.Echo, error) {
		cancel()
		wg.Wait()
		return all, failed
	}
}

func (d *play) paths(ctx context.Context) error {
	d.chapter("Everybody pings everybody; this is how each host (row) reaches each other one (column)")
	stop := d.traffic(ctx, d.members, 500*time.Millisecond)
	err := d.watchPaths(ctx)
	echoes, stopErr := stop()
	if err != nil {
		return err
	}
	if stopErr != nil {
		return stopErr
	}
	for _, from := range d.members {
		for _, to := range d.members {
			pair := [2]*member{from, to}
			if _, hard := d.hard[pair]; from == to || hard {
				continue
			}
			if len(echoes[pair]) == netlab.Lost(echoes[pair]) {
				d.promise(false, "%s pings %s", from.name, to.name)
			}
		}
	}
	someone := d.members[2]
	out, err := someone.ok(ctx, "status")
	if err != nil {
		return err
	}
	d.typed(someone.name, "warren status", out)
	return nil
}

func (d *play) measure(ctx context.Context) error {
	from, to := d.members[2], d.members[3]
	d.chapter("A TCP transfer from %s to %s, two homes, no server between them", from.name, to.name)
	got, err := stream(ctx, from.host, to.host, d.addrs[to], 3*time.Second)
	if err != nil {
		d.promise(false, "TCP transfer: %v", err)
		return nil
	}
	d.promise(got.bytes > 0, "%.0f MB in %.1f s: %s", float64(got.bytes)/1e6, got.took.Seconds(), got)
	return nil
}

func (d *play) founderDies(ctx context.Context) error {
	founder, others := d.members[0], d.members[1:]
	d.chapter("kill -9 of %s, which founded the network; the others ping each other ten times a second", founder.name)
	stop := d.traffic(ctx, others, 100*time.Millisecond)
	err := founder.agent.Kill()
	if err == nil {
		err = d.restart(ctx, others)
	}
	// Long enough for every timer that a dead neighbour could trip.
	watched := time.NewTimer(6 * time.Second)
	select {
	case <-watched.C:
	case <-ctx.Done():
	}
	echoes, stopErr := stop()
	if err != nil {
		return err
	}
	if stopErr != nil {
		return stopErr
	}
	bob := others[2]
	lost, sent := 0, 0
	for pair, e := range echoes {
		// Bob's own agent was restarted meanwhile: his pings were bound to be lost.
		if _, hard := d.hard[pair]; hard || pair[0] == bob || pair[1] == bob {
			continue
		}
		sent += len(e)
		lost += netlab.Lost(e)
	}
	d.promise(lost == 0, "%d of %d pings between the others were lost", lost, sent)
	table, _, _, err := d.table(ctx, others)
	if err != nil {
		return err
	}
	d.block(table)
	return nil
}

// restart ends bob's agent and starts it again while the founder is dead.
func (d *play) restart(ctx context.Context, others []*member) error {
	bob := others[2]
	if err := bob.stop(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := bob.start(ctx); err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for _, m := range others[:2] {
		err := bob.reach(soon, m)
		d.promise(err == nil, "%s, restarted without the founder, reaches %s after %.1f s", bob.name, m.name, time.Since(began).Seconds())
	}
	return ctx.Err()
}

func (d *play) leave(ctx context.Context) error {
	d.chapter("The agents end, and nothing is left")
	for _, m := range d.members[1:] {
		if err := m.stop(ctx); err != nil {
			d.promise(false, "%v", err)
			continue
		}
		left, err := m.traces()
		if err != nil {
			return err
		}
		d.promise(len(left) == 0, "no interface, route or rule is left on %s%s", m.name, strings.Join(append([]string{""}, left...), "\n         "))
	}
	return nil
}
