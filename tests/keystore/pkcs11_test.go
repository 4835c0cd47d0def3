package keystore

import (
	"errors"
	"os"
	"testing"
	"time"

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

// TestAbsentToken opens a key whose token is away for a moment, as SoftHSM2's are for others
// while a process writes to them.
func TestAbsentToken(t *testing.T) {
	h := harness.NewSoftHSM(t)
	h.InitToken(t, "build", pin)
	p := inToken(t, h, "p256", "ima")
	check(t, os.Rename(h.Tokens, h.Tokens+".away"))
	back := make(chan error, 1)
	time.AfterFunc(100*time.Millisecond, func() { back <- errors.Join(os.Remove(h.Tokens), os.Rename(h.Tokens+".away", h.Tokens)) })
	check(t, os.Mkdir(h.Tokens, 0o700))
	key, err := p.backends.Open(t.Context(), p.uri, p.opts)
	check(t, <-back)
	check(t, err)
	check(t, key.Close())
	other := h.URI(t, "other", "ima", pin)
	if _, err := p.backends.Open(t.Context(), other, p.opts); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("another token: %v", err)
	}
}
