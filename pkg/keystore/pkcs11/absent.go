//go:build !cgo

package pkcs11

import (
	"context"
	"fmt"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// New returns a backend whose error is always [keystore.ErrSchemeNotBuilt], because modules
// are C libraries.
func New() keystore.Backend {
	return keystore.Backend{
		Scheme: "pkcs11",
		Open:   func(context.Context, string, keystore.Options) (*keystore.Key, error) { return nil, absent() },
		Generate: func(context.Context, string, keystore.Request, keystore.Options) (*keystore.Generated, error) {
			return nil, absent()
		},
	}
}

func absent() error {
	return fmt.Errorf("%w: pkcs11 needs a build with cgo (CGO_ENABLED=1 and a C compiler)", keystore.ErrSchemeNotBuilt)
}

// Available reports whether this program has PKCS#11.
func Available() bool { return false }
