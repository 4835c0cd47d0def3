package kernel

import (
	"bytes"
	"crypto"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/internal/fsverity"
	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/file"
	"github.com/imasign/imasign-build/tests/harness"
)

// signer makes values with a key for any purpose, also values that the program refuses to
// make.
type signer struct {
	t     *testing.T
	name  string // the algorithm
	set   keySet
	key   *keystore.Key
	rogue *signer // the same with a key of another CA, which a device does not trust
}

// signersOf are the key sets of chains, by directories of kernels and names.
var signersOf = map[string]map[string]keySet{}

// newSigners returns the signers of chains, whose CAs are compiled into the kernel.
func newSigners(t *testing.T, k kernel, chains []chain) []signer {
	t.Helper()
	if signersOf[k.dir] == nil {
		signersOf[k.dir] = map[string]keySet{}
		for _, c := range chains {
			ca := filepath.Join(k.dir, c.ca, "system_trusted_key")
			for name, flags := range map[string][]string{c.key: {"--ca-key", ca + ".key", "--ca", ca + ".crt"}, "rogue-" + c.key: nil} {
				dir := filepath.Join(scratch, "signers-"+k.release, name)
				harness.Must(t, harness.Program(t), append(append([]string{"key", "init", "--algorithm", c.key, "--subject", "/CN=" + name}, flags...), dir)...)
				signersOf[k.dir][name] = keySet(dir)
			}
		}
	}
	var list []signer
	for _, c := range chains {
		s, rogue := newSigner(t, signersOf[k.dir][c.key]), newSigner(t, signersOf[k.dir]["rogue-"+c.key])
		s.name, s.rogue = c.key, &rogue
		list = append(list, s)
	}
	return list
}

func newSigner(t *testing.T, set keySet) signer {
	t.Helper()
	der, err := os.ReadFile(set.file("der"))
	check(t, err)
	cert, err := keystore.ParseCertificate(der)
	check(t, err)
	key, err := file.New().Open(t.Context(), set.file("key"), keystore.Options{Certificate: cert})
	check(t, err)
	return signer{t: t, set: set, key: key}
}

// pure reports whether the key signs messages, not digests of them.
func (s signer) pure() bool {
	_, pure := s.key.Public.Public().(ima.MessageKey)
	return pure
}

// sign returns a value of form f over a digest.
func (s signer) sign(f ima.Form, h ima.HashID, digest []byte) []byte {
	s.t.Helper()
	public, err := s.key.Public.For(ima.ForAny)
	check(s.t, err)
	values, err := ima.Sign(s.t.Context(), s.key, public, f, h, [][]byte{digest})
	check(s.t, err)
	return values[0]
}

// v3 returns a version 3 value over a content.
func (s signer) v3(h ima.HashID, content []byte) []byte {
	s.t.Helper()
	return s.sign(ima.ContentSignature().V3(), h, sum(h, content))
}

// v2 returns a version 2 value over a content. With an ML-DSA key, it is one that no kernel
// accepts: a signature of the digest.
func (s signer) v2(content []byte) []byte {
	s.t.Helper()
	if s.pure() {
		return s.raw(sum(ima.SHA256, content))
	}
	return s.sign(ima.ContentSignature(), ima.SHA256, sum(ima.SHA256, content))
}

// raw returns a version 2 value with an ML-DSA signature of a message.
func (s signer) raw(message []byte) []byte {
	s.t.Helper()
	text, err := os.ReadFile(s.set.file("key"))
	check(s.t, err)
	block, _ := pem.Decode(text)
	key, err := mldsa.ParsePKCS8(block.Bytes)
	check(s.t, err)
	signatures, err := key.SignRaw(s.t.Context(), 0, [][]byte{message})
	check(s.t, err)
	v := ima.Value{Type: ima.TypeSignature, Version: 2, Hash: ima.SHA256, KeyID: s.key.Public.ID(), Signature: signatures[0]}
	return v.Append(nil)
}

// edit changes a value.
func (s signer) edit(value []byte, change func(v *ima.Value)) []byte {
	s.t.Helper()
	v, err := ima.Parse(value)
	check(s.t, err)
	v.Signature = bytes.Clone(v.Signature)
	change(&v)
	return v.Append(nil)
}

// sum returns the digest of a content.
func sum(h ima.HashID, content []byte) []byte {
	std, _ := h.CryptoHash()
	state := std.New()
	state.Write(content)
	return state.Sum(nil)
}

// fileID returns what a version 3 signature is over.
func fileID(t ima.Type, h ima.HashID, digest []byte) []byte {
	return append([]byte{byte(t), byte(h)}, digest...)
}

// verityDigest returns the fs-verity digest that a file has on the device.
func verityDigest(t *testing.T, h crypto.Hash, content []byte) []byte {
	t.Helper()
	digest, err := fsverity.New(fsverity.Parameters{Hash: h, BlockSize: fsverity.DefaultBlockSize})
	check(t, err)
	_, err = digest.Write(content)
	check(t, err)
	return digest.Sum(nil)
}
