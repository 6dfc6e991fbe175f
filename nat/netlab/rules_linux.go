package netlab

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// install loads the rules of a router of this kind into the namespace. The rules of one kind are what nft(8) would
// make of:
//
//	table ip router {
//	  chain input { type filter hook input priority filter
//	    iifname "wan" ct state established,related accept
//	    iifname "wan" meta l4proto icmp accept
//	    iifname "wan" drop                                  # not for EarlyPacket
//	  }
//	  chain forward { type filter hook forward priority filter
//	    iifname "wan" ct state established,related accept
//	    iifname "wan" drop
//	  }
//	  chain post { type nat hook postrouting priority srcnat
//	    oifname "wan" meta l4proto udp snat ip to WAN:20000-29999   # PortRestrictedRemap
//	    oifname "wan" meta l4proto udp masquerade fully-random        # Symmetric
//	    oifname "wan" masquerade
//	  }
//	}
func (ns *namespace) install(kind NAT, wan netip.Addr) error {
	conn, err := nftables.New(nftables.WithNetNSFd(int(ns.fd)))
	if err != nil {
		return fmt.Errorf("open nf_tables: %w", err)
	}
	table := conn.AddTable(&nftables.Table{Name: "router", Family: nftables.TableFamilyIPv4})
	chain := func(name string, typ nftables.ChainType, hook *nftables.ChainHook, prio *nftables.ChainPriority) func(...[]expr.Any) {
		c := conn.AddChain(&nftables.Chain{Name: name, Table: table, Type: typ, Hooknum: hook, Priority: prio})
		return func(parts ...[]expr.Any) {
			rule := &nftables.Rule{Table: table, Chain: c}
			for _, p := range parts {
				rule.Exprs = append(rule.Exprs, p...)
			}
			conn.AddRule(rule)
		}
	}

	input := chain("input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter)
	input(fromWAN(), established(), verdict(expr.VerdictAccept))
	input(fromWAN(), protocol(unix.IPPROTO_ICMP), verdict(expr.VerdictAccept))
	if kind != EarlyPacket {
		input(fromWAN(), verdict(expr.VerdictDrop))
	}

	forward := chain("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	forward(fromWAN(), established(), verdict(expr.VerdictAccept))
	forward(fromWAN(), verdict(expr.VerdictDrop))

	post := chain("post", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	switch kind {
	case PortRestricted, EarlyPacket:
	case PortRestrictedRemap:
		post(toWAN(), protocol(unix.IPPROTO_UDP), source(wan, 20000, 29999))
	case Symmetric:
		post(toWAN(), protocol(unix.IPPROTO_UDP), []expr.Any{&expr.Masq{FullyRandom: true}})
	default:
		return fmt.Errorf("no rules for %v", kind)
	}
	post(toWAN(), []expr.Any{&expr.Masq{}})

	if err := conn.Flush(); err != nil {
		return fmt.Errorf("load the rules of a %s router: %w", kind, err)
	}
	return nil
}

func fromWAN() []expr.Any        { return metaIs(expr.MetaKeyIIFNAME, name16("wan")) }
func toWAN() []expr.Any          { return metaIs(expr.MetaKeyOIFNAME, name16("wan")) }
func protocol(p byte) []expr.Any { return metaIs(expr.MetaKeyL4PROTO, []byte{p}) }

func metaIs(key expr.MetaKey, data []byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data},
	}
}

func established() []expr.Any {
	zero := make([]byte, 4)
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: 4, Xor: zero,
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: zero},
	}
}

func verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }

// source translates to an address and a range of ports. (A masquerade cannot: the library leaves out the flag that
// makes the kernel look at its ports.)
func source(addr netip.Addr, lowest, highest uint16) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: addr.AsSlice()},
		&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(lowest)},
		&expr.Immediate{Register: 3, Data: binaryutil.BigEndian.PutUint16(highest)},
		&expr.NAT{
			Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1,
			RegProtoMin: 2, RegProtoMax: 3, Specified: true,
		},
	}
}

// name16 is an interface name as nf_tables compares it, padded to IFNAMSIZ.
func name16(iface string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, iface)
	return b
}
