package rpmsign_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Sign the files of a package: open it, check its digests, plan, prepare, commit.
func Example() {
	ctx := context.Background()
	path := copyOf("testdata/rpmsign-ima/v4/sha256.rpm")
	defer os.RemoveAll(filepath.Dir(path))

	p, err := rpmsign.Open(path, rpmsign.Options{})
	check(err)
	defer p.Close()
	check(p.Check(ctx, rpmsign.CheckPayload))
	plan, err := engine().Plan(ctx, p)
	check(err)
	defer plan.Close()
	change, err := p.Prepare(ctx, plan)
	check(err)
	check(change.Commit(ctx))
	fmt.Println(p.Name(), "signed", plan.Counts().Signed, "grows", change.Grows)
	// Output: imatest-sha256-1.0-1.x86_64 signed 4 grows 0
}

// Name the flaws in file signatures that another tool wrote.
func ExamplePackage_Defects() {
	p, err := rpmsign.Open("testdata/rpmsign-ima/v4/defect-delsign-sign.rpm", rpmsign.Options{})
	check(err)
	defer p.Close()
	for _, d := range p.Defects() {
		fmt.Println(d.Flaw)
	}
	// Output:
	// repeated-tag
	// signature-count
}

func engine() *signing.Engine {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	public, err := ima.BareKey(&key.PublicKey)
	check(err)
	e, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(key), public), Public: public}, 0)}})
	check(err)
	return e
}

func copyOf(name string) string {
	dir, err := os.MkdirTemp("", "example-*")
	check(err)
	b, err := os.ReadFile(name)
	check(err)
	path := filepath.Join(dir, filepath.Base(name))
	check(os.WriteFile(path, b, 0o644))
	return path
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
