package rootfs_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pkg/xattr"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/rootfs"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Sign a tree: plan first, then attach. This needs root.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "rootfs-*")
	must(err)
	defer os.RemoveAll(dir)
	must(os.WriteFile(filepath.Join(dir, "init"), []byte("#!/bin/sh\n"), 0o755))
	must(os.Symlink("init", filepath.Join(dir, "linuxrc")))

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	public, err := ima.BareKey(key.Public())
	must(err)
	engine, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(key), public), Public: public}, 0)}})
	must(err)

	tree, err := rootfs.Open(dir, rootfs.Options{})
	must(err)
	defer tree.Close()
	must(tree.Probe(ctx)) // before any work
	plan, err := engine.Plan(ctx, tree)
	must(err)
	defer plan.Close()
	for record, err := range plan.Records() {
		must(err)
		fmt.Printf("%s %s %q\n", record.Path, record.Status(), record.Reason)
	}
	change, err := tree.Prepare(ctx, plan)
	must(err)
	must(change.Commit(ctx))

	raw, err := xattr.LGet(filepath.Join(dir, "init"), ima.XattrIMA)
	must(err)
	value, err := ima.Parse(raw)
	must(err)
	fmt.Println(value.IsSignature(), value.KeyID == public.ID())
	// Output:
	// init signed ""
	// linuxrc skipped "symlink"
	// true true
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
