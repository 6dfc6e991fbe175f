//go:build !linux

package tun

import (
	"errors"
	"fmt"
	"net/netip"

	wgtun "golang.zx2c4.com/wireguard/tun"
)

// Interface is the kernel's end of the overlay. It exists on Linux only.
type Interface struct{}

var errOther = fmt.Errorf("tun: interface on this system: %w", errors.ErrUnsupported)

// Create returns an error wrapping errors.ErrUnsupported.
func Create(InterfaceConfig) (*Interface, error) { return nil, errOther }

// Device returns nil.
func (*Interface) Device() wgtun.Device { return nil }

// Name returns "".
func (*Interface) Name() string { return "" }

// Close does nothing.
func (*Interface) Close() error { return nil }

// Cleanup returns an error wrapping errors.ErrUnsupported.
func Cleanup([]netip.Prefix, uint32) error { return errOther }

// Conflicts returns an error wrapping errors.ErrUnsupported.
func Conflicts(netip.Prefix) ([]string, error) { return nil, errOther }

// Check returns an error wrapping errors.ErrUnsupported.
func Check() error { return errOther }
