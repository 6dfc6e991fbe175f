// Package local finds out at which addresses this host can be reached: those of its interfaces, and those that others
// Saw packets come from. It judges the NAT in front of the host by that, and says why a member cannot be reached.
//
// It is pure, except Hosts; package nat tells it what it sent and heard.
package local

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"warren/keys"
)

const (
	maxHosts     = 10
	maxReflexive = 4
	maxSightings = 32
	sightingLife = 3 * time.Minute
	together     = time.Minute     // sightings so near each other tell the mapping behaviour
	unasked      = 5 * time.Minute // a check from where nothing was sent for so long came in by itself
	maxSentTo    = 4096
)

// sighting is what somebody at remote saw as the address of this host.
type sighting struct {
	remote netip.Addr
	mapped netip.AddrPort
	at     time.Time
}

// NAT is what is known about the way out.
type NAT struct {
	UDP                *bool // nil: not known
	Mapping, Filtering keys.NATBehaviour
	// Reachable says that a check came in unasked, from a public address to which nothing was sent for 5 minutes.
	Reachable bool
}

// Finder collects what a host finds out about its own addresses.
type Finder struct {
	Port    uint16         // of the sockets
	Overlay []netip.Prefix // addresses in it are never candidates

	hosts     []netip.Addr // sorted
	loopback  bool         // hosts has a loopback address: others may be tried
	sightings []sighting   // one a remote address, oldest first
	sentTo    map[netip.Addr]time.Time
	nat       NAT
}

// New returns a Finder that knows nothing.
func New() *Finder { return &Finder{sentTo: make(map[netip.Addr]time.Time)} }

// View is what a Finder knows at some time. It is immutable.
type View struct {
	Candidates []keys.Candidate // own addresses first, no two alike, at most keys.MaxCandidates
	NAT        NAT
}

// SetHosts takes the list of own addresses and reports whether it is another one.
func (f *Finder) SetHosts(hosts []netip.Addr) bool {
	hosts = slices.Clone(hosts)
	for i := range hosts {
		hosts[i] = hosts[i].Unmap().WithZone("")
	}
	slices.SortFunc(hosts, netip.Addr.Compare)
	hosts = slices.Compact(hosts)
	if slices.Equal(hosts, f.hosts) {
		return false
	}
	f.hosts = hosts
	f.loopback = slices.ContainsFunc(hosts, netip.Addr.IsLoopback)
	return true
}

// Reset forgets what was true of another network.
func (f *Finder) Reset() {
	f.sightings = nil
	f.nat = NAT{}
	clear(f.sentTo)
}

// Sent notes that something left for remote.
func (f *Finder) Sent(remote netip.Addr, now time.Time) {
	if len(f.sentTo) >= maxSentTo {
		for a, at := range f.sentTo {
			if now.Sub(at) > unasked {
				delete(f.sentTo, a)
			}
		}
		if len(f.sentTo) >= maxSentTo {
			return // then one more check seems unasked; later dials judge, too
		}
	}
	f.sentTo[remote] = now
}

// Asked notes an authentic request from remote.
func (f *Finder) Asked(remote netip.Addr, now time.Time) {
	if at, ok := f.sentTo[remote]; public(remote) && (!ok || now.Sub(at) > unasked) {
		f.nat.Reachable = true
		f.nat.Filtering = keys.EndpointIndependent
	}
	f.heard()
}

// heard notes that UDP passes.
func (f *Finder) heard() {
	if f.nat.UDP == nil {
		yes := true
		f.nat.UDP = &yes
	}
}

// Saw notes what an authentic answer from remote says about the address of this host.
func (f *Finder) Saw(remote netip.Addr, mapped netip.AddrPort, now time.Time) {
	f.heard()
	if !public(remote) || !public(mapped.Addr()) || mapped.Port() == 0 {
		return
	}
	f.sightings = slices.DeleteFunc(f.sightings, func(s sighting) bool {
		return s.remote == remote || now.Sub(s.at) > sightingLife
	})
	if len(f.sightings) >= maxSightings {
		f.sightings = f.sightings[1:]
	}
	f.sightings = append(f.sightings, sighting{remote, mapped, now})
	for _, s := range f.sightings {
		if s.remote == remote || s.remote.Is4() != remote.Is4() || now.Sub(s.at) > together {
			continue
		}
		f.nat.Mapping = keys.EndpointIndependent
		if s.mapped != mapped {
			f.nat.Mapping = keys.AddressAndPortDependent
			return
		}
	}
}

