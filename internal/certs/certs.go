// Package certs reads, makes and checks the X.509 certificates with which a Linux kernel
// verifies the signatures of files.
//
// [Read] and [Parse] read PEM and DER. [NewCA] and [Issuer] make certificates for the kernel's
// system keyring and for its .ima and .evm keyrings; any [crypto.Signer] signs them. [Check]
// reports, for each rule, what a given kernel would refuse, and [CheckPurposes] keys with two
// purposes. [Init] makes a set of keys and
// certificates with the file names that Yocto layers expect.
//
// The rules are the kernel's, not those of the web: no dates, no revocation, no path length.
// Package keystore opens existing keys. The caller asks for passphrases and prints results.
package certs

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/internal/quote"
)

// maxSize bounds a file of certificates, in bytes. All certificates of a browser have 0.2 MB.
const maxSize = 1 << 20

// Errors that a caller may distinguish.
var (
	// ErrNoCertificate: the input is not a certificate.
	ErrNoCertificate = errors.New("no certificate there")
	// ErrCurve: the key is on a curve that neither crypto/x509 nor the kernel supports.
	ErrCurve = errors.New("the kernel verifies ECDSA on P-256, P-384 and P-521 (6.12 and later) alone, and this key is on another curve")
	// ErrTooLarge: the input is too large for certificates.
	ErrTooLarge = errors.New("too large")
	// ErrOption: an option is wrong. Nothing was done.
	ErrOption = errors.New("wrong option") // not in the text of errors
	// ErrExists: files exist that would have been overwritten.
	ErrExists = errors.New("nothing was written, as files exist already")
	// ErrRefused: the kernel would refuse the requested certificate.
	ErrRefused = errors.New("the kernel would refuse this certificate")
)

// optionError is an ErrOption with a text of its own.
type optionError struct{ error }

func (e optionError) Unwrap() error { return e.error }

func (optionError) Is(target error) bool { return target == ErrOption }

func wrongOption(format string, args ...any) error { return optionError{fmt.Errorf(format, args...)} }

// Read returns the certificates in a file, at least one; see Parse. The file may be a pipe.
// Waiting for it ends with ctx.
func Read(ctx context.Context, path string) ([]*x509.Certificate, error) {
	data, err := input.ReadFile(ctx, path, maxSize)
	switch {
	case errors.Is(err, input.ErrTooLarge):
		return nil, fmt.Errorf("read certificate %s: %w: more than %d bytes", path, ErrTooLarge, maxSize)
	case err != nil:
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	list, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("read certificate %s: %w", path, err)
	}
	return list, nil
}

// Parse returns the certificates in data in their order, at least one. data is PEM, of which
// other blocks are ignored, or DER certificates one after the other.
func Parse(data []byte) ([]*x509.Certificate, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // a byte order mark
	switch {
	case len(data) > maxSize:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, maxSize)
	case len(bytes.TrimSpace(data)) == 0:
		return nil, fmt.Errorf("%w: it is empty", ErrNoCertificate)
	case bytes.Contains(data, []byte("-----BEGIN ")):
		return parsePEM(data)
	case data[0] != 0x30: // SEQUENCE
		return nil, fmt.Errorf("%w: it is neither PEM nor DER", ErrNoCertificate)
	}
	list, err := x509.ParseCertificates(data)
	for _, cert := range list {
		if err == nil {
			err = mldsa.Complete(cert)
		}
	}
	switch {
	case otherCurve(err):
		return nil, ErrCurve
	case errors.Is(err, mldsa.ErrMalformed):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: its DER is of something else, or damaged: %w", ErrNoCertificate, quote.Plain(err))
	}
	return list, nil
}

// otherCurve compares texts, because crypto/x509 exports no value for this error.
func otherCurve(err error) bool {
	return err != nil && err.Error() == "x509: unsupported elliptic curve"
}

func parsePEM(data []byte) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	other := "its PEM is damaged or cut off"
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" && block.Type != "X509 CERTIFICATE" {
			other = otherPEM(block.Type)
			continue
		}
		cert, err := mldsa.ParseCertificate(block.Bytes)
		switch {
		case otherCurve(err):
			return nil, fmt.Errorf("certificate %d: %w", len(list)+1, ErrCurve)
		case errors.Is(err, mldsa.ErrMalformed):
			return nil, fmt.Errorf("certificate %d: %w", len(list)+1, err)
		case err != nil:
			return nil, fmt.Errorf("certificate %d is damaged (%w): copy it again", len(list)+1, quote.Plain(err))
		}
		list = append(list, cert)
	}
	if bytes.Contains(data, []byte("-----BEGIN CERTIFICATE-----")) {
		return nil, fmt.Errorf("certificate %d is damaged or cut off: copy it again", len(list)+1)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNoCertificate, other)
	}
	return list, nil
}

// otherPEM says what PEM with a label other than CERTIFICATE is.
func otherPEM(label string) string {
	switch label {
	case "PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY":
		return "it holds a private key; the certificate is another file"
	case "PUBLIC KEY", "RSA PUBLIC KEY":
		return "it holds a public key, which has no key id of its own; the certificate is another file"
	case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
		return "it holds a certificate request, which its CA has yet to sign"
	case "TRUSTED CERTIFICATE":
		return "it holds OpenSSL's TRUSTED CERTIFICATE; openssl x509 -in FILE -out NEW converts it"
	case "PKCS7", "CMS":
		return "it holds PKCS #7; openssl pkcs7 -in FILE -print_certs -out NEW converts it"
	}
	if len(label) > 40 {
		label = label[:40] + "…"
	}
	return fmt.Sprintf("it holds PEM of type %q", label)
}
