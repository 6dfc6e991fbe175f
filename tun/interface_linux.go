package tun

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	wgtun "golang.zx2c4.com/wireguard/tun"
)

const (
	clonePath = "/dev/net/tun"
	// gsoMaxSize lets one super-packet of the kernel, cut to the overlay MTU and sealed, fit into one UDP GSO
	// send of at most 65,535 bytes.
	gsoMaxSize = 61500
	// addrGenNone is IN6_ADDR_GEN_MODE_NONE of linux/if_link.h.
	addrGenNone = 1
)

// Interface is the kernel's end of the overlay: a TUN interface with its addresses, routes and rules. All of
// it belongs to the network namespace of the thread that called Create.
type Interface struct {
	cfg   InterfaceConfig
	dev   wgtun.Device
	nl    *netlink.Handle
	link  netlink.Link
	rules []netip.Prefix // those made
	close sync.Once
	err   error // of Close
}

// Create makes the interface, sets its addresses and routes, and brings it up. Rules of ours that an earlier
// process left for the same prefixes and mark are removed first. If this host has IPv6 switched off, what is of
// IPv6 is left out and logged, as long as an IPv4 address remains. On error nothing stays behind; it may wrap
// ErrNameTaken, ErrNoTUN, ErrPermission or ErrRouteTaken.
func Create(cfg InterfaceConfig) (*Interface, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	dev, err := openTUN(cfg.Name)
	if err != nil {
		return nil, err
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		_ = dev.Close()
		return nil, fmt.Errorf("tun: opening netlink: %w", err)
	}
	i := &Interface{cfg: cfg, dev: dev, nl: nl}
	if err := i.configure(); err != nil {
		_ = i.Close()
		return nil, fmt.Errorf("tun: setting up %s: %w", cfg.Name, permission(err))
	}
	return i, nil
}

// Device returns the device to attach. Closing it removes the interface, but not the rules.
func (i *Interface) Device() wgtun.Device { return i.dev }

// Name returns the interface's name.
func (i *Interface) Name() string { return i.cfg.Name }

// Close removes the interface, with its addresses and routes, and the rules. Only the first call does; the
// others return what it returned.
func (i *Interface) Close() error {
	i.close.Do(func() {
		var errs []error
		// Only those made here: a failed Create must leave another agent's alone.
		if len(i.rules) > 0 {
			errs = append(errs, cleanup(i.nl, i.rules, i.cfg.Mark))
		}
		errs = append(errs, i.dev.Close())
		i.nl.Close()
		if err := errors.Join(errs...); err != nil {
			i.err = fmt.Errorf("tun: closing %s: %w", i.cfg.Name, err)
		}
	})
	return i.err
}

// openTUN makes the interface. Unlike wireguard's CreateTUN it starts no goroutines that watch the link: they
// end the device when their netlink socket overflows, and nobody needs their events.
func openTUN(name string) (wgtun.Device, error) {
	fd, err := openClone()
	if err != nil {
		return nil, err
	}
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("tun: interface name %q: %w", name, err)
	}
	// TUN_EXCL refuses to take over a persistent interface of somebody else.
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_TUN_EXCL)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		_ = unix.Close(fd)
		// EINVAL: the name is that of an interface that is no TUN.
		if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EINVAL) {
			err = ErrNameTaken
		}
		return nil, fmt.Errorf("tun: creating %s: %w", name, permission(err))
	}
	dev, _, err := wgtun.CreateUnmonitoredTUNFromFD(fd)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("tun: creating %s: %w", name, permission(err))
	}
	return dev, nil
}

func openClone() (fd int, err error) {
	fd, err = unix.Open(clonePath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		return fd, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		err = ErrNoTUN
	}
	return -1, fmt.Errorf("tun: opening %s: %w", clonePath, permission(err))
}

// permission adds ErrPermission to the kernel's words for it.
func permission(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("%w (%w)", ErrPermission, err)
	}
	return err
}

func (i *Interface) configure() (err error) {
	if i.link, err = i.nl.LinkByName(i.cfg.Name); err != nil {
		return fmt.Errorf("finding the link: %w", err)
	}
	if err := i.nl.LinkSetMTU(i.link, i.cfg.MTU); err != nil {
		return fmt.Errorf("setting mtu %d: %w", i.cfg.MTU, err)
	}
	log := i.cfg.Log.With("iface", i.cfg.Name)
	if err := i.nl.LinkSetGSOMaxSize(i.link, gsoMaxSize); err != nil {
		log.Debug("gso_max_size not set", "err", err)
	}
	// No link-local address: nobody answers router solicitations here.
	if err := i.nl.LinkSetIP6AddrGenMode(i.link, addrGenNone); err != nil {
		log.Debug("address generation not switched off", "err", err)
	}
	allowIPv6(i.cfg.Name)
	addrs, err := i.addAddrs(log)
	if err != nil {
		return err
	}
	if err := i.nl.LinkSetUp(i.link); err != nil {
		return fmt.Errorf("bringing it up: %w", err)
	}
	return i.addRoutes(addrs)
}

// addAddrs returns the addresses that the interface got.
func (i *Interface) addAddrs(log *slog.Logger) (addrs []netip.Prefix, err error) {
	for _, a := range i.cfg.Addrs {
		err := i.nl.AddrAdd(i.link, &netlink.Addr{IPNet: ipNet(a), Flags: unix.IFA_F_NODAD, Scope: unix.RT_SCOPE_UNIVERSE})
		if err != nil && a.Addr().Is6() && noIPv6(err) && sourceIs4(i.cfg.Addrs) {
			log.Warn("no IPv6 on this host", "addr", a.Addr(), "err", err)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("adding address %s: %w", a, err)
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

func (i *Interface) addRoutes(addrs []netip.Prefix) error {
	for _, p := range i.cfg.Prefixes {
		src, ok := sourceFor(addrs, p)
		if !ok {
			continue
		}
		if err := addRoute(i.nl, i.link.Attrs().Index, p, src); err != nil {
			return err
		}
		if i.cfg.Mark == 0 {
			continue
		}
		if err := addRule(i.nl, p, i.cfg.Mark); err != nil {
			return err
		}
		i.rules = append(i.rules, p)
	}
	return nil
}

// allowIPv6 switches IPv6 on for this one interface where new ones have it off, as in many containers. Where
// that is not allowed, adding the address fails and says so.
func allowIPv6(name string) {
	path := "/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6"
	if b, err := os.ReadFile(path); err == nil && len(b) > 0 && b[0] == '1' {
		_ = os.WriteFile(path, []byte("0"), 0o644)
	}
}

func noIPv6(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) ||
		errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP)
}

func sourceIs4(addrs []netip.Prefix) bool {
	_, ok := sourceFor(addrs, netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	return ok
}

// ipNet turns p into what netlink takes.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// Check tells whether this process can make an interface: the error wraps ErrPermission without CAP_NET_ADMIN
// in the effective set, whoever the user is, and ErrNoTUN or ErrPermission when /dev/net/tun does not open.
func Check() error {
	var data [2]unix.CapUserData
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&head, &data[0]); err != nil {
		return fmt.Errorf("tun: reading capabilities: %w", err)
	}
	if data[0].Effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		return fmt.Errorf("tun: user %d without CAP_NET_ADMIN: %w", os.Geteuid(), ErrPermission)
	}
	fd, err := openClone()
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
