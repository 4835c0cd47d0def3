package keystore

import (
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/file"
	"github.com/imasign/imasign-build/tests/harness"
)

func TestFile(t *testing.T) {
	t.Parallel()
	for _, algorithm := range algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			suite(t, &place{
				backends: keystore.Backends{file.New()},
				uri:      filepath.Join(harness.Keys(t, algorithm), "x509_ima.key"),
			}, algorithm, enough(algorithm))
		})
	}
}

func fileKey(t testing.TB, path string) *keystore.Key {
	t.Helper()
	return (&place{backends: keystore.Backends{file.New()}, uri: path}).open(t)
}
