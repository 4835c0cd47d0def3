package ima_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/elliptic"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

type rawFunc func(h crypto.Hash, messages [][]byte) ([][]byte, error)

func (f rawFunc) SignRaw(_ context.Context, h crypto.Hash, messages [][]byte) ([][]byte, error) {
	return f(h, messages)
}

// TestMessagesOfForms checks which messages the key gets for each form.
func TestMessagesOfForms(t *testing.T) {
	vd := unhex(t, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	for _, c := range []struct {
		form    ima.Form
		message []byte
	}{
		{ima.ContentSignature(), vd},
		{ima.PortableSignature(), vd},
		// printf '\6\4' | cat - <(seq 0 31 | xargs printf '%02x' | xxd -r -p) | sha256sum
		{ima.VeritySignature(), unhex(t, "9b303486322dd28c2f7f7d80cf811cec14b75d19edd59d261cc4cf0dc644a8ee")},
		// The same with \3\4 and \5\4.
		{ima.ContentSignature().V3(), unhex(t, "e4393cafdcd03620aaeff5bf32448458faefb243a54d0dc14da945aa66c37785")},
		{ima.PortableSignature().V3(), unhex(t, "ac9ef77adc02f48226a3940f09ed556a7ae947364a2e00254f8397701830a0b0")},
	} {
		var got [][]byte
		s := ima.FromRaw(rawFunc(func(h crypto.Hash, messages [][]byte) ([][]byte, error) {
			if h != crypto.SHA256 {
				t.Errorf("%+v: the key gets hash %s", c.form, h)
			}
			got = messages
			return messages, nil
		}), certificateKey(t, rsaKey(), 1, 2, 3, 4))
		_, err := s.Sign(t.Context(), c.form, ima.SHA256, [][]byte{vd, vd})
		check(t, err)
		if len(got) != 2 || !bytes.Equal(got[0], c.message) || !bytes.Equal(got[1], c.message) {
			t.Errorf("%+v: the key gets %x, want %x", c.form, got, c.message)
		}
	}
}

// TestRefusedStatements checks that refused statements never get to the key.
func TestRefusedStatements(t *testing.T) {
	pub := certificateKey(t, rsaKey(), 1, 2, 3, 4)
	s := ima.FromRaw(rawFunc(func(crypto.Hash, [][]byte) ([][]byte, error) {
		t.Error("the key was asked")
		return nil, nil
	}), pub)
	version4, version1 := ima.ContentSignature(), ima.ContentSignature()
	version4.Version, version1.Version = 4, 1
	for _, c := range []struct {
		form   ima.Form
		hash   ima.HashID
		digest []byte
		want   ima.Refusal
	}{
		{ima.ContentSignature(), ima.SHA256, make([]byte, 31), ima.ErrDigestSize},
		{ima.ContentSignature(), ima.SM3, make([]byte, 32), ima.ErrUnsupportedHash},
		{ima.ContentSignature(), 200, make([]byte, 32), ima.ErrUnknownHash},
		{ima.VeritySignature(), ima.SHA384, make([]byte, 48), ima.ErrUnsupportedHash},
		{ima.VeritySignature(), ima.SHA256, make([]byte, 31), ima.ErrDigestSize},
		{ima.ContentDigest(), ima.SHA256, make([]byte, 32), ima.ErrUnsupportedVersion},
		{version4, ima.SHA256, make([]byte, 32), ima.ErrUnsupportedVersion},
		{version1, ima.SHA256, make([]byte, 32), ima.ErrUnsupportedVersion},
		{ima.Form{}, ima.SHA256, make([]byte, 32), ima.ErrUnsupportedVersion},
	} {
		_, err := s.Sign(t.Context(), c.form, c.hash, [][]byte{c.digest})
		refused(t, err, c.want)
		_, err = ima.Sign(t.Context(), s, pub, c.form, c.hash, [][]byte{c.digest})
		refused(t, err, c.want)
		refused(t, pub.Verify(ima.Statement{Form: c.form, Hash: c.hash, Digest: c.digest}, make([]byte, 256)), c.want)
	}
}

// prefix is the first part of a DigestInfo of SHA-256 (RFC 8017, 9.2), in hexadecimal.
const prefix = "3031300d060960864801650304020105000420"

// TestHashZeroIsRefused checks that hash 0 is refused. crypto/rsa takes it to mean "sign
// this DigestInfo", so a message could become a signature of content.
func TestHashZeroIsRefused(t *testing.T) {
	forged := append(unhex(t, prefix), sum(ima.SHA256, "content that nobody approved")...)
	for _, key := range []crypto.Signer{rsaKey(), ecdsaKey(t, elliptic.P256())} {
		for _, message := range [][]byte{forged, sum(ima.SHA256, "a"), nil} {
			for _, h := range []crypto.Hash{0, crypto.SHA512_256, crypto.MD5SHA1, 999} {
				sigs, err := ima.CryptoSigner(key).SignRaw(t.Context(), h, [][]byte{message})
				if refused(t, err, ima.ErrUnsupportedHash); sigs != nil {
					t.Errorf("%T signed %x with hash %d", key, message, h)
				}
			}
		}
		_, err := ima.CryptoSigner(key).SignRaw(t.Context(), crypto.SHA256, [][]byte{forged})
		refused(t, err, ima.ErrDigestSize)
	}
}

func TestFormOfAValue(t *testing.T) {
	evm2 := ima.Form{Xattr: ima.XattrEVM, Type: ima.TypeSignature, Version: 2, Over: ima.Metadata}
	for _, c := range []struct {
		xattr, value string
		want         ima.Form
		signs        bool
	}{
		{ima.XattrIMA, "03 02 04 01020304 0001 aa", ima.ContentSignature(), true},
		{ima.XattrEVM, "03 02 04 01020304 0001 aa", evm2, true},
		{ima.XattrIMA, "06 03 04 01020304 0001 aa", ima.VeritySignature(), true},
		{ima.XattrEVM, "05 02 04 01020304 0001 aa", ima.PortableSignature(), true},
		{ima.XattrIMA, "04 02" + sha1Hex, ima.ContentDigest(), false},
		{ima.XattrIMA, "01" + sha1Hex, ima.Form{Xattr: ima.XattrIMA, Type: ima.TypeDigest, Over: ima.Content}, false},
		{ima.XattrEVM, "02" + sha1Hex, ima.Form{Xattr: ima.XattrEVM, Type: ima.TypeEVMHMAC, Over: ima.Metadata}, false},
	} {
		v, err := ima.Parse(unhex(t, c.value))
		check(t, err)
		if got := v.Form(c.xattr); got != c.want || got.Signs() != c.signs {
			t.Errorf("%s in %s is %+v, want %+v", c.value, c.xattr, got, c.want)
		}
	}
}

// TestOtherHash checks that the hashes of value and digest are compared. A digest of 32
// bytes can be of several hashes, and an ECDSA signature does not state which.
func TestOtherHash(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	pub := certificateKey(t, key, 1, 2, 3, 4)
	value, digest := sign(t, key, pub, "a"), sum(ima.SHA256, "a")
	for _, value := range [][]byte{value, ima.DigestValue(ima.SHA256, digest)} {
		_, err := ima.NewKeyring(pub).Verify(value, ima.Statement{Form: ima.ContentSignature(), Hash: ima.SHA3_256, Digest: digest})
		refused(t, err, ima.ErrOtherHash)
	}
}

func TestSignVerity(t *testing.T) {
	ctx, key := context.Background(), ecdsaKey(t, elliptic.P256())
	pub, err := certificateKey(t, key, 1, 2, 3, 4).For(ima.ForAny)
	check(t, err)
	s := ima.FromRaw(ima.CryptoSigner(key), pub)
	ring := ima.NewKeyring(pub)
	for _, h := range []ima.HashID{ima.SHA256, ima.SHA512} {
		vd := sum(h, "a Merkle tree")
		values, err := ima.Sign(ctx, s, pub, ima.VeritySignature(), h, [][]byte{vd})
		check(t, err)
		value := values[0]
		if !bytes.Equal(value[:7], []byte{6, 3, byte(h), 1, 2, 3, 4}) {
			t.Errorf("header is %x", value[:9])
		}
		check(t, verifyAs(ring, ima.VeritySignature(), value, vd))
		refused(t, verifyAs(ring, ima.VeritySignature(), value, sum(h, "another")), ima.ErrBadSignature)
		refused(t, verify(ring, value, vd), ima.ErrVerity)
		refused(t, verifyAs(ring, ima.PortableSignature(), value, vd), ima.ErrIMAValue)

		// The signature must not be valid for a file whose content has that digest.
		value[0], value[1] = 3, 2
		refused(t, verify(ring, value, vd), ima.ErrBadSignature)
		refused(t, verifyAs(ring, ima.VeritySignature(), value, vd), ima.ErrIMAValue)
	}
	_, err = ima.Sign(ctx, s, pub, ima.VeritySignature(), ima.SHA384, [][]byte{make([]byte, 48)})
	refused(t, err, ima.ErrUnsupportedHash)
	refused(t, verifyAs(ring, ima.VeritySignature(), unhex(t, "02"+sha1Hex), make([]byte, 32)), ima.ErrEVMValue)
	refused(t, verifyAs(ring, ima.VeritySignature(), nil, make([]byte, 32)), ima.ErrTruncated)
	refused(t, verifyAs(ring, ima.VeritySignature(), unhex(t, "06 03 04 01020305 0001 aa"), make([]byte, 32)), ima.ErrUnknownKey)
}
