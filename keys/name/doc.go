// Package name is what members, networks, hosts and invites are called: ids, host names, the overlay addresses that
// follow from ids, and the join code, which names a network, an invite's seed and where to ask. It proves nothing and
// signs nothing. Package keys gives the same types and functions under the names that others use.
//
// An id is written as 52 characters of base32 (RFC 4648, lower case, no padding). A join code is "warren1:" and the same
// base32 of, big-endian:
//
//	version 1 (= 1) | network id 32 | invite seed 16 | expiry 4 (minutes since 1970)
//	0 to 3 of: family 1 (4 or 6) | address 4 or 16 | port 2      (at most two of them IPv6)
//	the first 4 bytes of SHA-256 of all before
//
// The longest has 172 characters.
package name
