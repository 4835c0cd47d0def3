// Package audit reads and verifies the logs of signing services: in a directory, a copy of one,
// or over the network. Nothing that a log says is trusted but what its key signed, and of that
// only that it was said: what a record claims that digests are of is the word of the requester.
package audit
