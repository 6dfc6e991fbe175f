// Package state keeps an agent's folder: keys, certificate, authority log, settings, and the store of gossiped items.
//
// Files are written whole (temporary file, fsync, rename, fsync of the folder), so that after a kill or a full disk
// there is the old content or the new one. The folder is for one agent at a time and open to nobody else; a group
// `warren`, where the system has it, may pass through it to the socket. It holds no secret of the machine: restored
// elsewhere it works. Keys are bytes here; package keys knows what they mean.
//
// Layout, all 0600: version ("1\n"), lock, identity.pem, wireguard.pem, root.pem, signer.pem, certificate.pem,
// authority.cbor, settings.json, store.db (bbolt: bucket "items", key = kind 1 + subject 32, value = CRC-32C 4 +
// seq 8 + body, big-endian), roster.cbor (a copy of the items, in case store.db is damaged).
package state
