package ima_test

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

func TestFileID(t *testing.T) {
	vd := unhex(t, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	id, err := ima.FileID(ima.SHA256, vd)
	check(t, err)
	if want := append([]byte{6, 4}, vd...); !bytes.Equal(id, want) {
		t.Errorf("file id is %x, want %x", id, want)
	}
	digest, err := ima.FileIDDigest(ima.SHA256, vd)
	check(t, err)
	// printf '\6\4' | cat - <(seq 0 31 | xargs printf '%02x' | xxd -r -p) | sha256sum
	if want := unhex(t, "9b303486322dd28c2f7f7d80cf811cec14b75d19edd59d261cc4cf0dc644a8ee"); !bytes.Equal(digest, want) {
		t.Errorf("digest is %x, want %x", digest, want)
	}
	_, err = ima.FileID(ima.SHA384, make([]byte, 48))
	refused(t, err, ima.ErrUnsupportedHash)
	_, err = ima.FileIDDigest(ima.SHA256, vd[1:])
	refused(t, err, ima.ErrDigestSize)
}

func TestSignVerity(t *testing.T) {
	ctx, key := context.Background(), ecdsaKey(t, elliptic.P256())
	pub, s := certificateKey(t, key, 1, 2, 3, 4), ima.CryptoSigner(key)
	ring := ima.NewKeyring(pub)
	for _, h := range []ima.HashID{ima.SHA256, ima.SHA512} {
		vd := sum(h, "a Merkle tree")
		values, err := ima.SignVerity(ctx, s, pub, h, [][]byte{vd})
		check(t, err)
		value := values[0]
		if !bytes.Equal(value[:7], []byte{6, 3, byte(h), 1, 2, 3, 4}) {
			t.Errorf("header is %x", value[:9])
		}
		check(t, ring.VerifyVerity(value, vd))
		refused(t, ring.VerifyVerity(value, sum(h, "another")), ima.ErrBadSignature)
		refused(t, ring.Verify(value, vd), ima.ErrVerity)
		refused(t, ring.VerifyEVM(value, vd), ima.ErrIMAValue)

		// The signature must not do for a file whose content has that digest.
		value[0], value[1] = 3, 2
		refused(t, ring.Verify(value, vd), ima.ErrBadSignature)
		refused(t, ring.VerifyVerity(value, vd), ima.ErrIMAValue)
	}
	_, err := ima.SignVerity(ctx, s, pub, ima.SHA384, [][]byte{make([]byte, 48)})
	refused(t, err, ima.ErrUnsupportedHash)
	refused(t, ring.VerifyVerity(unhex(t, "02"+sha1Hex), make([]byte, 32)), ima.ErrEVMValue)
	refused(t, ring.VerifyVerity(nil, make([]byte, 32)), ima.ErrTruncated)
	refused(t, ring.VerifyVerity(unhex(t, "06 03 04 01020305 0001 aa"), make([]byte, 32)), ima.ErrUnknownKey)
}
