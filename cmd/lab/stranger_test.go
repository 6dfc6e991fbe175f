package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/quic-go/quic-go"
	"golang.org/x/crypto/blake2s"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"

	"warren/nat/netlab"
)

// ear hears every IP packet that reaches a host from some addresses.
type ear struct {
	mu    sync.Mutex
	heard []string
	stop  func()
}

// listen opens an ear on a host.
func listen(t *testing.T, host *netlab.Host, from ...netip.Addr) *ear {
	t.Helper()
	var fd int
	err := host.Do(func() (err error) {
		// ETH_P_ALL in network byte order.
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(unix.ETH_P_ALL<<8))
		if err != nil {
			return err
		}
		return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20_000})
	})
	if err != nil {
		t.Fatal(err)
	}
	e := &ear{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	e.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		unix.Close(fd)
	})
	t.Cleanup(e.stop)
	go func() {
		defer close(done)
		buf := make([]byte, 65536)
		for ctx.Err() == nil {
			n, sa, err := unix.Recvfrom(fd, buf, 0)
			ll, ok := sa.(*unix.SockaddrLinklayer)
			if err != nil || !ok || ll.Pkttype == unix.PACKET_OUTGOING {
				continue
			}
			if src, what := describe(buf[:n]); slices.Contains(from, src) {
				e.mu.Lock()
				e.heard = append(e.heard, what)
				e.mu.Unlock()
			}
		}
	}()
	return e
}

// describe names the source and the kind of an IP packet; neighbour discovery has no source.
func describe(p []byte) (src netip.Addr, what string) {
	var proto, first byte
	switch {
	case len(p) >= 24 && p[0]>>4 == 4:
		src, _ = netip.AddrFromSlice(p[12:16])
		header := int(p[0]&15) * 4
		proto, first = p[9], p[min(header, len(p)-1)]
	case len(p) >= 41 && p[0]>>4 == 6:
		src, _ = netip.AddrFromSlice(p[8:24])
		proto, first = p[6], p[40]
	}
	switch {
	case proto == unix.IPPROTO_ICMPV6 && first >= 133 && first <= 137:
		return netip.Addr{}, ""
	case proto == unix.IPPROTO_ICMP && first == 0, proto == unix.IPPROTO_ICMPV6 && first == 129:
		return src, "echo reply"
	case proto == unix.IPPROTO_ICMP && first == 3, proto == unix.IPPROTO_ICMPV6 && first == 1:
		return src, "unreachable"
	}
	return src, fmt.Sprintf("protocol %d of %d bytes", proto, len(p))
}

func (e *ear) has() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.heard)
}

