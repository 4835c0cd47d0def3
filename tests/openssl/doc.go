// Package openssl compares keystore/file and certs with the openssl command. It checks
// that keys in every form that openssl writes can be opened, that openssl accepts the
// certificates, requests and keys made here, and that the conversions that errors suggest
// work. For ML-DSA, it uses OpenSSL 3.5.
package openssl
