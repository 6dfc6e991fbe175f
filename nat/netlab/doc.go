// Package netlab builds a small Internet out of network namespaces on one Linux machine: a shared public segment,
// public hosts, home routers with real NAT (nftables and conntrack, not an imitation of them) and hosts behind those
// routers. Programs run inside a host as ordinary processes; sockets of the caller can be opened inside a host too.
//
// It is a lab for tests, demonstrations and benchmarks, not a container runtime: hosts share files, users and
// processes with the machine and differ only in their network.
//
// It needs no tool but the kernel: links, addresses and routes are set through rtnetlink, rules through nf_tables,
// settings through /proc/sys. Namespaces are anonymous file descriptors and every process started in one dies with
// the program that made it, so a lab leaves nothing behind, not even after SIGKILL. Several labs, in one program or in
// many, do not see each other.
//
// Making namespaces needs root. [Reexec] gives an ordinary user the same inside a user namespace, where the kernel
// allows that. Every program calls it first, before any goroutine of its own runs:
//
//	func TestMain(m *testing.M) {
//		if code, ran, _ := netlab.Reexec(); ran {
//			os.Exit(code)
//		}
//		os.Exit(m.Run())
//	}
//
// Addresses: the public segment is 198.51.100.0/24 and 2001:db8::/64 with a gateway at .1 and ::1, public hosts count
// from .11 and ::11, routers from .101; the n-th router's private network is 192.168.n.0/24 with the router at .1 and
// hosts from .2. Hosts behind a router have no public IPv6 address.
package netlab
