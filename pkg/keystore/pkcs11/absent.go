//go:build !cgo

package pkcs11

import (
	"context"
	"fmt"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// Store opens no keys in a build without cgo.
type Store struct{}

// New returns a Store that refuses everything with [keystore.ErrSchemeNotBuilt].
func New() *Store { return &Store{} }

func absent() error {
	return fmt.Errorf("%w: pkcs11 needs a build with cgo (CGO_ENABLED=1 and a C compiler)", keystore.ErrSchemeNotBuilt)
}

// Available reports whether this program has PKCS#11.
func Available() bool { return false }

// Open fails: modules are C libraries.
func (*Store) Open(context.Context, string, keystore.Options) (*keystore.Key, error) {
	return nil, absent()
}

// Generate fails: modules are C libraries.
func (*Store) Generate(context.Context, string, keystore.Request, keystore.Options) (*keystore.Generated, error) {
	return nil, absent()
}
