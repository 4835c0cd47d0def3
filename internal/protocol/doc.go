// Package protocol is the language of a signing service: what a client asks, what the service
// answers, and the record of it in the service's log. Every message is one item of CBOR (RFC
// 8949) in its core deterministic encoding (section 4.2.1): a reader refuses any other encoding
// of the same values. docs/protocol.md has every byte.
//
// A client signs its request with an Ed25519 key, over the key's name, the digests, the server
// that it is for, an id and the time. So a request is worth nothing to another server, at
// another time, or a second time.
//
// The package moves no bytes and knows no keys. How the messages travel, who may sign what, and
// where the log is, is the matter of its importers.
package protocol
