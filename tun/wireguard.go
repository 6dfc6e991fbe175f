package tun

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	wgtun "golang.zx2c4.com/wireguard/tun"

	"warren/keys"
)

// Engine speaks WireGuard between a Device and a conn.Bind. Its methods may be called from any goroutine, but
// not from the callbacks of the Device or from within the Bind. After Close they return os.ErrClosed.
type Engine interface {
	// SetKey sets this host's key. A new key ends all sessions; a peer with the same key is removed.
	SetKey(keys.WGPrivate) error
	// SetPeer adds a peer, or replaces its allowed addresses. A prefix that another peer has moves to this
	// one without a word: the caller sees to it that none is given twice.
	SetPeer(Peer) error
	// RemovePeer ends the session with a peer and forgets it, its last handshake's time stamp included.
	// An unknown peer is no error.
	RemovePeer(keys.WGPublic) error
	// Renew starts a new session with a peer: what is sent from now on waits for it, what still comes in the old one is
	// taken. The last handshake must be 20 ms old, or the peer takes the new one for a replay and 5 s are lost. An unknown
	// peer is no error.
	Renew(keys.WGPublic) error
	// Stats returns the counters of each peer.
	Stats() (map[keys.WGPublic]PeerStats, error)
	// Close ends the engine, closes the Device and the Bind, and waits for their goroutines.
	Close() error
}

// Peer is a member as the engine knows it.
type Peer struct {
	ID      keys.NodeID // becomes the endpoint: the Bind's ParseEndpoint gets its text
	Key     keys.WGPublic
	Allowed []netip.Prefix // what the peer may send from and is sent to
}

// PeerStats counts what WireGuard sent and received, its own messages included.
type PeerStats struct {
	RxBytes, TxBytes uint64
	LastHandshake    time.Time // zero: never
}

// WireGuard is the Engine on wireguard's device, in this process.
type WireGuard struct {
	mu     sync.Mutex // guards closed against calls that come late
	closed bool
	dev    *device.Device
}

var _ Engine = (*WireGuard)(nil)

// NewWireGuard brings an engine up on dev and bind; it stays up until Close. It has no key and no peers yet.
// mark is given to the Bind's SetMark unless it is 0. The engine's own words go to log at level debug; there
// are no keys in them. The error wraps what bind.Open returned; dev and bind are then closed.
func NewWireGuard(dev wgtun.Device, bind conn.Bind, mark uint32, log *slog.Logger) (*WireGuard, error) {
	w := &WireGuard{dev: device.NewDevice(dev, bind, logger(log))}
	if mark != 0 {
		if err := w.dev.BindSetMark(mark); err != nil {
			w.dev.Close()
			return nil, fmt.Errorf("tun: marking the sockets: %w", err)
		}
	}
	// The Device's one EventUp asks for the same, but the error would be lost.
	if err := w.dev.Up(); err != nil {
		w.dev.Close()
		return nil, fmt.Errorf("tun: bringing wireguard up: %w", err)
	}
	return w, nil
}

// logger turns wireguard's printf logger into a structured one.
func logger(log *slog.Logger) *device.Logger {
	if log == nil {
		return &device.Logger{Verbosef: device.DiscardLogf, Errorf: device.DiscardLogf}
	}
	to := func(severity string) func(string, ...any) {
		return func(format string, args ...any) {
			if log.Enabled(context.Background(), slog.LevelDebug) {
				log.Debug("wireguard", "severity", severity, "text", fmt.Sprintf(format, args...))
			}
		}
	}
	return &device.Logger{Verbosef: to("verbose"), Errorf: to("error")}
}

// SetKey implements Engine.
func (w *WireGuard) SetKey(k keys.WGPrivate) error {
	return w.set("setting the key", "private_key="+hex.EncodeToString(k[:])+"\n")
}

// SetPeer implements Engine.
func (w *WireGuard) SetPeer(p Peer) error { return w.set("setting peer "+p.ID.String(), peerText(p)) }

// RemovePeer implements Engine.
func (w *WireGuard) RemovePeer(k keys.WGPublic) error {
	return w.set("removing a peer", "public_key="+hex.EncodeToString(k[:])+"\nupdate_only=true\nremove=true\n")
}

// Renew implements Engine.
func (w *WireGuard) Renew(k keys.WGPublic) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fmt.Errorf("tun: renewing a session: %w", os.ErrClosed)
	}
	peer := w.dev.LookupPeer(device.NoisePublicKey(k))
	if peer == nil {
		return nil
	}
	peer.ExpireCurrentKeypairs()
	if err := peer.SendHandshakeInitiation(false); err != nil {
		return fmt.Errorf("tun: renewing a session: %w", err)
	}
	return nil
}

// peerText is p in wireguard's configuration protocol, www.wireguard.com/xplatform.
func peerText(p Peer) string {
	var b strings.Builder
	b.WriteString("public_key=" + hex.EncodeToString(p.Key[:]) + "\n")
	b.WriteString("endpoint=" + p.ID.String() + "\n")
	b.WriteString("replace_allowed_ips=true\n")
	for _, a := range p.Allowed {
		b.WriteString("allowed_ip=" + a.String() + "\n")
	}
	return b.String()
}

func (w *WireGuard) set(doing, text string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fmt.Errorf("tun: %s: %w", doing, os.ErrClosed)
	}
	if err := w.dev.IpcSetOperation(strings.NewReader(text)); err != nil {
		return fmt.Errorf("tun: %s: %w", doing, err)
	}
	return nil
}

// Stats implements Engine.
func (w *WireGuard) Stats() (map[keys.WGPublic]PeerStats, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, fmt.Errorf("tun: reading statistics: %w", os.ErrClosed)
	}
	var text bytes.Buffer
	// The text begins with the private key.
	defer func() { clear(text.Bytes()) }()
	if err := w.dev.IpcGetOperation(&text); err != nil {
		return nil, fmt.Errorf("tun: reading statistics: %w", err)
	}
	stats, err := parseStats(bytes.NewReader(text.Bytes()))
	if err != nil {
		return nil, fmt.Errorf("tun: reading statistics: %w", err)
	}
	return stats, nil
}

// parseStats reads the answer to a get operation of wireguard's configuration protocol. Its errors quote no
// values: they may be keys.
func parseStats(r io.Reader) (map[keys.WGPublic]PeerStats, error) {
	stats := make(map[keys.WGPublic]PeerStats)
	var peer keys.WGPublic
	var s PeerStats
	var sec, nsec int64
	inside := false
	done := func() {
		if !inside {
			return
		}
		if sec != 0 || nsec != 0 {
			s.LastHandshake = time.Unix(sec, nsec)
		}
		stats[peer] = s
	}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "=")
		var err error
		switch name {
		case "public_key":
			done()
			s, sec, nsec, inside = PeerStats{}, 0, 0, true
			var key []byte
			if key, err = hex.DecodeString(value); err != nil || len(key) != len(peer) {
				return nil, fmt.Errorf("bad %s", name)
			}
			copy(peer[:], key)
		case "rx_bytes":
			s.RxBytes, err = strconv.ParseUint(value, 10, 64)
		case "tx_bytes":
			s.TxBytes, err = strconv.ParseUint(value, 10, 64)
		case "last_handshake_time_sec":
			sec, err = strconv.ParseInt(value, 10, 64)
		case "last_handshake_time_nsec":
			nsec, err = strconv.ParseInt(value, 10, 64)
		}
		if err != nil {
			return nil, fmt.Errorf("bad %s", name)
		}
	}
	done()
	return stats, lines.Err()
}

// Close implements Engine.
func (w *WireGuard) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.dev.Close()
	return nil
}
