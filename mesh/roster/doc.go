// Package roster knows who belongs to the network: it judges the items that gossip brings and keeps what the good ones
// say. It is the only place where a certificate, a record or an invite turns from bytes into something that the engine
// acts upon. Pure: no clock, socket or disk; used from one goroutine.
//
// Membership is durable and is not liveness: a member is forgotten only when it left or was revoked.
package roster