// TestStrangerHearsNothing sends a member what scanners and attackers send. No packet may come back, of whatever kind.
func TestStrangerHearsNothing(t *testing.T) {
	s := tell(t, time.Minute)
	a, b := s.atPublic("a"), s.atPublic("b")
	s.found(a)
	s.must(s.admit(s.ctx, a, b))
	s.pingAll(10*time.Second, a, b)
	st, err := a.status(s.ctx)
	s.must(err)
	i := slices.IndexFunc(st.Self.Candidates, func(c netip.AddrPort) bool { return c.Addr() == a.host.Addr() })
	if i < 0 {
		t.Fatalf("no candidate of %s in %v", a.host.Addr(), st.Self.Candidates)
	}
	port := st.Self.Candidates[i].Port()
	raw, err := base64.StdEncoding.DecodeString(st.Self.PublicKey)
	s.must(err)

	stranger, err := s.lab.Public("stranger")
	s.must(err)
	hears := listen(t, stranger, a.host.Addr(), a.host.Addr6())
	for _, addr := range []netip.Addr{a.host.Addr(), a.host.Addr6()} {
		target := netip.AddrPortFrom(addr, port)
		local := netip.IPv4Unspecified()
		if addr.Is6() {
			local = netip.IPv6Unspecified()
		}
		udp, err := stranger.ListenUDP(netip.AddrPortFrom(local, 0))
		s.must(err)
		for name, packet := range hostilePackets(t, [32]byte(raw)) {
			if _, err := udp.WriteToUDPAddrPort(packet, target); err != nil {
				t.Errorf("send %s to %s: %v", name, target, err)
			}
			s.wait(20 * time.Millisecond)
			if got := hears.has(); len(got) > 0 {
				t.Fatalf("%s to %s is answered by %q", name, target, got)
			}
		}
		udp.Close()
		dialQUIC(s, stranger, local, target)
		handshake(s, stranger, [32]byte(raw), target)
		if got := hears.has(); len(got) > 0 {
			t.Fatalf("a QUIC dial or a WireGuard handshake to %s is answered by %q", target, got)
		}
	}

	// The ear is not deaf, the host is there, and a port without an agent would have been noticed.
	_, err = stranger.FirstEcho(s.within(5*time.Second), a.host.Addr(), 100*time.Millisecond)
	s.must(err)
	udp, err := stranger.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
	s.must(err)
	defer udp.Close()
	closed := netip.AddrPortFrom(a.host.Addr(), 9)
	s.eventually(5*time.Second, "a closed port answers", func() string {
		if _, err := udp.WriteToUDPAddrPort([]byte("hello"), closed); err != nil {
			return err.Error()
		}
		if got := hears.has(); !slices.Contains(got, "echo reply") || !slices.Contains(got, "unreachable") {
			return fmt.Sprintf("heard only %q", got)
		}
		return ""
	})
	s.pingAll(5*time.Second, a, b)
}

// hostilePackets are single datagrams. key is the member's public WireGuard key, which an attacker may know.
func hostilePackets(t *testing.T, key [32]byte) map[string][]byte {
	t.Helper()
	random := func(n int) []byte {
		b := make([]byte, n)
		_, _ = rand.Read(b) // never fails
		return b
	}
	startingWith := func(b []byte, head ...byte) []byte {
		copy(b, head)
		return b
	}
	plain, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(string(random(16))),
		stun.NewShortTermIntegrity(string(random(32))), stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	bare, err := stun.Build(stun.TransactionID, stun.BindingRequest)
	if err != nil {
		t.Fatal(err)
	}
	initiation := startingWith(random(148), 1, 0, 0, 0)
	withMAC := slices.Clone(initiation)
	macKey := blake2s.Sum256(append([]byte("mac1----"), key[:]...))
	mac, err := blake2s.New128(macKey[:])
	if err != nil {
		t.Fatal(err)
	}
	mac.Write(withMAC[:116])
	copy(withMAC[116:132], mac.Sum(nil))

	bait := startingWith(random(1200), 0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8)
	bait[14] = 8
	unknown := startingWith(random(1200), 0xff, 0xff, 0xff, 0xff, 0xff, 20)
	unknown[26] = 20
	return map[string][]byte{
		"an empty datagram":                     {},
		"one byte":                              {0},
		"text":                                  []byte("GET / HTTP/1.0\r\n\r\n"),
		"garbage":                               random(1300),
		"a STUN request":                        bare.Raw,
		"a STUN request with fingerprint":       plain.Raw,
		"a STUN request with bad integrity":     signed.Raw,
		"a STUN success":                        startingWith(slices.Clone(signed.Raw), 0x01, 0x01),
		"a WireGuard initiation":                initiation,
		"a WireGuard initiation with good mac1": withMAC,
		"a WireGuard response":                  startingWith(random(92), 2, 0, 0, 0),
		"a WireGuard cookie reply":              startingWith(random(64), 3, 0, 0, 0),
		"WireGuard data":                        startingWith(random(256), 4, 0, 0, 0),
		"QUIC of an unknown version":            bait,
		"QUIC with long ids":                    unknown,
		"a QUIC short header":                   startingWith(random(1200), 0x40),
		"a QUIC version negotiation":            startingWith(random(1200), 0x80, 0, 0, 0, 0, 8),
		"a relay frame":                         startingWith(random(200), 0x80, 1, 0, 0, 0, 0, 0, 1),
		"a relay frame with STUN":               append([]byte{0x81, 1, 0, 0, 0, 0, 0, 1}, bare.Raw...),
	}
}

