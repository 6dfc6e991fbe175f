package main

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"warren/mesh/control"
)

func initCommand(a *app) *cobra.Command {
	var req control.InitRequest
	var ipRange string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "init",
		Short:   "found a network here",
		GroupID: groupNetwork,
		Args:    none,
		PreRunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := notEmpty(cmd, "name", "hostname", "ip-range"); err != nil {
				return err
			}
			req.IPRange, err = parseRange(ipRange)
			return err
		},
		RunE: verb(func(ctx context.Context, _ []string) error {
			rep, err := a.client().Init(ctx, req)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(rep)
			}
			if err := a.printHost(rep.Network, rep.Self); err != nil {
				return err
			}
			pair(a.out, "recovery key", rep.RecoveryKey)
			fmt.Fprintln(a.err, "warren: hint: keep the recovery key on paper: it is shown this once and stored nowhere")
			a.warn(rep.Warnings)
			return nil
		}),
	}
	f := cmd.Flags()
	f.StringVar(&req.Name, "name", "home", "`name` of the network")
	f.StringVar(&req.Hostname, "hostname", "", "`name` of this host (default the system's)")
	f.StringVar(&ipRange, "ip-range", "", "IPv4 `range` of the network (default 100.64.0.0/10)")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// parseRange reads an IPv4 range; "" is the zero Prefix. How large it has to be is the agent's to say.
func parseRange(s string) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() {
		return netip.Prefix{}, &hinted{fmt.Errorf("--ip-range: %q is not an IPv4 range", clip(s)), "for example: --ip-range 10.77.0.0/16"}
	}
	if p != p.Masked() {
		return netip.Prefix{}, &hinted{fmt.Errorf("--ip-range: %s has bits set behind the prefix", p), "you may mean " + p.Masked().String()}
	}
	return p, nil
}
