package mesh

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"time"

	"warren/keys"
	"warren/mesh/control"
	"warren/mesh/gossip"
	"warren/mesh/loop"
	"warren/mesh/probe"
	"warren/mesh/roster"
	"warren/nat/path"
)

// errDown is the error of what needs the tunnel while there is none.
var errDown = control.Errorf(control.ExitFailed, "warren up connects it", "this host is down")

// aim finds whom and which address a person means to ping: an address as given, else IPv4 where both have it.
func (m view) aim(text string) (probe.Target, error) {
	if !m.connected() {
		return probe.Target{}, errDown
	}
	who, err := m.pick(text)
	if err != nil {
		return probe.Target{}, err
	}
	given, _ := netip.ParseAddr(text)
	return m.aimAt(who, given.Unmap()), nil
}

func (m view) aimAt(who *roster.Member, dst netip.Addr) probe.Target {
	t := probe.Target{ID: who.Node, Name: m.roster.Names()[who.Node], Src: m.Own.ULA(), Dst: who.ULA()}
	owners := m.roster.Owners()
	if who.IPv4().IsValid() && m.Own.IPv4().IsValid() && dst != who.ULA() && owners[who.IPv4()] == who.Node {
		t.Src, t.Dst = m.Own.IPv4(), who.IPv4()
	}
	return t
}

// prober pings members through our tunnels.
func (v verbs) prober() probe.Prober {
	return probe.Prober{Ping: v.dev.Ping, Path: func(id keys.NodeID) (path.Path, string) {
		st := v.nat.PeerStatus(id)
		return st.Path, st.Reason
	}}
}

// Ping implements control.Backend.
func (v verbs) Ping(ctx context.Context, r control.PingRequest, pong func(control.Pong) error) error {
	t, err := v.target(ctx, r.Peer)
	if err != nil {
		return err
	}
	return v.prober().Row(ctx, t, r, pong)
}

// target finds whom a person means to ping.
func (v verbs) target(ctx context.Context, peer string) (probe.Target, error) {
	return loop.Ask(ctx, v.Loop, func() (probe.Target, error) {
		m, err := v.membership()
		if err != nil {
			return probe.Target{}, err
		}
		return view{m}.aim(peer)
	})
}

// maxTargets is how many members are asked at once whether they answer.
const maxTargets = 16

// targets are members that were not pinged yet.
func (v verbs) targets(ctx context.Context, pinged map[keys.NodeID]bool) []probe.Target {
	all, err := loop.Ask(ctx, v.Loop, func() (all []probe.Target, err error) {
		m := v.live()
		if m == nil {
			return nil, nil
		}
		for _, who := range (view{m}).others() {
			if !pinged[who.Node] && len(pinged)+len(all) < maxTargets {
				all = append(all, view{m}.aimAt(who, netip.Addr{}))
			}
		}
		return all, nil
	})
	if err != nil {
		return nil
	}
	return all
}

// Wait implements control.Backend.
func (v verbs) Wait(ctx context.Context, r control.WaitRequest) error {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	why, advice := "the agent is busy", "warren status shows what is known"
	for {
		done, reason, err := v.waited(ctx, r)
		switch {
		case done:
			return nil
		case errors.Is(err, errDown), errors.Is(err, control.ErrNoMember): // may come
			why, advice = err.Error(), control.AsError(err).Hint
		case err != nil && !errors.Is(err, context.DeadlineExceeded):
			return err
		default:
			why = cmp.Or(reason, why)
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return control.Errorf(control.ExitFailed, advice, "timed out: %s", why)
		}
	}
}

// waited reports whether what Wait waits for is so, and if not, why.
func (v verbs) waited(ctx context.Context, r control.WaitRequest) (done bool, why string, err error) {
	if r.Peer == "" {
		up, err := loop.Ask(ctx, v.Loop, func() (alone bool, err error) {
			m, err := v.membership()
			if err != nil {
				return false, err
			}
			if !m.connected() {
				return false, errDown
			}
			return len(view{m}.others()) == 0, nil
		})
		if err != nil || up {
			return up, "", err
		}
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return len(v.prober().Reach(short, v.targets)) > 0, "no member answers", nil
	}
	t, err := v.target(ctx, r.Peer)
	if err != nil {
		return false, "", err
	}
	p := v.prober().Once(ctx, t, time.Second)
	if !p.OK {
		return false, t.Name + " does not answer", nil
	}
	if r.Direct && v.nat.PeerStatus(t.ID).State != path.Direct {
		return false, "the path to " + t.Name + " is not direct", nil
	}
	return true, "", nil
}

// Up implements control.Backend.
func (v verbs) Up(ctx context.Context) error {
	return loop.Do(ctx, v.Loop, func() error {
		m, err := v.membership()
		if err != nil {
			return err
		}
		if !m.connected() {
			if err := m.connect(); err != nil {
				return err
			}
		}
		v.Node.Down = false
		return v.save()
	})
}

// Down implements control.Backend.
func (v verbs) Down(ctx context.Context) error {
	return loop.Do(ctx, v.Loop, func() error {
		m, err := v.membership()
		if err != nil {
			return err
		}
		m.disconnect()
		v.Node.Down = true
		return v.save()
	})
}

// Leave implements control.Backend.
func (v verbs) Leave(ctx context.Context) error {
	linked, err := loop.Ask(ctx, v.Loop, func() (bool, error) {
		m, err := v.membership()
		if err != nil {
			return false, err
		}
		signed, err := keys.SignLeft(m.Identity, m.authority().Network)
		if err != nil {
			return false, err
		}
		m.step(gossip.Publish{Item: roster.LeftItem(m.id(), signed)})
		return len(m.near.IDs()) > 0, nil
	})
	if err != nil {
		return err
	}
	if linked {
		// The word is on its way on every link; give it the time of a few round trips.
		select {
		case <-time.After(leaveFor):
		case <-ctx.Done():
		}
	}
	return loop.Do(context.WithoutCancel(ctx), v.Loop, func() error {
		if v.member == nil {
			return nil
		}
		return v.forget()
	})
}

// leaveFor is how long a host that leaves stays to be heard.
const leaveFor = time.Second
