package service

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/keystore"
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
	out := t.TempDir()
	s.tree(out)
	s.packages(out)
	s.archive(out)
	s.image(out)
	manifests, err := filepath.Glob(filepath.Join(out, "*.manifest"))
	check(t, err)
	s.audited(manifests...)
	s.stop()
	s.start() // the log has them after a restart, too
	s.audited(manifests...)
	var receipts []keystore.Receipt
	for _, name := range []string{"tree", "package", "archive", "image"} {
		receipts = append(receipts, readReceipts(t, filepath.Join(out, name+".receipts"))...)
	}
	s.proved(receipts)
	s.stop()
	harness.Must(t, s.program, "serve", "check", s.path("serve.yaml"))
}

// evidence returns the flags for a manifest and receipts, which get the name.
func evidence(dir, name string) []string {
	return []string{"--manifest", filepath.Join(dir, name+".manifest"), "--receipts", filepath.Join(dir, name+".receipts")}
}

// readReceipts reads the file of --receipts.
func readReceipts(t testing.TB, path string) (list []keystore.Receipt) {
	t.Helper()
	for line := range strings.Lines(read(t, path)) {
		var r struct {
			Server, Proof string
			Record        []byte
		}
		check(t, json.Unmarshal([]byte(line), &r))
		list = append(list, keystore.Receipt{Server: r.Server, Record: r.Record, Proof: r.Proof})
	}
	if len(list) == 0 {
		t.Errorf("%s has no receipts", path)
	}
	return list
}

func (s *service) tree(out string) {
	s.Helper()
	dir := imagetree.Tiny(s)
	evidence := evidence(out, "tree")
	s.signed(s.build(), "rootfs sign", append(evidence, "--force", dir)...)
	s.accepted(dir)
	harness.Must(s, s.program, "rootfs", "verify", "--cert", s.certificate(), "--manifest", evidence[1], "--require", "all", dir)
}

func (s *service) packages(out string) {
	s.Helper()
	in, to, root := s.TempDir(), s.TempDir(), s.TempDir()
	for _, name := range []string{"zstd", "openpgp-rsa"} {
		path := filepath.Join(to, filepath.Base(packages.Copy(s, name, in)))
		s.signed(s.build(), "rpm sign", append(evidence(out, "package"), "--output-dir", to, filepath.Join(in, filepath.Base(path)))...)
		if len(packages.InstallIMA(s, root, path, s.certificate())) == 0 {
			s.Error(name)
		}
	}
}

func (s *service) archive(out string) {
	s.Helper()
	dir, to := files(s, 20), s.TempDir()
	before, after, root := filepath.Join(to, "in.tar"), filepath.Join(to, "out.tar"), filepath.Join(to, "root")
	harness.Must(s, "tar", "-C", dir, "-cf", before, ".")
	s.signed(s.build(), "tar sign", append(evidence(out, "archive"), before, "-o", after)...)
	check(s, os.Mkdir(root, 0o755))
	harness.Must(s, "tar", "--xattrs", "--xattrs-include=security.ima", "-C", root, "-xf", after)
	s.accepted(root)
}

func (s *service) image(out string) {
	s.Helper()
	dir, to := files(s, 20), s.TempDir()
	before, after := filepath.Join(to, "in.ext4"), filepath.Join(to, "out.ext4")
	harness.Must(s, "mke2fs", "-q", "-t", "ext4", "-d", dir, before, "16M")
	s.signed(s.build(), "image sign", append(evidence(out, "image"), before, "-o", after)...)
	harness.Must(s, "e2fsck", "-fn", after)
	s.accepted(imagetree.Mount(s, after))
}
