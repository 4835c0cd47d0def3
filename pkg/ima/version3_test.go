package ima_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"os"
	"testing"

	"github.com/imasign/imasign-build/internal/fsverity"
	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/pkg/ima"
)

// opensslVector is a value of testdata/openssl-v3.json. OpenSSL 3.5 made the signatures over
// what FileID and FileIDHash are, and Linux 7.3.4 accepted the values.
type opensslVector struct {
	Algorithm, Hash, Content, Digest, Signature string
	FileID                                      string         `json:"file_id"`
	FileIDHash                                  string         `json:"file_id_hash"` // not of ML-DSA, which signs FileID
	Header                                      string         `json:"xattr_header"`
	Type                                        ima.Type       `json:"xattr_type"`
	Deterministic                               bool           // RSA and ML-DSA
	EVM                                         map[string]any // what Digest is over, in security.evm
}

func (v opensslVector) form() ima.Form {
	switch v.Type {
	case ima.TypeEVMPortable:
		return ima.PortableSignature().V3()
	case ima.TypeVerity:
		return ima.VeritySignature()
	}
	return ima.ContentSignature().V3()
}

// opensslKey is a key of testdata/openssl-v3.json.
type opensslKey struct {
	PKCS8 string `json:"pkcs8_der"`
	Cert  string `json:"cert_der"`
	ID    string `json:"key_id"`
}

// open returns the public key for any signature, and the private key.
func (k opensslKey) open(t *testing.T, algorithm string) (*ima.PublicKey, ima.RawSigner) {
	t.Helper()
	cert, err := mldsa.ParseCertificate(unhex(t, k.Cert))
	check(t, err)
	public, err := ima.CertificateKey(cert)
	check(t, err)
	if public.Algorithm() != algorithm || public.ID().String() != k.ID {
		t.Fatalf("%s key %s, not %s key %s", public.Algorithm(), public.ID(), algorithm, k.ID)
	}
	public, err = public.For(ima.ForAny)
	check(t, err)
	if _, is := public.Public().(ima.MessageKey); is {
		private, err := mldsa.ParsePKCS8(unhex(t, k.PKCS8))
		check(t, err)
		return public, private
	}
	private, err := x509.ParsePKCS8PrivateKey(unhex(t, k.PKCS8))
	check(t, err)
	return public, ima.CryptoSigner(private.(crypto.Signer))
}

func loadVersion3(t *testing.T) (keys map[string]opensslKey, vectors []opensslVector) {
	t.Helper()
	text, err := os.ReadFile("testdata/openssl-v3.json")
	check(t, err)
	var f struct {
		Keys    map[string]opensslKey
		Vectors []opensslVector
	}
	check(t, json.Unmarshal(text, &f))
	if len(f.Vectors) != 48 || len(f.Keys) != 6 {
		t.Fatalf("%d vectors by %d keys", len(f.Vectors), len(f.Keys))
	}
	return f.Keys, f.Vectors
}

// TestVersion3Vectors verifies the values, and makes those again that are deterministic.
func TestVersion3Vectors(t *testing.T) {
	keys, vectors := loadVersion3(t)
	for _, v := range vectors {
		public, private := keys[v.Algorithm].open(t, v.Algorithm)
		h, err := ima.ParseHash(v.Hash)
		check(t, err)
		name, digest := v.Algorithm+" "+v.Type.String()+" "+v.Hash, unhex(t, v.Digest)
		if got := v.digest(t, h); !bytes.Equal(got, digest) {
			t.Errorf("%s: digest %x, not %x", name, got, digest)
		}
		value := append(unhex(t, v.Header), unhex(t, v.Signature)...)
		parsed, err := ima.Parse(value)
		if err != nil || parsed.Form(v.form().Xattr) != v.form() || parsed.Hash != h || parsed.KeyID != public.ID() {
			t.Errorf("%s: parsed as %v, %v", name, parsed, err)
		}
		statement := ima.Statement{Form: v.form(), Hash: h, Digest: digest}
		if _, err := ima.NewKeyring(public).Verify(value, statement); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		made, err := ima.Sign(context.Background(), ima.FromRaw(private, public), public, v.form(), h, [][]byte{digest})
		check(t, err)
		if v.Deterministic != bytes.Equal(made[0], value) {
			t.Errorf("%s: deterministic %v, but the same bytes: %v", name, v.Deterministic, !v.Deterministic)
		}
		digest[0] ^= 1
		if _, err := ima.NewKeyring(public).Verify(value, statement); err == nil {
			t.Errorf("%s: another digest was accepted", name)
		}
	}
}

