package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/spf13/cobra"

	"warren/mesh/control"
)

func ipCommand(a *app) *cobra.Command {
	var only4, only6, asJSON bool
	cmd := &cobra.Command{
		Use:     "ip [PEER]",
		Short:   "the addresses of this host or of a peer",
		GroupID: groupLook,
		Args:    atMostOne("PEER"),
		RunE: verb(func(ctx context.Context, args []string) error {
			addrs, err := a.client().IP(ctx, first(args))
			if err != nil {
				return err
			}
			if only4 != only6 {
				addrs = slices.DeleteFunc(addrs, func(addr netip.Addr) bool { return addr.Is4() != only4 })
			}
			if asJSON {
				return a.printJSON(ipDocument{Addresses: addrs})
			}
			if len(addrs) == 0 {
				return control.Errorf(control.ExitFailed, "", "there is no such address")
			}
			for _, addr := range addrs {
				if _, err := fmt.Fprintln(a.out, addr); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&only4, "ipv4", "4", false, "IPv4 only")
	f.BoolVarP(&only6, "ipv6", "6", false, "IPv6 only")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

type ipDocument struct {
	Addresses control.List[netip.Addr] `json:"addresses"`
}
