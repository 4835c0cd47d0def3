package remote

import (
	"crypto"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/imasign/imasign-build/internal/libcrypto"
	"github.com/imasign/imasign-build/pkg/ima"
)

// minShare is how many signatures are worth verifying on another core.
const minShare = 32

// VerifiesWith reports whether all signatures are verified with this public key before they are
// returned. So batches are verified while others are on their way, and the server of one that is
// not valid is known.
func (k *key) VerifiesWith(public crypto.PublicKey) bool {
	own, ok := k.public.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && own.Equal(public)
}

// verify verifies the signatures of a batch, on several cores.
func (k *key) verify(b *batch, signatures [][]byte) error {
	n := len(signatures)
	share := max(minShare, (n+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var all errgroup.Group
	for from := 0; from < n; from += share {
		all.Go(func() error {
			for i := from; i < min(from+share, n); i++ {
				if err := k.verifyOne(b, i, signatures[i]); err != nil {
					return fmt.Errorf("%w: the new signature is not valid with key %s: %w", errFalse, k.public.ID(), err)
				}
			}
			return nil
		})
	}
	return all.Wait()
}

func (k *key) verifyOne(b *batch, i int, signature []byte) error {
	// In version 2, what is signed is the digest itself.
	if h, known := b.hash.CryptoHash(); known && b.form.Version == 2 && k.fast != nil && k.fast.Valid(h, b.digests[i], signature) {
		return nil
	}
	return k.public.Verify(ima.Statement{Form: b.form, Hash: b.hash, Digest: b.digests[i]}, signature)
}

// fastVerifier returns libcrypto's verifier of signatures by a key, which takes less time than
// Go's packages: half for RSA. It returns nil for ML-DSA keys and without libcrypto.
func fastVerifier(key *ima.PublicKey) *libcrypto.Verifier {
	if _, is := key.Public().(ima.MessageKey); is {
		return nil
	}
	library, err := libcrypto.Load()
	if err != nil {
		return nil
	}
	verifier, err := library.NewVerifier(key.Public())
	if err != nil {
		return nil
	}
	return verifier
}