// digest computes what the vector's signature states.
func (v opensslVector) digest(t *testing.T, h ima.HashID) []byte {
	t.Helper()
	content := string(unhex(t, v.Content))
	switch v.Type {
	case ima.TypeEVMPortable:
		number := func(name string) uint32 { return uint32(v.EVM[name].(float64)) }
		xattrs := map[string][]byte{ima.XattrIMA: unhex(t, v.EVM[ima.XattrIMA].(string))}
		digest, err := ima.EVMDigest(h, ima.EVMMetadata{Portable: true, UID: number("uid"), GID: number("gid"), Mode: uint16(number("mode"))}, xattrs)
		check(t, err)
		return digest
	case ima.TypeVerity:
		std, _ := h.CryptoHash()
		d, err := fsverity.New(fsverity.Parameters{Hash: std, BlockSize: 4096})
		check(t, err)
		_, err = d.Write([]byte(content))
		check(t, err)
		return d.Sum(nil)
	}
	return sum(h, content)
}

// TestConfusions shows with the same values why a key has one purpose. To a kernel that
// trusts a key for everything, a version 3 signature by RSA or ECDSA is also a version 2
// signature of a content, the file_id, in security.ima, and of a metadata of that digest in
// security.evm. ML-DSA signs no digests, and version 3 covers its type.
func TestConfusions(t *testing.T) {
	keys, vectors := loadVersion3(t)
	for _, v := range vectors {
		public, _ := keys[v.Algorithm].open(t, v.Algorithm)
		h, err := ima.ParseHash(v.Hash)
		check(t, err)
		name, id := v.Algorithm+" "+v.Type.String()+" "+v.Hash, unhex(t, v.FileID)
		_, pure := public.Public().(ima.MessageKey)
		hashed := sum(h, string(id))
		if !ima.MayBeFileID(id) || !pure && !bytes.Equal(hashed, unhex(t, v.FileIDHash)) {
			t.Errorf("%s: the content %x is not recognised", name, id)
		}
		value := append(unhex(t, v.Header), unhex(t, v.Signature)...)
		for _, f := range []ima.Form{ima.ContentSignature(), ima.PortableSignature()} {
			value[0], value[1] = byte(f.Type), 2
			statement := ima.Statement{Form: f, Hash: h, Digest: hashed}
			if _, err := ima.NewKeyring(public).Verify(value, statement); (err == nil) == pure {
				t.Errorf("%s as version 2 in %s: %v", name, f.Xattr, err)
			}
			only, err := public.For(ima.ForV3)
			check(t, err)
			_, err = ima.NewKeyring(only).Verify(value, statement)
			refused(t, err, ima.ErrPurpose)
		}
		for _, f := range []ima.Form{ima.ContentSignature().V3(), ima.PortableSignature().V3(), ima.VeritySignature()} {
			value[0], value[1] = byte(f.Type), 3
			_, err := ima.NewKeyring(public).Verify(value, ima.Statement{Form: f, Hash: h, Digest: unhex(t, v.Digest)})
			switch {
			case f.Type == v.Type:
				check(t, err)
			case f.Type == ima.TypeVerity && h == ima.SHA384:
				refused(t, err, ima.ErrUnsupportedHash)
			case v.Algorithm == "rsa2048":
				refused(t, err, ima.ErrDigestMismatch)
			default:
				refused(t, err, ima.ErrBadSignature)
			}
		}
	}
}
