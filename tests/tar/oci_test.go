package tar

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// umoci makes an image of two layers and returns its layout. The second layer deletes and
// changes files of the first.
func umoci(t *testing.T, compression string) string {
	t.Helper()
	harness.Root(t)
	harness.Tool(t, "umoci")
	dir := t.TempDir()
	layout, bundle := filepath.Join(dir, "layout"), filepath.Join(dir, "bundle")
	harness.Must(t, "umoci", "init", "--layout", layout)
	harness.Must(t, "umoci", "new", "--image", layout+":one")
	harness.Must(t, "umoci", "unpack", "--image", layout+":one", bundle)
	root := filepath.Join(bundle, "rootfs")
	harness.Must(t, "sh", "-c", `cd "$0" && mkdir -p usr/bin usr/lib etc/deleted && cp /usr/bin/env /usr/bin/true usr/bin/ && cp -r /usr/include/linux usr/lib/ && echo gone >etc/gone && echo gone >etc/deleted/file && echo old >etc/changed && ln usr/bin/env usr/bin/linked && ln -s env usr/bin/sym`, root)
	harness.Must(t, harness.Tool(t, "setcap"), "cap_net_raw+ep", filepath.Join(root, "usr/bin/true"))
	harness.Must(t, "umoci", "repack", "--image", layout+":one", bundle)
	second := filepath.Join(dir, "second")
	harness.Must(t, "umoci", "unpack", "--image", layout+":one", second)
	harness.Must(t, "sh", "-c", `cd "$0/rootfs" && rm -r etc/gone etc/deleted && echo new >etc/changed && echo more >etc/more`, second)
	harness.Must(t, "umoci", "repack", "--image", layout+":two", second)
	harness.Must(t, "umoci", "config", "--image", layout+":two", "--config.entrypoint", "/usr/bin/env", "--author", "somebody")
	if compression == "" {
		return layout
	}
	other := filepath.Join(dir, "other")
	for _, tag := range []string{"one", "two"} {
		harness.Must(t, harness.Tool(t, "skopeo"), "--insecure-policy", "copy", "--dest-compress-format", compression, "oci:"+layout+":"+tag, "oci:"+other+":"+tag)
	}
	return other
}

func (k keySet) signOCI(t *testing.T, in, out string, args ...string) {
	t.Helper()
	k.signTar(t, in, out, append(args, "--oci")...)
}

// TestImageLayout signs the layers of an image. skopeo must copy it (it checks every
// digest), umoci must unpack it (it checks the diff ids), and evmctl must accept each file.
func TestImageLayout(t *testing.T) {
	keys := newKeys(t)
	for name, compression := range map[string]string{"gzip": "", "zstd": "zstd"} {
		t.Run(name, func(t *testing.T) {
			in, dir := umoci(t, compression), t.TempDir()
			before := tree(t, in)
			out := filepath.Join(dir, "signed")
			manifest := filepath.Join(dir, "manifest")
			keys.signOCI(t, in, out, "--manifest", manifest)
			if tree(t, in) != before {
				t.Error("the input changed")
			}
			if n := strings.Count(read(t, manifest), `"container":"layer","name":"sha256:`); n != 2 {
				t.Errorf("the manifest has %d layers", n)
			}
			copied := filepath.Join(dir, "copied")
			for tag, files := range map[string]int{"one": 4, "two": 3} {
				// umoci does not read zstd.
				harness.Must(t, harness.Tool(t, "skopeo"), "--insecure-policy", "copy", "--dest-compress-format", "gzip", "oci:"+out+":"+tag, "oci:"+copied+":"+tag)
				was, is := inspect(t, in, tag), inspect(t, out, tag)
				if d := difference(was, is); strings.Count(d, "\n") != 2*layersOf(t, was) {
					t.Errorf("more than the diff ids changed in the config:\n%s", d)
				}
				bundle := filepath.Join(dir, "bundle-"+tag)
				harness.Must(t, "umoci", "unpack", "--image", copied+":"+tag, bundle)
				rootfs := filepath.Join(bundle, "rootfs")
				all := harness.Files(t, rootfs)
				if bad := harness.Refused(t, filepath.Join(string(keys), "x509_ima.der"), all); len(bad) > 0 || len(all) < 100+files {
					t.Errorf("%s: evmctl refuses %q of %d", tag, bad, len(all))
				}
				if dump := harness.Xattrs(t, rootfs); !strings.Contains(dump, "security.capability=") {
					t.Error("a capability is gone")
				}
				for _, gone := range []string{"etc/gone", "etc/deleted"} {
					if _, err := os.Lstat(filepath.Join(rootfs, gone)); (err == nil) != (tag == "one") {
						t.Errorf("%s: %s: %v", tag, gone, err)
					}
				}
			}
			harness.Must(t, harness.Program(t), "tar", "verify", "--oci", "--cert", keys.certificate(), out)
			r := harness.Run(t, harness.Program(t), "tar", "verify", "--oci", "--cert", keys.certificate(), in)
			if r.Code != 3 || !strings.Contains(r.Out, "/etc/changed: no security.ima") || strings.Contains(r.Out, ".wh.") {
				t.Errorf("verify of the input: exit %d\n%.2000s", r.Code, r.Out)
			}
			again, plain := filepath.Join(dir, "again"), filepath.Join(dir, "plain")
			keys.signOCI(t, out, again)
			if tree(t, again) != tree(t, out) {
				t.Error("signing again gives another layout")
			}
			harness.Must(t, harness.Program(t), "tar", "strip", "--oci", out, "-o", plain)
			for _, tag := range []string{"one", "two"} {
				if inspect(t, plain, tag) != inspect(t, in, tag) {
					t.Errorf("%s: stripped, its config is another one", tag)
				}
			}
		})
	}
}

