package tarball_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tarball"
)

// Sign an archive from a stream.
func Example() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	public, err := ima.BareKey(key.Public())
	must(err)
	engine, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(key), public), Public: public}, 0)}})
	must(err)

	ctx := context.Background()
	archive, err := tarball.Open(ctx, archiveOf("usr/bin/hello", "#!/bin/sh\necho hello\n"), "hello.tar", tarball.Options{})
	must(err)
	defer archive.Close()
	plan, err := engine.Plan(ctx, archive)
	must(err)
	defer plan.Close()
	var signed bytes.Buffer
	must(archive.Rewrite(ctx, plan, &signed))

	header, err := tar.NewReader(&signed).Next()
	must(err)
	value, err := ima.Parse([]byte(header.PAXRecords["SCHILY.xattr.security.ima"]))
	must(err)
	fmt.Println(header.Name, value.Hash, value.IsSignature(), value.KeyID == public.ID())
	// Output: usr/bin/hello sha256 true true
}

func archiveOf(name, content string) *bytes.Buffer {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	must(w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}))
	_, err := w.Write([]byte(content))
	must(err)
	must(w.Close())
	return &out
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
