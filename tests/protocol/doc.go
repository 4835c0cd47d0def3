// Package protocol compares package internal/protocol with peer.py, which knows the protocol
// only from docs/protocol.md: it reads the CDDL and the table of refusals there.
package protocol
