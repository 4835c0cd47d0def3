package rpmsign_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Sign the files of a package: open it, hold its digests, plan, attach.
func Example() {
	ctx := context.Background()
	path := copyOf("testdata/rpmsign-ima/v4/sha256.rpm")
	defer os.RemoveAll(filepath.Dir(path)) //nolint:errcheck // a temporary directory

	p, err := rpmsign.Open(path, rpmsign.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close() //nolint:errcheck // opened for reading
	if err := p.Check(ctx, rpmsign.CheckPayload); err != nil {
		log.Fatal(err)
	}
	plan, err := engine().Plan(ctx, p)
	if err != nil {
		log.Fatal(err)
	}
	defer plan.Close() //nolint:errcheck // its file has no name
	if err := p.Attach(ctx, plan); err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Name(), "signed", plan.Counts().Signed)
	// Output: imatest-sha256-1.0-1.x86_64 signed 4
}

// Work on many packages side by side; results come in the order of their paths.
func ExampleEach() {
	ctx := context.Background()
	path := copyOf("testdata/rpmsign-ima/v4/sha256.rpm")
	defer os.RemoveAll(filepath.Dir(path)) //nolint:errcheck // a temporary directory

	units, err := rpmsign.FindUnits([]string{filepath.Dir(path)}, "")
	if err != nil {
		log.Fatal(err)
	}
	e := engine()
	s := rpmsign.Signing{Plan: func(ctx context.Context, p *rpmsign.Package) (*signing.Plan, error) { return e.Plan(ctx, p) }}
	err = rpmsign.Each(ctx, 2, units, s.Run, func(r rpmsign.Result) error {
		fmt.Println(r.Name, "changed", r.Changed, "grows", r.Grows)
		return r.Err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: imatest-sha256-1.0-1.x86_64 changed true grows 0
}

// Name what is wrong with the file signatures that another tool left.
func ExamplePackage_Defects() {
	p, err := rpmsign.Open("testdata/rpmsign-ima/v4/defect-delsign-sign.rpm", rpmsign.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close() //nolint:errcheck // opened for reading
	for _, d := range p.Defects() {
		fmt.Println(d.Flaw)
	}
	// Output:
	// repeated-tag
	// signature-count
}

func engine() *signing.Engine {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	public, err := ima.BareKey(&key.PublicKey)
	if err != nil {
		log.Fatal(err)
	}
	e, err := signing.New(signing.Options{Signer: ima.CryptoSigner(key), Public: public})
	if err != nil {
		log.Fatal(err)
	}
	return e
}

func copyOf(name string) string {
	dir, err := os.MkdirTemp("", "example-*")
	if err != nil {
		log.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		log.Fatal(err)
	}
	path := filepath.Join(dir, filepath.Base(name))
	if err := os.WriteFile(path, b, 0o644); err != nil {
		log.Fatal(err)
	}
	return path
}
