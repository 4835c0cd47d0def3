package bench

import (
	"encoding/json"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/pkcs11"
	"github.com/imasign/imasign-build/tests/harness"
)

// callTime is how long a signature takes in the token, as with an HSM in a network.
const callTime = 5 * time.Millisecond

// sessions is how many sessions a PKCS#11 key opens at most.
const sessions = 16

// token is a P-256 key in SoftHSM2. With P-256, SoftHSM2 computes little, so what is measured
// is the wait.
type token struct {
	*harness.SlowModule
	module    string // file
	pin       string
	uri, cert string
	keyID     string // hexadecimal digits
}

// newToken makes a token whose signatures take callTime.
func newToken(b *testing.B) *token {
	b.Helper()
	const pin = "4711"
	h := harness.NewSoftHSM(b)
	h.InitToken(b, "bench", pin)
	slow := h.Slow(b, 0)
	keys := filepath.Join(b.TempDir(), "keys")
	harness.Must(b, harness.Program(b), "key", "init", "--algorithm", "p256", "--on", h.URI(b, "bench", "", pin), keys)
	slow.Delay(b, callTime)
	slow.Calls(b) // the signatures of the certificates
	t := &token{SlowModule: slow, module: h.Module, pin: pin, cert: filepath.Join(keys, "x509_ima.crt")}
	t.uri = h.URI(b, "bench", "x509_ima", pin)
	var shown struct {
		Keys []struct {
			KeyID string `json:"key_id"`
		}
	}
	out := harness.Must(b, harness.Program(b), "key", "show", "--json", t.cert)
	if err := json.Unmarshal([]byte(out), &shown); err != nil || len(shown.Keys) != 1 {
		b.Fatalf("key show: %v\n%s", err, out)
	}
	t.keyID = shown.Keys[0].KeyID
	return t
}

// sign has the token make n signatures, in all sessions, while the program does nothing else.
// It returns how long that takes, in seconds.
func (t *token) sign(b *testing.B, n int) float64 {
	b.Helper()
	key, err := keystore.Backends{pkcs11.New()}.Open(b.Context(), t.uri, keystore.Options{Certificate: certificate(b, t.cert)})
	check(b, err)
	defer func() { check(b, key.Close()) }()
	digests, _ := newDigests(n)
	return timed(func() {
		var all sync.WaitGroup
		for i := range sessions {
			all.Go(func() {
				if _, err := key.Sign(b.Context(), ima.ContentSignature(), ima.SHA256, digests[i*n/sessions:(i+1)*n/sessions]); err != nil {
					b.Error(err)
				}
			})
		}
		all.Wait()
	})
}

// flags returns the flags that sign with the token.
func (t *token) flags() []string { return []string{"--key", t.uri, "--cert", t.cert} }
