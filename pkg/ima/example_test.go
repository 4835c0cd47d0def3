package ima_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Sign a file's digest, then check the value as a verifier would.
func Example() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	// If there is a certificate, use CertificateKey: the kernel finds the key by the
	// certificate's subject key identifier.
	pub, err := ima.BareKey(key.Public())
	if err != nil {
		panic(err)
	}

	digest := sha256.Sum256([]byte("#!/bin/sh\necho hello\n"))
	signer, form := ima.FromRaw(ima.CryptoSigner(key), pub), ima.ContentSignature()
	values, err := ima.Sign(context.Background(), signer, pub, form, ima.SHA256, [][]byte{digest[:]})
	if err != nil {
		panic(err)
	}
	// values[0] belongs in the extended attribute form.Xattr.

	trusted := ima.NewKeyring(pub)
	genuine := ima.Statement{Form: form, Hash: ima.SHA256, Digest: digest[:]}
	by, err := trusted.Verify(values[0], genuine)
	fmt.Println("genuine:", by == pub, err)

	other := sha256.Sum256([]byte("#!/bin/sh\necho evil\n"))
	changed := ima.Statement{Form: form, Hash: ima.SHA256, Digest: other[:]}
	_, err = trusted.Verify(values[0], changed)
	fmt.Println("changed:", ima.Reason(err), errors.Is(err, ima.ErrBadSignature))

	_, err = ima.NewKeyring().Verify(values[0], genuine)
	fmt.Println("stranger:", ima.Reason(err))
	// Output:
	// genuine: true <nil>
	// changed: bad signature true
	// stranger: unknown key
}

// Read a value without verifying it.
func ExampleParse() {
	value := append([]byte{0x03, 0x02, 0x04, 0x1a, 0x2b, 0x3c, 0x4d, 0x01, 0x00}, make([]byte, 256)...)
	v, err := ima.Parse(value)
	if err != nil {
		panic(err)
	}
	fmt.Println(v)
	fmt.Println(v.Hash, v.KeyID, v.IsSignature())
	// Output:
	// signature v2, sha256, key 1a2b3c4d, 256 bytes
	// sha256 1a2b3c4d true
}

// Print what the value of an attribute is over, without verifying it.
func ExampleValue_Form() {
	value := append([]byte{0x06, 0x03, 0x04, 0x1a, 0x2b, 0x3c, 0x4d, 0x01, 0x00}, make([]byte, 256)...)
	v, err := ima.Parse(value)
	if err != nil {
		panic(err)
	}
	switch form := v.Form(ima.XattrIMA); form.Over {
	case ima.Content:
		fmt.Println("of the content, version", form.Version)
	case ima.Verity:
		fmt.Println("of the fs-verity digest, version", form.Version)
	case ima.Metadata:
		fmt.Println("of owner, mode and attributes, version", form.Version)
	}
	// Output: of the fs-verity digest, version 3
}

// A digest without a signature detects accidents, not attackers.
func ExampleDigestValue() {
	digest := sha256.Sum256(nil)
	value := ima.DigestValue(ima.SHA256, digest[:])
	_, err := ima.NewKeyring().Verify(value, ima.Statement{Form: ima.ContentSignature(), Hash: ima.SHA256, Digest: digest[:]})
	fmt.Println(ima.Reason(err))
	// Output: hash only
}

// Compute the digest of a file's owner and mode for any 64-bit little-endian machine.
func ExampleEVMDigest() {
	content := sha256.Sum256(nil)
	digest, err := ima.EVMDigest(ima.SHA256,
		ima.EVMMetadata{Portable: true, UID: 0, GID: 0, Mode: 0o100755},
		map[string][]byte{ima.XattrIMA: ima.DigestValue(ima.SHA256, content[:])})
	if err != nil {
		panic(err)
	}
	fmt.Println(len(digest), "bytes to sign with the form", ima.PortableSignature().Type)
	// Output: 32 bytes to sign with the form evm-portable
}
