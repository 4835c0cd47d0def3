package service

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// TestServiceSigns signs a tree, packages, an archive and an image with a service that
// `serve init` made.
func TestServiceSigns(t *testing.T) {
	t.Parallel()
	harness.Root(t)
	s := started(t, harness.Keys(t, "p256"))
	s.tree()
	s.packages()
	s.archive()
	s.image()
	s.stop()
	harness.Must(t, s.program, "serve", "check", s.path("serve.yaml"))
}

func (s *service) tree() {
	s.Helper()
	dir, out := imagetree.Tiny(s), s.TempDir()
	manifest := filepath.Join(out, "manifest")
	s.signed(s.build(), "rootfs sign", "--force", "--manifest", manifest, dir)
	s.accepted(dir)
	harness.Must(s, s.program, "rootfs", "verify", "--cert", s.certificate(), "--manifest", manifest, "--require", "all", dir)
}

func (s *service) packages() {
	s.Helper()
	in, out, root := s.TempDir(), s.TempDir(), s.TempDir()
	for _, name := range []string{"zstd", "openpgp-rsa"} {
		path := filepath.Join(out, filepath.Base(packages.Copy(s, name, in)))
		s.signed(s.build(), "rpm sign", "--output-dir", out, filepath.Join(in, filepath.Base(path)))
		if len(packages.InstallIMA(s, root, path, s.certificate())) == 0 {
			s.Error(name)
		}
	}
}

func (s *service) archive() {
	s.Helper()
	dir, out := files(s, 20), s.TempDir()
	before, after, root := filepath.Join(out, "in.tar"), filepath.Join(out, "out.tar"), filepath.Join(out, "root")
	harness.Must(s, "tar", "-C", dir, "-cf", before, ".")
	s.signed(s.build(), "tar sign", before, "-o", after)
	check(s, os.Mkdir(root, 0o755))
	harness.Must(s, "tar", "--xattrs", "--xattrs-include=security.ima", "-C", root, "-xf", after)
	s.accepted(root)
}

func (s *service) image() {
	s.Helper()
	dir, out := files(s, 20), s.TempDir()
	before, after := filepath.Join(out, "in.ext4"), filepath.Join(out, "out.ext4")
	harness.Must(s, "mke2fs", "-q", "-t", "ext4", "-d", dir, before, "16M")
	s.signed(s.build(), "image sign", before, "-o", after)
	harness.Must(s, "e2fsck", "-fn", after)
	s.accepted(imagetree.Mount(s, after))
}