// dialQUIC tries real QUIC handshakes with both protocols of the mesh.
func dialQUIC(s *story, stranger *netlab.Host, local netip.Addr, target netip.AddrPort) {
	s.Helper()
	udp, err := stranger.ListenUDP(netip.AddrPortFrom(local, 0))
	s.must(err)
	defer udp.Close()
	for _, alpn := range []string{"warren/1", "warren-join/1", "h3"} {
		ctx := s.within(400 * time.Millisecond)
		conf := &tls.Config{NextProtos: []string{alpn}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
		c, err := quic.Dial(ctx, udp, net.UDPAddrFromAddrPort(target), conf, nil)
		if err == nil {
			s.Errorf("a stranger's %s connection was accepted", alpn)
			_ = c.CloseWithError(0, "") // nothing to be done about it
		}
	}
}

// handshake runs a real WireGuard whose key the member does not know.
func handshake(s *story, stranger *netlab.Host, key [32]byte, target netip.AddrPort) {
	s.Helper()
	private := make([]byte, 32)
	_, _ = rand.Read(private) // never fails
	tun := tuntest.NewChannelTUN()
	dev := device.NewDevice(tun.TUN(), conn.NewStdNetBind(), device.NewLogger(device.LogLevelSilent, ""))
	defer dev.Close()
	s.must(dev.IpcSet(fmt.Sprintf("private_key=%s\npublic_key=%s\nendpoint=%s\nallowed_ip=10.0.0.0/8\npersistent_keepalive_interval=1\n",
		hex.EncodeToString(private), hex.EncodeToString(key[:]), target)))
	s.must(stranger.Do(dev.Up))
	s.eventually(5*time.Second, "a stranger's WireGuard sends", func() string {
		state, err := dev.IpcGet()
		if err != nil {
			return err.Error()
		}
		if strings.Contains(state, "tx_bytes=0") {
			return "nothing was sent"
		}
		return ""
	})
	s.wait(300 * time.Millisecond)
	if state, err := dev.IpcGet(); err != nil || !strings.Contains(state, "rx_bytes=0") {
		s.Errorf("a stranger's WireGuard got an answer: %v\n%s", err, state)
	}
}

// TestExpiredCodeTellsNothing lets a host that was never a member, and one that was, use a code that has expired.
func TestExpiredCodeTellsNothing(t *testing.T) {
	s := tell(t, time.Minute)
	secrets := []string{"zebrafish", "wolverine"}
	a, b := s.atPublic(secrets[0]), s.atPublic(secrets[1])
	s.found(a)
	s.must(s.admit(s.ctx, a, b))
	former, fresh := s.atPublic("former"), s.atPublic("fresh")
	s.run(former, "join", s.inviting(a), "--hostname", "former")
	s.run(former, "leave")

	code := s.run(a, "invite", "--ttl", "1s", "--uses", "5")
	s.wait(1500 * time.Millisecond)
	for _, m := range []*member{fresh, former} {
		r := s.fails(m, exitFailed, "expired", "join", code, "--hostname", "late", "--timeout", "10s")
		st, err := m.warren(s.ctx, "status", "--json")
		s.must(err)
		if st.exit != exitNoMember {
			t.Errorf("after an expired code: %s", st)
		}
		for _, secret := range secrets {
			if strings.Contains(r.stdout+r.stderr+st.stdout+st.stderr, secret) {
				t.Errorf("%s was told the name %s: %s", m.name, secret, r)
			}
			if m == fresh {
				if file := grep(t, m.state, secret); file != "" || strings.Contains(m.log(), secret) {
					t.Errorf("%s knows the name %s: %s\n%s", m.name, secret, file, m.log())
				}
			}
		}
	}
	for _, name := range []string{"late", "fresh"} {
		if out := s.run(a, "status"); strings.Contains(out, name) {
			t.Errorf("%s became a member:\n%s", name, out)
		}
	}
}

// grep names a file under dir that holds text.
func grep(t *testing.T, dir, text string) (found string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			found = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
