package repo_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/repo"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Sign a repository into a new one beside it.
func ExampleSign() {
	dir := makeRepository("../../../../pkg/rpmsign/testdata/rpmsign-ima/v4/sha256.rpm")
	defer os.RemoveAll(filepath.Dir(dir))

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	public, err := ima.BareKey(&key.PublicKey)
	check(err)
	engine, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(key), public), Public: public}, 0)}})
	check(err)
	_, err = repo.Sign(context.Background(), repo.Options{
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
	check(err)
	// Output: imatest-sha256-1.0-1.x86_64 4
}

func makeRepository(rpm string) string {
	top, err := os.MkdirTemp("", "example-*")
	check(err)
	dir := filepath.Join(top, "repo")
	check(os.Mkdir(dir, 0o755))
	b, err := os.ReadFile(rpm)
	check(err)
	check(os.WriteFile(filepath.Join(dir, filepath.Base(rpm)), b, 0o644))
	check(exec.Command("createrepo_c", "--quiet", dir).Run())
	return dir
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