// tree returns the names and contents of all files below dir.
func tree(t *testing.T, dir string) string {
	t.Helper()
	return harness.Must(t, "sh", "-c", `cd "$0" && find . -printf '%P %y %m\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum`, dir)
}

// inspect returns the image's config as read by skopeo, one line per value.
func inspect(t *testing.T, layout, tag string) string {
	t.Helper()
	var config any
	check(t, json.Unmarshal([]byte(harness.Must(t, harness.Tool(t, "skopeo"), "inspect", "--config", "--raw", "oci:"+layout+":"+tag)), &config))
	text, err := json.MarshalIndent(config, "", " ")
	check(t, err)
	return string(text)
}

func layersOf(t *testing.T, config string) int {
	t.Helper()
	var c struct {
		Rootfs struct {
			Diff []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	check(t, json.Unmarshal([]byte(config), &c))
	return len(c.Rootfs.Diff)
}

// TestSignaturesOfTheImage checks that signatures of an image are left out, with a
// warning, if the image changes, and kept otherwise.
func TestSignaturesOfTheImage(t *testing.T) {
	keys, in, dir := newKeys(t), umoci(t, ""), t.TempDir()
	index := filepath.Join(in, "index.json")
	var parsed struct {
		Manifests []struct {
			Digest      string
			Annotations map[string]string
		}
	}
	check(t, json.Unmarshal([]byte(read(t, index)), &parsed))
	image := parsed.Manifests[0].Digest
	// cosign stores signatures as images with tags of this form.
	tag := "sha256-" + strings.TrimPrefix(image, "sha256:") + ".sig"
	harness.Must(t, "umoci", "new", "--image", in+":"+tag)
	out := filepath.Join(dir, "out")
	name := filepath.Join(string(keys), "x509_ima")
	r := harness.Run(t, harness.Program(t), "tar", "sign", "--oci", "--key", name+".key", "--cert", name+".crt", in, "-o", out)
	if r.Code != 0 || !strings.Contains(r.Err, image+", which is now sha256:") || strings.Contains(read(t, filepath.Join(out, "index.json")), ".sig") {
		t.Errorf("exit %d\n%s", r.Code, r.Err)
	}
	check(t, json.Unmarshal([]byte(read(t, filepath.Join(out, "index.json"))), &parsed))
	again := filepath.Join(dir, "again")
	tag = "sha256-" + strings.TrimPrefix(parsed.Manifests[0].Digest, "sha256:") + ".sig"
	harness.Must(t, "umoci", "new", "--image", out+":"+tag)
	keys.signOCI(t, out, again)
	if tree(t, again) != tree(t, out) && !strings.Contains(read(t, filepath.Join(again, "index.json")), tag) {
		t.Error("the signature of an image that stays is gone")
	}
}

// TestBrokenLayouts checks that broken layouts are refused and no output is left.
func TestBrokenLayouts(t *testing.T) {
	keys := newKeys(t)
	whole := umoci(t, "")
	name := filepath.Join(string(keys), "x509_ima")
	for says, damage := range map[string]func(layout string){
		"not a valid OCI image layout": func(layout string) { check(t, os.Remove(filepath.Join(layout, "oci-layout"))) },
		"index.json":                   func(layout string) { check(t, os.Remove(filepath.Join(layout, "index.json"))) },
		"the blob has":                 func(layout string) { flip(t, largest(t, layout)) },
		"not in the layout":            func(layout string) { check(t, os.Remove(largest(t, layout))) },
		"digest": func(layout string) {
			write(t, filepath.Join(layout, "index.json"), `{"manifests":[{"digest":"sha256:../../etc/passwd"}]}`)
		},
	} {
		t.Run(says, func(t *testing.T) {
			dir := t.TempDir()
			layout := filepath.Join(dir, "layout")
			harness.Must(t, "cp", "-a", whole, layout)
			damage(layout)
			r := harness.Run(t, harness.Program(t), "tar", "sign", "--oci", "--key", name+".key", "--cert", name+".crt", layout, "-o", filepath.Join(dir, "out"))
			if r.Code != 1 || !strings.Contains(r.Err, says) || others(t, dir) != 1 {
				t.Errorf("exit %d, %d files\n%s", r.Code, others(t, dir), r.Err)
			}
		})
	}
	dir := t.TempDir()
	r := harness.Run(t, harness.Program(t), "tar", "strip", "--oci", whole, "-o", dir)
	if r.Code != 1 || !strings.Contains(r.Err, "already exists") {
		t.Errorf("exit %d\n%s", r.Code, r.Err)
	}
}

func largest(t *testing.T, layout string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `ls -S "$0"/blobs/sha256/* | head -1`, layout).Output()
	check(t, err)
	return strings.TrimSpace(string(out))
}

func flip(t *testing.T, file string) {
	t.Helper()
	text := slices.Clone([]byte(read(t, file)))
	text[len(text)/2] ^= 1
	write(t, file, string(text))
}
