package keystore

import (
	"testing"

	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/pkcs11"
	"github.com/imasign/imasign-build/tests/harness"
)

const pin = "4711-is-the-pin"

// inToken makes a key in a SoftHSM2 token.
func inToken(t *testing.T, h *harness.SoftHSM, algorithm, object string) *place {
	t.Helper()
	store := pkcs11.New()
	p := &place{backends: keystore.Backends{store}, uri: h.URI(t, "build", object, pin)}
	made, err := store.Generate(t.Context(), p.uri, keystore.Request{Name: "x509_ima", Algorithm: algorithm}, p.opts)
	check(t, err)
	check(t, made.Close())
	return p
}

func TestPKCS11(t *testing.T) {
	for _, algorithm := range algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			h := harness.NewSoftHSM(t)
			h.InitToken(t, "build", pin)
			suite(t, inToken(t, h, algorithm, "ima"), algorithm, enough(algorithm))
		})
	}
}