// View returns candidates, own addresses first, and the verdict on the NAT.
func (f *Finder) View(now time.Time) *View {
	v := &View{NAT: f.nat}
	add := func(kind keys.CandidateKind, a netip.AddrPort) bool {
		if !unicast(a.Addr()) || f.Within(a.Addr()) ||
			slices.ContainsFunc(v.Candidates, func(c keys.Candidate) bool { return c.Addr == a }) {
			return false
		}
		v.Candidates = append(v.Candidates, keys.Candidate{Kind: kind, Addr: a})
		return true
	}
	for _, h := range f.hosts {
		if len(v.Candidates) < maxHosts {
			add(keys.Host, netip.AddrPortFrom(h, f.Port))
		}
	}
	// In the order of who saw them: a symmetric NAT shows everybody another one, and the list must not change each time.
	seen := slices.SortedFunc(slices.Values(f.sightings), func(a, b sighting) int { return a.remote.Compare(b.remote) })
	left := maxReflexive
	for _, s := range seen {
		if left > 0 && now.Sub(s.at) <= sightingLife && add(keys.ServerReflexive, s.mapped) {
			left--
		}
	}
	return v
}

// Equal reports whether v and w say the same.
func (v *View) Equal(w *View) bool {
	return slices.Equal(v.Candidates, w.Candidates) && (v.NAT.UDP == nil) == (w.NAT.UDP == nil) &&
		v.NAT.Mapping == w.NAT.Mapping && v.NAT.Filtering == w.NAT.Filtering && v.NAT.Reachable == w.NAT.Reachable
}

// Usable reports whether a check may be sent to the candidate a of somebody else.
func (f *Finder) Usable(a netip.AddrPort) bool {
	ip := a.Addr()
	if a.Port() == 0 || !unicast(ip) || f.Within(ip) || ip.IsLoopback() && !f.loopback {
		return false
	}
	return a.Port() != f.Port || !slices.Contains(f.hosts, ip) // it is this host
}

// Within reports whether ip is an address of the overlay.
func (f *Finder) Within(ip netip.Addr) bool {
	return slices.ContainsFunc(f.Overlay, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// unicast reports whether ip can be a candidate at all.
func unicast(ip netip.Addr) bool {
	return ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast() && !ip.IsLinkLocalUnicast() && !ip.Is4In6() &&
		ip.Zone() == "" && ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// public reports whether ip is one of the Internet, where documentation addresses count as such.
func public(ip netip.Addr) bool {
	carrier := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10) // RFC 6598
	return unicast(ip) && !ip.IsPrivate() && !ip.IsLoopback() && !carrier.Contains(ip)
}

// Reason says why a member cannot be reached without a relay,
// by its name, its NAT and its candidates.
func Reason(here NAT, name string, there keys.NAT, candidates []keys.Candidate) string {
	symmetric := func(b keys.NATBehaviour) bool { return b == keys.AddressDependent || b == keys.AddressAndPortDependent }
	open := there.Filtering == keys.EndpointIndependent ||
		slices.ContainsFunc(candidates, func(c keys.Candidate) bool { return c.Kind == keys.Host && public(c.Addr.Addr()) })
	switch n := len(candidates); {
	case n == 0:
		return fmt.Sprintf("no candidate of %s is known", name)
	case symmetric(here.Mapping) && symmetric(there.Mapping):
		return "symmetric NAT at both ends: needs a relay"
	case symmetric(here.Mapping) && !open:
		return fmt.Sprintf("the NAT here maps %s and %s's filters: needs a relay", here.Mapping, name)
	case symmetric(there.Mapping) && !here.Reachable:
		return fmt.Sprintf("%s's NAT maps %s and the one here filters: needs a relay", name, there.Mapping)
	case n == 1:
		return fmt.Sprintf("no answer from the one address of %s", name)
	default:
		return fmt.Sprintf("no answer from any of %s's %d addresses", name, n)
	}
}

// foreign matches the interfaces of overlays, ours included, and bridges that lead only to containers of this host.
const foreign = `^(warren|wg|tailscale|zt|nebula|wt|utun|tun|tap|hamachi|edgevpn|easytier|netmaker|nm-|docker|virbr|lxc|cni|flannel|cali|br-[0-9a-f]{12}$)`

// Hosts returns the addresses of the system's interfaces that are up, without loopback, link-local ones and
// those of overlays.
func Hosts() []netip.Addr {
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	skip := regexp.MustCompile(foreign)
	var hosts []netip.Addr
	for _, i := range ifaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 || skip.MatchString(strings.ToLower(i.Name)) {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && unicast(p.Addr().Unmap()) {
				hosts = append(hosts, p.Addr().Unmap())
			}
		}
	}
	return hosts
}
