//go:build !cgo

// Package cryptoki is absent from builds without cgo, as PKCS#11 is.
package cryptoki
