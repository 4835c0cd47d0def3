package repo_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/repo"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/rpmfiles"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
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
	op := operate.Operation{Plan: func(ctx context.Context, _ string, src signing.Source) (*signing.Plan, error) {
		return engine.Plan(ctx, src)
	}}
	sign := func(ctx context.Context, units []rpmfiles.Unit, note func(repo.Outcome) bool, finish func(context.Context) error) error {
		op.Finish = func(ctx context.Context, _ operate.Totals) error { return finish(ctx) }
		_, err := operate.Each(ctx, 0, operate.Of(packages(units)), false, &op, func(o *operate.Outcome) error {
			note(repo.Outcome{Path: o.Unit.Path, Changed: o.Change.Any, Err: o.Err})
			fmt.Println(o.Name, o.Plan.Counts().Signed)
			return o.Err
		})
		return err
	}
	_, err = repo.Sign(context.Background(), repo.Options{Dir: dir, Output: dir + ".signed", Packages: sign})
	check(err)
	// Output: imatest-sha256-1.0-1.x86_64 4
}

// packages opens the packages at units, one after the other.
func packages(units []rpmfiles.Unit) iter.Seq2[operate.Unit, error] {
	return func(yield func(operate.Unit, error) bool) {
		for _, u := range units {
			open := func(context.Context) (operate.Opened, error) {
				p, err := rpmsign.Open(u.Path, rpmsign.Options{Output: u.Output, Outside: u.Outside, Share: true})
				if err != nil {
					return operate.Opened{}, err
				}
				return operate.Opened{Container: p, Name: p.Name()}, nil
			}
			if !yield(operate.Unit{Path: u.Path, Kind: manifest.Package, Open: open}, nil) {
				return
			}
		}
	}
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
