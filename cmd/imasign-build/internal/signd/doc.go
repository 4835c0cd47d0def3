// Package signd is the signing service: it takes requests over HTTP/2 with mutual TLS, decides
// about them, signs, and answers once the log has the batch.
//
// A [Server] is used by clients over TLS, and [Server.Status] by monitoring, without TLS, on a
// loopback address. What may change while it runs is in a [Policy], which is replaced as a whole.
//
// Which requester may have what signed is the matter of package rules; how records are stored is
// that of a [Log]. Package config reads the configuration. The caller opens keys, listeners and
// the log, and handles signals.
package signd
