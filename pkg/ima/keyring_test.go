package ima_test

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

func sign(t testing.TB, key crypto.Signer, pub *ima.PublicKey, content string) []byte {
	t.Helper()
	values, err := ima.Sign(context.Background(), ima.FromRaw(ima.CryptoSigner(key), pub), pub, ima.ContentSignature(), ima.SHA256, [][]byte{sum(ima.SHA256, content)})
	check(t, err)
	return values[0]
}

func TestKeyringRefusals(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	pub := certificateKey(t, key, 1, 2, 3, 4)
	ring := ima.NewKeyring(pub)
	value, digest := sign(t, key, pub, "a"), sum(ima.SHA256, "a")
	edit := func(at int, b byte) []byte {
		v := append([]byte(nil), value...)
		v[at] = b
		return v
	}
	for name, tc := range map[string]struct {
		value, digest []byte
		want          ima.Refusal
	}{
		"nothing":           {nil, digest, ima.ErrTruncated},
		"other content":     {value, sum(ima.SHA256, "b"), ima.ErrBadSignature},
		"other key id":      {edit(6, 9), digest, ima.ErrUnknownKey},
		"other hash":        {edit(2, byte(ima.SHA512)), digest, ima.ErrDigestSize},
		"streebog":          {edit(2, byte(ima.Streebog256)), digest, ima.ErrUnsupportedHash},
		"unknown hash":      {edit(2, 200), digest, ima.ErrUnknownHash},
		"version 3":         {edit(1, 3), digest, ima.ErrUnsupportedVersion},
		"version 1":         {unhex(t, legacyHex+"abcd"), digest, ima.ErrUnsupportedVersion},
		"portable":          {edit(0, 5), digest, ima.ErrEVMValue},
		"HMAC":              {unhex(t, "02"+sha1Hex), digest, ima.ErrEVMValue},
		"verity":            {unhex(t, "06 03 04 01020304 0001 aa"), digest, ima.ErrVerity},
		"digest":            {ima.DigestValue(ima.SHA256, digest), digest, ima.ErrHashOnly},
		"digest of another": {ima.DigestValue(ima.SHA256, digest), sum(ima.SHA256, "b"), ima.ErrDigestMismatch},
		"digest, no digest": {ima.DigestValue(ima.SHA256, digest), nil, ima.ErrDigestSize},
		"legacy sha1":       {append([]byte{1}, sum(ima.SHA1, "a")...), sum(ima.SHA1, "a"), ima.ErrHashOnly},
		"legacy md5":        {append(append([]byte{1}, sum(ima.MD5, "a")...), 0, 0, 0, 0), sum(ima.MD5, "a"), ima.ErrHashOnly},
		"not DER":           {unhex(t, "03 02 04 01020304 0002 3003"), digest, ima.ErrBadSignature},
	} {
		t.Run(name, func(t *testing.T) { refused(t, verify(ring, tc.value, tc.digest), tc.want) })
	}
	refused(t, verify(ima.NewKeyring(), value, digest), ima.ErrUnknownKey)
}

// TestBadECDSAIsAmbiguous checks that the error says what ECDSA cannot tell.
func TestBadECDSAIsAmbiguous(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	pub := certificateKey(t, key, 1, 2, 3, 4)
	err := verify(ima.NewKeyring(pub), sign(t, key, pub, "a"), sum(ima.SHA256, "b"))
	if err == nil || !strings.Contains(err.Error(), "cannot tell") {
		t.Errorf("got %v", err)
	}
}

func TestKeysSharingAnID(t *testing.T) {
	first, second, third := ecdsaKey(t, elliptic.P256()), rsaKey(), ecdsaKey(t, elliptic.P521())
	pubs := []*ima.PublicKey{
		certificateKey(t, first, 1, 2, 3, 4), certificateKey(t, second, 9, 1, 2, 3, 4), certificateKey(t, third, 1, 2, 3, 4),
	}
	ring := ima.NewKeyring(pubs...)
	for i, key := range []crypto.Signer{first, second, third} {
		check(t, verify(ring, sign(t, key, pubs[i], "a"), sum(ima.SHA256, "a")))
	}
	// Only the RSA key can tell that the content differs.
	refused(t, verify(ring, sign(t, second, pubs[1], "a"), sum(ima.SHA256, "b")), ima.ErrDigestMismatch)
}

// TestECDSAHasATwin documents that anybody can make (r, n-s) from an ECDSA signature
// (r, s), and that it is valid too. This is no risk, because it is over the same content.
// But the bytes of a value do not identify one act of signing.
func TestECDSAHasATwin(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	pub := certificateKey(t, key, 1, 2, 3, 4)
	v, err := ima.Parse(sign(t, key, pub, "a"))
	check(t, err)
	v.Signature = twin(t, key.Curve, v.Signature)
	check(t, verify(ima.NewKeyring(pub), v.Append(nil), sum(ima.SHA256, "a")))
	refused(t, verify(ima.NewKeyring(pub), v.Append(nil), sum(ima.SHA256, "b")), ima.ErrBadSignature)
}

func twin(t testing.TB, curve elliptic.Curve, sig []byte) []byte {
	t.Helper()
	var rs struct{ R, S *big.Int }
	_, err := asn1.Unmarshal(sig, &rs)
	check(t, err)
	rs.S.Sub(curve.Params().N, rs.S)
	der, err := asn1.Marshal(rs)
	check(t, err)
	return der
}

func TestReason(t *testing.T) {
	if got := ima.Reason(nil); got != "" {
		t.Errorf("nil gives %q", got)
	}
	if got := ima.Reason(context.Canceled); got != "" {
		t.Errorf("a foreign error gives %q", got)
	}
	if got := ima.Reason(ima.ErrUnknownKey); got != "unknown key" {
		t.Errorf("got %q", got)
	}
}
