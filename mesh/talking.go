package mesh

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"warren/keys"
	"warren/mesh/control"
	"warren/mesh/gossip"
	"warren/mesh/roster"
	"warren/nat/path"
	"warren/tun"
)

// target is a member that is pinged.
type target struct {
	id       keys.NodeID
	name     string
	src, dst netip.Addr
}

// aim finds whom and which address a person means to ping: an address as given, else IPv4 where both have it.
func (m *membership) aim(text string) (target, error) {
	if !m.connected() {
		return target{}, control.Errorf(control.ExitFailed, "warren up", "this host is down")
	}
	if self, err := m.pickOf(text, m.roster.Members()); err == nil && self.Node == m.id() {
		return target{}, control.Errorf(control.ExitUsage, "warren status lists the others", "%s is this host itself", self.Name)
	}
	who, err := m.pick(text)
	if err != nil {
		return target{}, err
	}
	given, _ := netip.ParseAddr(text)
	return m.aimAt(who, given.Unmap()), nil
}

func (m *membership) aimAt(who *roster.Member, dst netip.Addr) target {
	t := target{id: who.Node, name: m.roster.Names()[who.Node], src: m.Own.ULA(), dst: who.ULA()}
	owners := m.roster.Owners()
	if who.IPv4().IsValid() && m.Own.IPv4().IsValid() && dst != who.ULA() && owners[who.IPv4()] == who.Node {
		t.src, t.dst = m.Own.IPv4(), who.IPv4()
	}
	return t
}

// Ping implements control.Backend.
func (v verbs) Ping(ctx context.Context, r control.PingRequest, pong func(control.Pong) error) error {
	t, err := ask(ctx, v.Node, func() (target, error) {
		m, err := v.current()
		if err != nil {
			return target{}, err
		}
		return m.aim(r.Peer)
	})
	if err != nil {
		return err
	}
	for seq := 1; r.Count == 0 || seq <= r.Count; seq++ {
		next := time.After(time.Second)
		p := v.ping(ctx, t, r.Timeout)
		if ctx.Err() != nil {
			return nil
		}
		p.Seq = seq
		if err := pong(p); err != nil {
			return err
		}
		if r.UntilDirect && p.OK && p.Path == control.Text(control.PathDirect) {
			return nil
		}
		if seq == r.Count {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// ping sends one echo request through the tunnel.
func (v verbs) ping(ctx context.Context, t target, timeout time.Duration) control.Pong {
	p := control.Pong{Name: t.name, Address: t.dst}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	rtt, err := v.dev.Ping(ctx, t.src, t.dst)
	st := v.nat.PeerStatus(t.id)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		p.Error = control.Text(strings.TrimSuffix("timeout: "+st.Reason, ": "))
		return p
	case errors.Is(err, tun.ErrNobody):
		p.Error = "no member has this address now"
		return p
	case err != nil:
		p.Error = control.Text(err.Error())
		return p
	}
	p.OK, p.RTT = true, control.Millis(rtt)
	if st.Path.Kind == path.DirectUDP {
		p.Path, p.Transport, p.Endpoint = control.Text(control.PathDirect), "udp", control.Text(st.Path.Remote.String())
	}
	return p
}

// reach pings members until one answered, the given one first, and shortly after that returns all that did.
func (v verbs) reach(ctx context.Context, first keys.NodeID) []control.Reached {
	answers := make(chan control.Reached)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pinged := map[keys.NodeID]bool{}
	ping := func(t target) {
		pinged[t.id] = true
		v.background.Go(func() {
			for ctx.Err() == nil {
				p := v.ping(ctx, t, time.Second)
				if !p.OK {
					continue
				}
				select {
				case answers <- control.Reached{Name: t.name, Path: control.Path(p.Path), RTT: p.RTT}:
				case <-ctx.Done():
				}
				return
			}
		})
	}
	var reached []control.Reached
	more := time.NewTicker(100 * time.Millisecond)
	defer more.Stop()
	var grace <-chan time.Time
	for {
		for _, t := range v.targets(ctx, pinged) {
			ping(t)
		}
		select {
		case r := <-answers:
			reached = append(reached, r)
			if grace == nil {
				grace = time.After(250 * time.Millisecond)
			}
			if len(reached) == len(pinged) && len(pinged) > 1 {
				return reached
			}
		case <-grace:
			return reached
		case <-more.C:
		case <-ctx.Done():
			return reached
		}
	}
}

// targets are up to 16 members that were not pinged yet.
func (v verbs) targets(ctx context.Context, pinged map[keys.NodeID]bool) []target {
	all, err := ask(ctx, v.Node, func() (all []target, err error) {
		m, err := v.current()
		if err != nil || !m.connected() {
			return nil, err
		}
		for _, who := range m.others() {
			if !pinged[who.Node] && len(pinged)+len(all) < 16 {
				all = append(all, m.aimAt(who, netip.Addr{}))
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
	why := "the agent is not up"
	for {
		done, reason, err := v.waited(ctx, r)
		if err != nil && !isTimeout(err) {
			return err
		}
		if done {
			return nil
		}
		why = first(reason, why)
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return control.Errorf(control.ExitFailed, "warren status shows what is known", "timed out: %s", why)
		}
	}
}

func isTimeout(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

// waited reports whether what Wait waits for is so, and if not, why. A peer that does not exist yet may come.
func (v verbs) waited(ctx context.Context, r control.WaitRequest) (done bool, why string, err error) {
	if r.Peer == "" {
		up, err := ask(ctx, v.Node, func() (alone bool, err error) {
			m, err := v.current()
			if err != nil {
				return false, err
			}
			if !m.connected() {
				return false, control.Errorf(control.ExitFailed, "warren up", "this host is down")
			}
			return len(m.others()) == 0, nil
		})
		if err != nil || up {
			return up, "", err
		}
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return len(v.reach(short, keys.NodeID{})) > 0, "no member answers", nil
	}
	t, err := ask(ctx, v.Node, func() (target, error) {
		m, err := v.current()
		if err != nil {
			return target{}, err
		}
		return m.aim(r.Peer)
	})
	if err != nil {
		return false, "", err
	}
	p := v.ping(ctx, t, time.Second)
	if !p.OK {
		return false, t.name + " does not answer", nil
	}
	if r.Direct && v.nat.PeerStatus(t.id).State != path.Direct {
		return false, "the path to " + t.name + " is not direct", nil
	}
	return true, "", nil
}

// Leave implements control.Backend.
func (v verbs) Leave(ctx context.Context) error {
	linked, err := ask(ctx, v.Node, func() (bool, error) {
		m, err := v.current()
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
	_, err = ask(context.WithoutCancel(ctx), v.Node, func() (struct{}, error) {
		if v.member == nil {
			return struct{}{}, nil
		}
		return struct{}{}, v.forget()
	})
	return err
}

// leaveFor is how long a host that leaves stays to be heard.
const leaveFor = time.Second
