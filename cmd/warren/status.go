package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"warren/mesh/control"
)

func statusCommand(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "status [PEER]",
		Short:   "this host, its peers, and how each is reached now",
		GroupID: groupLook,
		Args:    atMostOne("PEER"),
		RunE: verb(func(ctx context.Context, args []string) error {
			s, err := a.client().Status(ctx, first(args))
			if err != nil {
				return err
			}
			if asJSON {
				err = a.printJSON(s)
			} else if s.State != control.StateNone {
				err = a.printStatus(s, len(args) > 0)
			}
			if err != nil {
				return err
			}
			if !asJSON {
				a.warn(s.Warnings)
			}
			if s.State == control.StateNone {
				return control.NoNetwork()
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the whole document")
	return cmd
}

// printStatus prints the table, or all that is known of the one peer asked for.
func (a *app) printStatus(s *control.Status, onePeer bool) error {
	if onePeer {
		for _, p := range s.Peers {
			if err := printPeer(a.out, p); err != nil {
				return err
			}
		}
		return nil
	}
	if err := printSelf(a.out, s); err != nil || len(s.Peers) == 0 {
		return err
	}
	rows := [][]string{{"PEER", "ADDRESS", "PATH", "RTT", "VIA"}}
	for _, p := range s.Peers {
		rows = append(rows, []string{clean(p.Name), address(p), pathWord(p), millis(p.RTT), via(p)})
	}
	if _, err := fmt.Fprintln(a.out); err != nil {
		return err
	}
	if err := printTable(a.out, rows); err != nil {
		return err
	}
	return printReasons(a.out, s.Peers)
}

// printReasons says below the table, where there is room, why peers cannot be reached.
func printReasons(w io.Writer, peers []control.Peer) error {
	var b strings.Builder
	for _, p := range peers {
		if p.Path == control.PathUnreachable && p.Reason != "" {
			pair(&b, clean(p.Name), p.Reason)
		}
	}
	if b.Len() == 0 {
		return nil
	}
	_, err := io.WriteString(w, "\n"+b.String())
	return err
}

func printSelf(w io.Writer, s *control.Status) error {
	name := "?"
	if s.Network != nil {
		name = s.Network.Name + ", " + plural(s.Network.Members, "member")
	}
	host := string(s.Self.Name)
	if s.Self.Signer {
		host += ", signer"
	}
	rows := [][]string{
		{"network", clean(name + ", " + string(s.State))},
		{"this host", clean(host)},
		{"address", joinAddrs(s.Self.Addresses)},
	}
	if nat := natWords(s.Self.NAT); nat != "" {
		rows = append(rows, []string{"NAT", nat})
	}
	return printTable(w, rows)
}

func natWords(n control.NAT) string {
	if n.UDP != nil && !*n.UDP {
		return "UDP does not pass"
	}
	var words []string
	if n.Mapping != "" {
		words = append(words, clean(string(n.Mapping))+" mapping")
	}
	if n.Filtering != "" {
		words = append(words, clean(string(n.Filtering))+" filtering")
	}
	return strings.Join(words, ", ")
}

// printPeer prints all about one peer, one "key: value" a line.
func printPeer(w io.Writer, p control.Peer) error {
	var b strings.Builder
	pair(&b, "name", p.Name)
	pair(&b, "id", p.ID)
	for _, addr := range p.Addresses {
		pair(&b, "address", addr.String())
	}
	pair(&b, "online", map[bool]string{true: "yes", false: "no"}[p.Online])
	pair(&b, "path", string(p.Path))
	if p.Reason != "" {
		pair(&b, "reason", p.Reason)
	}
	if p.Endpoint != "" {
		pair(&b, "endpoint", string(p.Endpoint))
	}
	if p.Relay != "" {
		pair(&b, "relay", string(p.Relay))
	}
	pair(&b, "rtt", millis(p.RTT))
	pair(&b, "received", size(p.RxBytes))
	pair(&b, "sent", size(p.TxBytes))
	handshake := "never"
	if !p.LastHandshake.IsZero() {
		handshake = p.LastHandshake.UTC().Format(time.RFC3339)
	}
	pair(&b, "last handshake", handshake)
	_, err := io.WriteString(w, b.String())
	return err
}

func address(p control.Peer) string {
	if len(p.Addresses) == 0 {
		return "-"
	}
	return p.Addresses[0].String()
}

// pathWord is the path, or that the peer is away.
func pathWord(p control.Peer) string {
	if !p.Online && p.Path == control.PathIdle {
		return "offline"
	}
	return clean(string(p.Path))
}

// via is where packets go.
func via(p control.Peer) string {
	switch {
	case p.Relay != "":
		return "relay " + clean(string(p.Relay))
	case p.Endpoint != "":
		return clean(string(p.Endpoint))
	}
	return "-"
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
