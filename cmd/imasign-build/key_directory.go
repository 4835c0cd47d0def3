package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/file"
)

// Names of the key pairs that a directory stands for, without extension.
const (
	fileSigner = "x509_ima"
	systemCA   = "system_trusted_key"
)

// keyDirectory is a directory that the URI of a key names.
type keyDirectory struct {
	path  string
	isTPM bool
	query string // of the tpm2: URI
}

// directoryOf returns the directory that uri names, nil if uri names anything else.
// Nothing is locked: if the directory is exchanged before its files are read, either they
// are not there or the key and the certificate do not belong together. Both are errors.
func directoryOf(uri string) *keyDirectory {
	if path, query, is := tpmFile(uri); is && isDirectory(path) {
		return &keyDirectory{path: path, isTPM: true, query: query}
	}
	path, is, err := keystore.FilePath(uri)
	if err != nil || !is || !isDirectory(path) {
		return nil
	}
	return &keyDirectory{path: path}
}

// tpmFile returns the path and the query of a tpm2: URI. is is false for another URI, and
// for one that names a handle.
func tpmFile(uri string) (path, query string, is bool) {
	scheme, rest, _ := strings.Cut(uri, ":")
	if !strings.EqualFold(scheme, "tpm2") {
		return "", "", false
	}
	rest, query, _ = strings.Cut(rest, "?")
	path, err := url.PathUnescape(rest)
	return path, query, err == nil && !isHandle(path)
}

// isHandle reports whether tpm2: takes a path for the handle of a persistent object.
func isHandle(path string) bool { return strings.HasPrefix(strings.ToLower(path), "0x") }

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// key returns the URI of the key called name.
func (d *keyDirectory) key(name string) (string, error) {
	path := filepath.Join(d.path, name+".key")
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return "", d.without(name)
	case d.isTPM:
		return tpmURI(path, d.query), nil
	}
	return "file:" + path, nil
}

// absent is the error for a file that is missing from a directory.
type absent struct{ error }

func (absent) Is(target error) bool { return target == fs.ErrNotExist }

// without returns the error for a directory that has no key called name.
func (d *keyDirectory) without(name string) error {
	if name == evmSigner { // the other keys have other purposes
		return absent{fmt.Errorf("%s: no %s.key there: `key init --with evm` makes a key set that has one; --evm-key names another key", d.path, name)}
	}
	others, err := keyFiles(d.path)
	if err != nil {
		return err
	}
	if len(others) == 0 {
		return absent{fmt.Errorf("%s: no %s.key there: key init makes one; a key in a token or TPM is named by its URI", d.path, name)}
	}
	return absent{fmt.Errorf("%s: no %s.key there; name one of %s", d.path, name, strings.Join(others, ", "))}
}

// keyFiles returns the paths of all files named *.key in a directory, sorted.
func keyFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if strings.HasSuffix(entry.Name(), ".key") && !isDirectory(path) {
			list = append(list, path)
		}
	}
	return list, nil
}

// tpmURI returns the URI of a TPM's key file. query may be empty.
func tpmURI(path, query string) string {
	if isHandle(path) {
		path = "./" + path // no handle
	}
	uri := "tpm2:" + (&url.URL{Path: path}).EscapedPath()
	if query != "" {
		uri += "?" + query
	}
	return uri
}

// certificateIn returns the path of the certificate called name in a directory: PEM, or
// DER if there is no PEM.
func certificateIn(dir, name string) (string, error) {
	for _, extension := range []string{".crt", ".der"} {
		path := filepath.Join(dir, name+extension)
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path, nil // reading it reports any other error
		}
	}
	return "", noCertificate(dir, name)
}

func noCertificate(dir, name string) error {
	return absent{fmt.Errorf("%s: neither %s.crt nor %[2]s.der there: name the file of the certificate", dir, name)}
}

// certificateFile returns path, or if it is a directory the path of the certificate called
// name in it.
func certificateFile(path, name string) (string, error) {
	if isDirectory(path) {
		return certificateIn(path, name)
	}
	return path, nil
}

// readCertificates reads the certificates in a file, or in a directory those called name.
// It also returns the path of the file.
func readCertificates(ctx context.Context, path, name string) (_ []*x509.Certificate, file string, err error) {
	if path, err = certificateFile(path, name); err != nil {
		return nil, "", err
	}
	list, err := certs.Read(ctx, path)
	return list, path, err
}

// openKey opens a key. The key file of a TPM needs no tpm2: if the TPM is the default one.
func (a *app) openKey(ctx context.Context, uri string, opts keystore.Options) (*keystore.Key, error) {
	key, err := a.backends.Open(ctx, uri, opts)
	if !errors.Is(err, file.ErrTPMKey) {
		return key, err
	}
	path, _, pathErr := keystore.FilePath(uri)
	if info, statErr := os.Stat(path); pathErr != nil || statErr != nil || !info.Mode().IsRegular() {
		return nil, err // a pipe cannot be read again
	}
	return a.backends.Open(ctx, tpmURI(path, ""), opts)
}
