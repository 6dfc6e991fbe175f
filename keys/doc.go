// Package keys holds who is who in a network and how that is proven: identities, the authority log, certificates,
// signed records, invites and join codes. It is pure: bytes in, bytes out, without files, clocks or sockets.
package keys
