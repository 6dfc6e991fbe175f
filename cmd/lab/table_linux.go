package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// watchPaths shows the table each time it changes, until it is as it should be or too late.
func (d *play) watchPaths(ctx context.Context) error {
	const patience = 15 * time.Second
	began, shown := time.Now(), ""
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var settled bool
	var reasons []string
	err := await(soon, 200*time.Millisecond, func() (bool, error) {
		table, all, why, err := d.table(ctx, d.members)
		if err != nil {
			return false, err
		}
		if table != shown {
			fmt.Fprintf(d.out, "  after %.1f s:\n", time.Since(began).Seconds())
			d.block(table)
		}
		shown, settled, reasons = table, all, why
		return all, nil
	})
	if ctx.Err() != nil {
		return err
	}
	took := time.Since(began)
	d.promise(settled, "every pair that can has a direct path after %.1f s, the others say why they have none", took.Seconds())
	for _, why := range reasons {
		d.block(why)
	}
	return nil
}

// table shows the paths between members, whether they are the best possible, and the reasons of those that have none.
func (d *play) table(ctx context.Context, members []*member) (text string, settled bool, reasons []string, err error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%-10s", "")
	for _, m := range members {
		fmt.Fprintf(&b, "%-13s", m.name)
	}
	settled = true
	for _, from := range members {
		s, err := from.status(ctx)
		if err != nil {
			return "", false, nil, err
		}
		fmt.Fprintf(&b, "\n%-10s", from.name)
		for _, to := range members {
			i := slices.IndexFunc(s.Peers, func(p peer) bool { return p.Name == to.name })
			switch {
			case from == to:
				fmt.Fprintf(&b, "%-13s", ".")
			case i < 0:
				fmt.Fprintf(&b, "%-13s", "not known")
				settled = false
			default:
				p := s.Peers[i]
				fmt.Fprintf(&b, "%-13s", p.Path)
				if _, hard := d.hard[[2]*member{from, to}]; !hard {
					settled = settled && p.Path == "direct"
				} else if settled = settled && p.Path == "unreachable" && p.Reason != ""; p.Reason != "" {
					reasons = append(reasons, fmt.Sprintf("%s to %s: %s", from.name, to.name, p.Reason))
				}
			}
		}
	}
	return b.String(), settled, reasons, nil
}
