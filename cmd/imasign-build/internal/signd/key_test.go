package signd

import (
	"context"
	"crypto"
	"testing"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// flawed makes one wrong signature among those of each batch.
type flawed struct {
	ima.RawSigner

	wrong int // its index
}

func (f flawed) SignRaw(ctx context.Context, h crypto.Hash, digests [][]byte) ([][]byte, error) {
	signatures, err := f.RawSigner.SignRaw(ctx, h, digests)
	if err == nil && f.wrong < len(signatures) {
		last := signatures[f.wrong]
		last[len(last)-1] ^= 1
	}
	return signatures, err
}

// TestWrongSignatures checks that a key that makes wrong signatures does not sign: a single
// wrong one is found among those of a key that is always verified, and the first one of any key.
func TestWrongSignatures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		unverified bool
		wrong      int
		refused    bool
	}{
		{"verified, the first", false, 0, true},
		{"verified, another", false, 4, true},
		{"verified, none", false, 9, false},
		{"unverified, the first", true, 0, true},
		{"unverified, another", true, 4, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			private := ecKey(t)
			key := keyOf(t, "image", private, flawed{ima.CryptoSigner(private), c.wrong}, func(k *keystore.Key) { k.Unverified = c.unverified })
			key.queue.workers = 1
			s := start(t, key)
			answer, err := s.ci.ask(t, s.ci.request(s.address, 8))
			if c.refused {
				refused(t, err, protocol.KeyFailed, "")
			} else if check(t, err); len(answer.Signatures) != 8 {
				t.Errorf("%d signatures", len(answer.Signatures))
			}
		})
	}
}
