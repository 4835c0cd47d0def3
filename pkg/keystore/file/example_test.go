package file_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/file"
)

// Open a key file through the keystore and sign a digest with it.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "x509_ima.key")
	private, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, _ := x509.MarshalECPrivateKey(private)
	if err := os.WriteFile(path, der, 0o644); err != nil {
		panic(err)
	}

	ctx := context.Background()
	key, err := keystore.Backends{file.New()}.Open(ctx, "file:"+path, keystore.Options{
		Warn: func(string) { fmt.Println("warning: others may read it") },
	})
	if err != nil {
		panic(err)
	}
	defer key.Close()

	digest := sha256.Sum256([]byte("content"))
	signatures, err := key.Sign(ctx, ima.ContentSignature(), ima.SHA256, [][]byte{digest[:]})
	if err != nil {
		panic(err)
	}
	fmt.Println(key.Public.Algorithm())
	fmt.Println(key.Public.Verify(ima.Statement{Form: ima.ContentSignature(), Hash: ima.SHA256, Digest: digest[:]}, signatures[0]))
	// Output:
	// warning: others may read it
	// p256
	// <nil>
}
