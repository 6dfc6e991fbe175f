package main

import (
	"bufio"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"warren/nat/netlab"
)

// plainTunnel is one end of a wireguard-go tunnel, the yardstick of the benchmark.
type plainTunnel struct {
	host    *netlab.Host
	key     *ecdh.PrivateKey
	addr    netip.Addr // inside the tunnel
	process *netlab.Process
}

const (
	wireguardPort = 51820
	meshMTU       = 1408
)

// newPlainTunnel starts wireguard-go on a host, with its interface at the MTU of the mesh.
func newPlainTunnel(ctx context.Context, binary string, host *netlab.Host, addr netip.Addr) (*plainTunnel, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &plainTunnel{host: host, key: key, addr: addr}
	// Its socket has a fixed folder: give each one a folder of its own.
	t.process, err = host.Start(exec.Command(binary, "-f", "wg0"), netlab.Confinement{Empty: []string{"/var/run"}})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var link netlink.Link
	err = await(ctx, 10*time.Millisecond, func() (bool, error) {
		var err error
		link, err = host.Netlink().LinkByName("wg0")
		return err == nil, err
	})
	if err != nil {
		return nil, fmt.Errorf("wireguard-go on %s: %w", host.Name(), err)
	}
	h := host.Netlink()
	if err := h.LinkSetMTU(link, meshMTU); err != nil {
		return nil, fmt.Errorf("set the mtu of wg0: %w", err)
	}
	ip := &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(24, 32)}
	if err := h.AddrAdd(link, &netlink.Addr{IPNet: ip}); err != nil {
		return nil, fmt.Errorf("set the address of wg0: %w", err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("set wg0 up: %w", err)
	}
	return t, nil
}

// connect tells this end its key and the other end.
func (t *plainTunnel) connect(ctx context.Context, other *plainTunnel) error {
	run, err := filepath.EvalSymlinks("/var/run")
	if err != nil {
		return err
	}
	path := filepath.Join(fmt.Sprintf("/proc/%d/root", t.process.Pid()), run, "wireguard/wg0.sock")
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var conn net.Conn
	err = await(ctx, 10*time.Millisecond, func() (bool, error) {
		conn, err = new(net.Dialer).DialContext(ctx, "unix", path)
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("configure wireguard-go on %s: %w", t.host.Name(), err)
	}
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "set=1\nprivate_key=%s\nlisten_port=%d\npublic_key=%s\nendpoint=%s\nallowed_ip=%s/32\n\n",
		hex.EncodeToString(t.key.Bytes()), wireguardPort, hex.EncodeToString(other.key.PublicKey().Bytes()),
		netip.AddrPortFrom(other.host.Addr(), wireguardPort), other.addr)
	if err != nil {
		return fmt.Errorf("configure wireguard-go on %s: %w", t.host.Name(), err)
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || strings.TrimSpace(answer) != "errno=0" {
		return fmt.Errorf("configure wireguard-go on %s: %q, %w", t.host.Name(), answer, err)
	}
	return nil
}
