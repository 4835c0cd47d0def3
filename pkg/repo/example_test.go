package repo_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/repo"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Sign a repository into a new one beside it.
func ExampleSign() {
	dir := makeRepository("../rpmsign/testdata/rpmsign-ima/v4/sha256.rpm")
	defer os.RemoveAll(filepath.Dir(dir)) //nolint:errcheck // a temporary directory

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	public, err := ima.BareKey(&key.PublicKey)
	if err != nil {
		log.Fatal(err)
	}
	engine, err := signing.New(signing.Options{Signer: ima.CryptoSigner(key), Public: public})
	if err != nil {
		log.Fatal(err)
	}
	err = repo.Sign(context.Background(), repo.Options{
		Dir:    dir,
		Output: dir + ".signed",
		Signing: &rpmsign.Signing{
			Options: rpmsign.Options{Share: true},
			Plan:    func(ctx context.Context, p *rpmsign.Package) (*signing.Plan, error) { return engine.Plan(ctx, p) },
		},
	}, func(r rpmsign.Result) error {
		fmt.Println(r.Name, r.Counts.Signed)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: imatest-sha256-1.0-1.x86_64 4
}

func makeRepository(rpm string) string {
	top, err := os.MkdirTemp("", "example-*")
	if err != nil {
		log.Fatal(err)
	}
	dir := filepath.Join(top, "repo")
	if err := os.Mkdir(dir, 0o755); err != nil {
		log.Fatal(err)
	}
	b, err := os.ReadFile(rpm)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, filepath.Base(rpm)), b, 0o644); err != nil {
		log.Fatal(err)
	}
	if out, err := exec.Command("createrepo_c", "--quiet", dir).CombinedOutput(); err != nil {
		log.Fatalf("createrepo_c: %v\n%s", err, out)
	}
	return dir
}
