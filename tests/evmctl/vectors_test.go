package evmctl

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

const content = "imasign-build test vector\n"

func TestSignatures(t *testing.T) {
	stranger := newKey(t, "p256", "hash")
	for name := range allKeys() {
		t.Run(name, func(t *testing.T) {
			key := newKey(t, name, "hash")
			for _, hash := range []ima.HashID{ima.SHA1, ima.SHA224, ima.SHA256, ima.SHA384, ima.SHA512} {
				t.Run(hash.String(), func(t *testing.T) {
					theirs := theirsVerifiesHere(t, key, stranger, hash)
					oursVerifiesThere(t, key, stranger, hash, theirs)
				})
			}
		})
	}
}

// theirsVerifiesHere signs with evmctl, verifies with our code, and returns the value.
func theirsVerifiesHere(t *testing.T, key, stranger *testKey, hash ima.HashID) []byte {
	file := newFile(t)
	evmctl(t, "ima_sign", "--sigfile", "--key", key.priv, "-a", hash.String(), file)
	value := getxattr(t, file, ima.XattrIMA)
	if !bytes.Equal(value, read(t, file+".sig")) {
		t.Error("attribute and .sig file differ")
	}
	v, err := ima.Parse(value)
	check(t, err)
	if v.Type != ima.TypeSignature || v.Version != 2 || v.Hash != hash || v.KeyID != key.bare.ID() {
		t.Errorf("parsed as %v, want %s by %s", v, hash, key.bare.ID())
	}
	if got := v.Append(nil); !bytes.Equal(got, value) {
		t.Errorf("Append gives %x, want %x", got, value)
	}

	ring, digest := ima.NewKeyring(stranger.cert, key.cert), sum(hash, content)
	check(t, verify(ring, value, digest))
	want := ima.ErrBadSignature
	if key.isRSA() {
		want = ima.ErrDigestMismatch
	}
	wantRefusal(t, verify(ring, value, sum(hash, content+"x")), want)
	wantRefusal(t, verify(ring, flipLast(value), digest), ima.ErrBadSignature)
	wantRefusal(t, verify(ima.NewKeyring(stranger.cert), value, digest), ima.ErrUnknownKey)
	return value
}

func oursVerifiesThere(t *testing.T, key, stranger *testKey, hash ima.HashID, theirs []byte) {
	file := newFile(t)
	values, err := ima.Sign(context.Background(), key.signer, key.cert, ima.ContentSignature(), hash, [][]byte{sum(hash, content)})
	if hash == ima.SHA1 {
		wantRefusal(t, err, ima.ErrSHA1)
		return
	}
	check(t, err)
	value := values[0]
	if key.isRSA() && !bytes.Equal(value, theirs) {
		t.Errorf("RSA signatures differ:\nours   %x\nevmctl %x", value, theirs)
	}

	setxattr(t, file, ima.XattrIMA, value)
	evmctl(t, "ima_verify", "--key", key.der, file)
	evmctlRefuses(t, "ima_verify", "--key", stranger.der, file)
	setxattr(t, file, ima.XattrIMA, flipLast(value))
	evmctlRefuses(t, "ima_verify", "--key", key.der, file)
	setxattr(t, file, ima.XattrIMA, value)
	check(t, os.WriteFile(file, []byte(content+"x"), 0o644))
	evmctlRefuses(t, "ima_verify", "--key", key.der, file)
}

func TestKeyIDs(t *testing.T) {
	for name := range allKeys() {
		t.Run(name, func(t *testing.T) {
			// No rule computes this identifier, so it shows which one is used.
			key := newKey(t, name, "0011223344556677DEADBEEF")
			if got := key.cert.ID().String(); got != "deadbeef" {
				t.Errorf("id of the certificate is %s", got)
			}
			file := newFile(t)
			evmctl(t, "ima_sign", "--key", key.priv, file)
			if v := parsexattr(t, file, ima.XattrIMA); v.KeyID != key.bare.ID() {
				t.Errorf("evmctl signed as %s, bare key id is %s", v.KeyID, key.bare.ID())
			}
			evmctl(t, "ima_sign", "--key", key.priv, "--keyid-from-cert", key.pem, file)
			value := getxattr(t, file, ima.XattrIMA)
			if v := parsexattr(t, file, ima.XattrIMA); v.KeyID != key.cert.ID() {
				t.Errorf("evmctl signed as %s, certificate id is %s", v.KeyID, key.cert.ID())
			}
			check(t, verify(ima.NewKeyring(key.cert), value, sum(ima.SHA256, content)))
			wantRefusal(t, verify(ima.NewKeyring(key.bare), value, sum(ima.SHA256, content)), ima.ErrUnknownKey)
		})
	}
}

func TestHashes(t *testing.T) {
	for _, name := range []string{"md5", "sha1", "sha224", "sha256", "sha384", "sha512"} {
		t.Run(name, func(t *testing.T) {
			hash, err := ima.ParseHash(name)
			check(t, err)
			file := newFile(t)
			evmctl(t, "ima_hash", "-a", name, file)
			value, digest := getxattr(t, file, ima.XattrIMA), sum(hash, content)
			v, err := ima.Parse(value)
			check(t, err)
			if v.Hash != hash || !bytes.Equal(v.Digest, digest) || v.IsSignature() {
				t.Errorf("parsed as %v", v)
			}
			if v.Type == ima.TypeDigestNG && !bytes.Equal(ima.DigestValue(hash, digest), value) {
				t.Errorf("DigestValue differs from evmctl's %x", value)
			}
			wantRefusal(t, verify(ima.NewKeyring(), value, digest), ima.ErrHashOnly)
			wantRefusal(t, verify(ima.NewKeyring(), value, sum(hash, "other")), ima.ErrDigestMismatch)
		})
	}
}

// TestStreebog only checks the names. OpenSSL needs a separate engine for Streebog, so
// that evmctl cannot always make such values.
func TestStreebog(t *testing.T) {
	help := evmctl(t, "--help")
	for _, name := range []string{"streebog256", "streebog512"} {
		if _, err := ima.ParseHash(name); err != nil || !strings.Contains(help, name) {
			t.Errorf("evmctl, or this program, does not list %s: %v", name, err)
		}
	}
}
