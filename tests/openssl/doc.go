// Package openssl holds keystore/file and certs against the openssl command: keys
// in every form that it writes are opened, certificates and keys that are made
// here are taken by it, and the conversions that errors suggest work.
package openssl
