package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/quote"
)

// Files beside repomd.xml that tell who made it.
const (
	signaturePath = "repodata/repomd.xml.asc"
	keyPath       = "repodata/repomd.xml.key"
)

// createrepo has createrepo_c make dir's metadata anew. All additional metadata
// must be there again afterwards.
func (o *Options) createrepo(ctx context.Context, dir string, old *repomd) error {
	args := append(old.createrepoArguments(o.jobs()), dir)
	if err := o.execute(ctx, dir, o.createrepoProgram(), args...); err != nil {
		return err
	}
	for _, m := range old.Data {
		if !isDelta(m.Type) {
			continue
		}
		// createrepo_c keeps what it does not know.
		if err := o.execute(ctx, dir, "modifyrepo_c", "--remove", m.Type, filepath.Join(dir, "repodata")); err != nil {
			return err
		}
	}
	now, err := readRepomd(dir)
	if err != nil {
		return err
	}
	if lost := old.lost(now); len(lost) > 0 {
		return fmt.Errorf("make the metadata of %s: %s kept no %s metadata; a newer one may", dir, o.createrepoProgram(), strings.Join(lost, ", "))
	}
	return nil
}

// execute runs a program that works on the metadata of dir.
func (o *Options) execute(ctx context.Context, dir, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = o.Environment
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return quote.Below(fmt.Errorf("make the metadata of %s: %s: %w", dir, program, err), strings.Split(strings.TrimSpace(said.String()), "\n")...)
	}
	return nil
}

func (o *Options) createrepoProgram() string {
	if o.Createrepo == "" {
		return "createrepo_c"
	}
	return o.Createrepo
}

func (o *Options) findCreaterepo() error {
	if _, err := exec.LookPath(o.createrepoProgram()); err != nil {
		return fmt.Errorf("find createrepo_c: %w; it makes the metadata of repositories, and distributions have it as createrepo_c or createrepo-c", err)
	}
	return nil
}

// warnAboutMetadata tells what of the old metadata will not be there, or not be
// true, any more.
func (o *Options) warnAboutMetadata(dir string, old *repomd) error {
	if slices.ContainsFunc(old.Data, func(m metadata) bool { return isDelta(m.Type) }) {
		o.warn("delta packages lead to packages as they were: their metadata are left out")
	}
	_, err := os.Stat(filepath.Join(dir, signaturePath))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case o.Signing.Options.OpenPGP == nil:
		o.warn(signaturePath + " is of the old metadata and left out: --openpgp-key makes it anew; clients with repo_gpgcheck=1 refuse the repository without it")
	}
	return nil
}

// signRepomd makes repomd.xml.asc, and repomd.xml.key where there was one, with the
// OpenPGP key; without a key it removes them, as they belong to other metadata.
func (o *Options) signRepomd(old, dir string) error {
	key := o.Signing.Options.OpenPGP
	if key == nil {
		return errors.Join(remove(filepath.Join(dir, signaturePath)), remove(filepath.Join(dir, keyPath)))
	}
	text, err := os.ReadFile(repomdPath(dir))
	if err != nil {
		return err
	}
	signature, err := key.ArmoredSignature(bytes.NewReader(text))
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(dir, signaturePath), signature, 0o644); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(old, keyPath)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	public, err := key.ArmoredPublicKey()
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, keyPath), public, 0o644)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
