package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pkg/xattr"
)

// goldenInputs fills dir with the inputs of goldenSteps: keys, a tree, an image layout, a
// docker-archive and packages. Every byte is the same each time.
func goldenInputs(t *testing.T, dir string) {
	must(t, os.RemoveAll(dir))
	must(t, os.MkdirAll(filepath.Join(dir, "out"), 0o755))
	frozen, err := filepath.Abs("../../pkg/rpmsign/testdata/rpmsign-ima")
	must(t, err)
	for _, name := range []string{"rsa2048.key", "rsa2048.crt", "p256.key", "p256.crt"} {
		content, err := os.ReadFile(filepath.Join(frozen, "keys", name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	must(t, os.CopyFS(filepath.Join(dir, "packages/v4"), os.DirFS(filepath.Join(frozen, "v4"))))
	must(t, os.CopyFS(filepath.Join(dir, "packages/v6"), os.DirFS(filepath.Join(frozen, "v6"))))
	goldenTree(t, filepath.Join(dir, "tree"))
	goldenImages(t, dir)
}

// elf is the beginning of an ELF file. The selection reads no more.
const elf = "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x3e\x00\x01\x00\x00\x00"

// goldenTree makes a tree with one file of each kind. Without root, all files belong to the
// user who runs the test, and have no xattrs of security.
func goldenTree(t *testing.T, tree string) {
	files := []struct {
		path, content string
		mode          os.FileMode
		owner         int
	}{
		{"bin/program", elf + "program", 0o755, 0},
		{"bin/script", "#!/bin/sh\nexit 0\n", 0o755, 0},
		{"bin/setuid", elf + "setuid", 0o755 | os.ModeSetuid, 0},
		{"bin/setgid", elf + "setgid", 0o750 | os.ModeSetgid, 1000},
		{"data/caf\xe9", "a name that is not UTF-8\n", 0o644, 0},
		{"data/empty", "", 0o644, 0},
		{"data/executable", "no program\n", 0o711, 0},
		{"data/large", strings.Repeat("0123456789abcdef", 1<<14), 0o600, 65534},
		{"data/" + strings.Repeat("n", 180), "a long name\n", 0o644, 0},
		{"data/a name\nof two lines\\", "quoted\n", 0o644, 0},
		{"data/sticky", "sticky\n", 0o640 | os.ModeSticky, 0},
		{"etc/conf", "a = b\n", 0o644, 0},
		{"etc/ssl/conf", "c = d\n", 0o600, 100000},
		{"lib/library.so", elf + "library", 0o644, 0},
		{"lib/module.ko", elf + "module", 0o644, 0},
		{"var/one.log", "log\n", 0o644, 0},
	}
	old := time.Unix(1_600_000_000, 123_456_789)
	for i, f := range files {
		path := filepath.Join(tree, f.path)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(f.content), 0o600))
		if os.Geteuid() == 0 {
			must(t, os.Chown(path, f.owner, f.owner))
		}
		must(t, os.Chmod(path, f.mode))
		must(t, os.Chtimes(path, old, old.Add(time.Duration(i)*400*24*time.Hour))) // some are in the future
	}
	must(t, xattr.Set(filepath.Join(tree, "data/empty"), "user.note", []byte("a\nb")))
	must(t, os.Link(filepath.Join(tree, "bin/program"), filepath.Join(tree, "bin/second-name")))
	must(t, os.Link(filepath.Join(tree, "bin/program"), filepath.Join(tree, "var/third.log")))
	must(t, os.Link(filepath.Join(tree, "etc/conf"), filepath.Join(tree, "data/conf")))
	must(t, os.Symlink("program", filepath.Join(tree, "bin/link")))
	must(t, os.Symlink("/nowhere", filepath.Join(tree, "etc/broken")))
	must(t, os.Mkdir(filepath.Join(tree, "tmp"), 0o700))
	must(t, os.Chmod(filepath.Join(tree, "tmp"), 0o777|os.ModeSticky))
	for _, directory := range []string{"bin", "data", "etc/ssl", "etc", "lib", "var", "tmp", "."} {
		path := filepath.Join(tree, directory)
		if directory != "tmp" {
			must(t, os.Chmod(path, 0o755))
		}
		must(t, os.Chtimes(path, old, old))
	}
}

// goldenImages makes two images: an image layout with two layers, one of them compressed,
// and a docker-archive with one layer.
func goldenImages(t *testing.T, dir string) {
	first := frozenArchive(t, "gnu.tar")
	second := frozenArchive(t, "v7.tar")
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.NoCompression) // the result does not depend on the compressor
	must(t, err)
	_, err = z.Write(second)
	must(t, err)
	must(t, z.Close())

	layout := filepath.Join(dir, "layout")
	must(t, os.MkdirAll(filepath.Join(layout, "blobs/sha256"), 0o755))
	blob := func(content []byte) string {
		name := fmt.Sprintf("%x", sha256.Sum256(content))
		must(t, os.WriteFile(filepath.Join(layout, "blobs/sha256", name), content, 0o644))
		return fmt.Sprintf(`"digest":"sha256:%s","size":%d`, name, len(content))
	}
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%x","sha256:%x"]}}`, sha256.Sum256(first), sha256.Sum256(second))
	const kind = `"mediaType":"application/vnd.oci.image.`
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,%smanifest.v1+json","config":{%[1]sconfig.v1+json",%[2]s},"layers":[{%[1]slayer.v1.tar",%[3]s},{%[1]slayer.v1.tar+gzip",%[4]s}]}`,
		kind, blob(config), blob(first), blob(packed.Bytes()))
	index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{%smanifest.v1+json",%s,"annotations":{"org.opencontainers.image.ref.name":"latest"}}]}`, kind, blob(manifest))
	must(t, os.WriteFile(filepath.Join(layout, "index.json"), []byte(index), 0o644))
	must(t, os.WriteFile(filepath.Join(layout, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))

	config = fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%x"]}}`, sha256.Sum256(first))
	name := fmt.Sprintf("%x.json", sha256.Sum256(config))
	goldenTar(t, filepath.Join(dir, "docker.tar"), []struct{ name, content string }{
		{"layer/layer.tar", string(first)}, {name, string(config)},
		{"manifest.json", fmt.Sprintf(`[{"Config":%q,"RepoTags":["image:latest"],"Layers":["layer/layer.tar"]}]`, name)},
	})
}

func frozenArchive(t *testing.T, name string) []byte {
	content, err := os.ReadFile(filepath.Join("../../pkg/tarball/testdata", name))
	must(t, err)
	return content
}

func goldenTar(t *testing.T, path string, files []struct{ name, content string }) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		must(t, w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.content)), Format: tar.FormatUSTAR}))
		_, err := w.Write([]byte(f.content))
		must(t, err)
	}
	must(t, w.Close())
	must(t, os.WriteFile(path, b.Bytes(), 0o644))
}
