package link

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"sync"

	"github.com/quic-go/quic-go"
)

// How many connections may stand at once, from their first packet on: at the door there are no names yet, but a member
// needs no more than an old link, a new one and their doubles, and strangers must leave room for each other.
const (
	maxOfMember  = 4
	maxOfSource  = 8 // strangers behind one address
	maxStrangers = 64
)

// How many connections may begin, as each costs a handshake: a second and at once, of one source and of all strangers.
const (
	sourceRate, sourceBurst     = 2, 20
	strangerRate, strangerBurst = 50, 100
	maxVisitors                 = 1024 // sources that are remembered
)

// door counts the connections that others made. The zero door is open.
type door struct {
	mu        sync.Mutex
	bySource  map[string]*visitor
	strangers visitor // all of them
}

// visitor is who is counted together.
type visitor struct {
	live int
	*bucket
}

// tired reports whether too many connections of the visitor began lately, and counts one more.
func (v *visitor) tired(rate, burst float64) bool {
	if v.bucket == nil {
		v.bucket = newBucket(rate, burst)
	}
	return v.take() > 0
}

// enter reports whether one more may come from a source, and counts it until leave.
func (d *door) enter(source string, stranger bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	limit := maxOfMember
	if stranger {
		limit = maxOfSource
	}
	if len(d.bySource) >= maxVisitors {
		maps.DeleteFunc(d.bySource, func(_ string, v *visitor) bool { return v.live == 0 && v.full() })
	}
	v := d.bySource[source]
	if v == nil {
		v = &visitor{}
	}
	switch {
	case v.live >= limit || stranger && d.strangers.live >= maxStrangers:
		return false
	case stranger && len(d.bySource) >= maxVisitors && d.bySource[source] == nil:
		return false
	case v.tired(sourceRate, sourceBurst) || stranger && d.strangers.tired(strangerRate, strangerBurst):
		return false
	}
	if d.bySource == nil {
		d.bySource = map[string]*visitor{}
	}
	d.bySource[source] = v
	v.live++
	if stranger {
		d.strangers.live++
	}
	return true
}

func (d *door) leave(source string, stranger bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bySource[source].live--
	if stranger {
		d.strangers.live--
	}
}

var errFull = errors.New("link: too many connections")

// admit is asked for each new connection before anything is done for it; an error refuses it.
func (t *Transport) admit(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	source, stranger := t.sourceOf(info.RemoteAddr)
	if !t.door.enter(source, stranger) {
		return nil, errFull
	}
	context.AfterFunc(ctx, func() { t.door.leave(source, stranger) })
	return ctx, nil
}

// unproved reports whether an address must first prove that packets reach it: a stranger's may be spoofed, as the check
// before it takes one packet only. A member's is what its own checks say.
func (t *Transport) unproved(addr net.Addr) bool {
	_, member := t.cfg.NodeOf(addr)
	return !member
}

// sourceOf names who is counted together: a member, or the strangers behind one IPv4 address or IPv6 /64.
func (t *Transport) sourceOf(addr net.Addr) (source string, stranger bool) {
	if peer, ok := t.cfg.NodeOf(addr); ok {
		return peer.String(), false
	}
	at, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return addr.String(), true
	}
	ip, bits := at.Addr().Unmap(), 64
	if ip.Is4() {
		bits = 32
	}
	return netip.PrefixFrom(ip.WithZone(""), bits).Masked().String(), true
}

// configFor gives a stranger what a joiner needs and no more.
func (t *Transport) configFor(info *quic.ClientInfo) (*quic.Config, error) {
	conf := quicConfig()
	if _, ok := t.cfg.NodeOf(info.RemoteAddr); !ok {
		conf.InitialStreamReceiveWindow, conf.MaxStreamReceiveWindow = 32<<10, 64<<10
		conf.InitialConnectionReceiveWindow, conf.MaxConnectionReceiveWindow = 48<<10, 96<<10
		conf.MaxIncomingStreams, conf.MaxIncomingUniStreams = 1, -1
		conf.EnableDatagrams = false
	}
	return conf, nil
}
