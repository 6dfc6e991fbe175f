package path

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"warren/keys"
)

// tape gives out the bytes of a fuzz input, zeros at its end.
type tape struct{ rest []byte }

func (t *tape) byte() byte {
	if len(t.rest) == 0 {
		return 0
	}
	b := t.rest[0]
	t.rest = t.rest[1:]
	return b
}

// addr is one of a few addresses, now and then a bad one, so that events meet.
func (t *tape) addr() netip.AddrPort {
	b := t.byte()
	port := uint16(b >> 5)
	switch b & 31 {
	case 0:
		return netip.AddrPort{}
	case 1:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{224, 0, 0, 1}), port)
	case 2:
		return netip.AddrPortFrom(netip.MustParseAddr("::ffff:203.0.113.9"), port)
	case 3:
		return netip.AddrPortFrom(netip.MustParseAddr("fe80::1%eth0"), port)
	case 4:
		return netip.AddrPortFrom(netip.MustParseAddr("2001:db8::9"), port)
	case 5, 6:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, b & 31}), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, b & 31}), port)
}

func (t *tape) list() (list []keys.Candidate) {
	for range t.byte() & 63 {
		list = append(list, keys.Candidate{Kind: keys.CandidateKind(t.byte() & 7), Addr: t.addr()})
	}
	return list
}

// path is mostly a direct one.
func (t *tape) path() Path {
	p := UDP(t.addr())
	if b := t.byte(); b > 240 {
		p.Kind, p.Slot = Kind(b&7), uint32(b)
	}
	return p
}

func (t *tape) id() (id [12]byte) {
	id[0] = t.byte()
	return id
}

// wait is from microseconds to hours, forwards or, rarely, backwards.
func (t *tape) wait() time.Duration {
	b := t.byte()
	d := time.Duration(1+b&15) * []time.Duration{
		0, time.Microsecond, time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second, time.Hour,
	}[b>>4&7]
	if b&128 != 0 && t.byte() > 200 {
		return -d
	}
	return d
}

// event is the next one; sent and sessions are what the core said so far.
func (t *tape) event(sent []SendCheck, sessions []uint64) Event {
	session := func() uint64 {
		if b := int(t.byte()); b < len(sessions) {
			return sessions[len(sessions)-1-b]
		}
		return uint64(t.byte())
	}
	switch t.byte() % 14 {
	case 0:
		return Candidates{Remote: t.list()}
	case 1:
		return Connect{}
	case 2:
		return Initiation{}
	case 3:
		b := t.byte()
		return Traffic{Tx: b&1 != 0, Rx: b&2 != 0, From: t.path()}
	case 4:
		return CheckRequested{ID: t.id(), Path: t.path()}
	case 5, 6, 7:
		if b := int(t.byte()); b < len(sent) {
			return CheckAnswered(sent[len(sent)-1-b])
		}
		return CheckAnswered{ID: t.id(), Path: t.path()}
	case 8:
		return Call{Session: session(), Candidates: t.list()}
	case 9:
		return Ack{Session: session(), Candidates: t.list()}
	case 10:
		return Go{Session: session()}
	case 11:
		return Proven{Path: t.path()}
	case 12:
		return KeepWarm{Urgent: t.byte()&1 != 0}
	}
	if t.byte() > 200 {
		return Reset{}
	}
	return Tick{}
}

// FuzzCore feeds any events at any times to a core, which is held to its rules after each; see checked. At the end, when
// nothing happens any more, it must come to rest.
func FuzzCore(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00\x41\x00\x02\x01\x09\x01\x0a\x01\x41\x05\x00\x41\x0b\x09\x00\x41\x03\x03\x09"))
	seed := make([]byte, 0, 512)
	for i := range uint64(128) {
		seed = binary.BigEndian.AppendUint32(seed, uint32(i*2654435761))
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		in := tape{rest: data}
		cfg := Config{Self: keys.NodeID{1}, Peer: keys.NodeID{2}, Seed: 1}
		if in.byte()&1 != 0 {
			cfg.Self, cfg.Peer = cfg.Peer, cfg.Self
		}
		c := newChecked(cfg)
		now := start()
		var sent []SendCheck
		var sessions []uint64
		step := func(ev Event) {
			for _, act := range c.step(now, ev) {
				switch act := act.(type) {
				case SendCheck:
					sent = append(sent, act)
				case SendSignal:
					sessions = append(sessions, act.Session)
				case Use, Resend, Refresh, Changed, Wake:
				}
			}
			if len(c.faults) > 0 {
				t.Fatalf("after %#v: %v", ev, c.faults)
			}
		}
		for len(in.rest) > 0 {
			now = now.Add(in.wait())
			// A caller that is not too busy ticks in time.
			for range 3 {
				if c.wake.IsZero() || c.wake.After(now) || in.byte() < 20 {
					break
				}
				step(Tick{})
			}
			step(in.event(sent, sessions))
		}
		for range 1000 {
			if c.due().IsZero() {
				return
			}
			now = c.wake
			step(Tick{})
		}
		t.Fatalf("no rest after a thousand ticks, due in %v: %+v", c.due().Sub(c.now), c.Snapshot())
	})
}
