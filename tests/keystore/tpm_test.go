package keystore

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/tpm"
	"github.com/imasign/imasign-build/tests/harness"
)

// inTPM makes a key in a TPM and its file.
func inTPM(t *testing.T, s *harness.TPM, algorithm string) *place {
	t.Helper()
	store := tpm.New()
	made, err := store.Generate(t.Context(), "tpm2:?device="+s.Device, keystore.Request{Name: "ima", Algorithm: algorithm}, keystore.Options{})
	check(t, err)
	check(t, made.Close())
	path := filepath.Join(t.TempDir(), "ima.key")
	check(t, os.WriteFile(path, made.File, 0o600))
	return &place{backends: keystore.Backends{store}, uri: "tpm2:" + path + "?device=" + s.Device}
}

func TestTPM(t *testing.T) {
	t.Parallel()
	for _, algorithm := range algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			suite(t, inTPM(t, harness.NewTPM(t), algorithm), algorithm, enough(algorithm))
		})
	}
}
