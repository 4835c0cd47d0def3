package tar

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// podman returns a function that runs podman with a store of the test.
func podman(t *testing.T) func(args ...string) string {
	t.Helper()
	harness.Root(t)
	tool := harness.Tool(t, "podman")
	dir, err := os.MkdirTemp("", "pod-*") // podman takes no long names
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	return func(args ...string) string {
		t.Helper()
		args = append([]string{"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "vfs"}, args...)
		return strings.TrimSpace(harness.Must(t, tool, args...))
	}
}

// loaded loads an archive with podman and returns the directory of the image's files.
func loaded(t *testing.T, archive string) string {
	t.Helper()
	run := podman(t)
	lines := strings.Fields(run("load", "-q", "-i", archive))
	return run("image", "mount", lines[len(lines)-1])
}

// imageArchives write the different kinds of image archives, from a layout whose image is
// called one.
var imageArchives = map[string]func(t *testing.T, layout, out string){
	"docker-archive by skopeo": func(t *testing.T, layout, out string) {
		t.Helper()
		skopeo(t, "oci:"+layout+":one", "docker-archive:"+out+":example/one:1")
	},
	"oci-archive by skopeo": func(t *testing.T, layout, out string) {
		t.Helper()
		skopeo(t, "oci:"+layout+":one", "oci-archive:"+out+":one")
	},
	"docker-archive by podman": func(t *testing.T, layout, out string) {
		t.Helper()
		run, archive := podman(t), filepath.Join(t.TempDir(), "archive")
		skopeo(t, "oci:"+layout+":one", "oci-archive:"+archive+":one")
		lines := strings.Fields(run("load", "-q", "-i", archive))
		run("save", "-q", "--format", "docker-archive", "-o", out, lines[len(lines)-1])
	},
	"oci-archive by tar": func(t *testing.T, layout, out string) {
		t.Helper()
		harness.Must(t, "tar", "-C", layout, "-cf", out, ".")
	},
	"oci-archive made from outside": func(t *testing.T, layout, out string) {
		t.Helper()
		harness.Must(t, "tar", "-C", filepath.Dir(layout), "-cf", out, filepath.Base(layout))
	},
	"docker save": saved,
	"docker save before 25": func(t *testing.T, layout, out string) {
		t.Helper()
		dir := t.TempDir()
		archive := filepath.Join(dir, "archive")
		skopeo(t, "oci:"+layout+":one", "docker-archive:"+archive+":example/one:1")
		// The layers are in directories. A layer that occurs twice is a link the second time.
		harness.Must(t, "sh", "-c", `cd "$0" && mkdir i && tar -C i -xf archive && cd i && for l in */layer.tar; do f=$(readlink -f "$l"); rm "$l"; mv "$f" "$l"; mkdir "${l%/*}2"; ln -s "../$l" "${l%/*}2/layer.tar"; sed -i "s|\"[0-9a-f]*\.tar\"|\"$l\"|" manifest.json; done && tar -cf "$1" *`, dir, out)
	},
}

// saved writes an archive like docker 25 and later: a layout that also has docker's list
// of images.
func saved(t *testing.T, layout, out string) {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copied")
	harness.Must(t, "cp", "-a", layout, copied)
	addDockerList(t, copied)
	harness.Must(t, "sh", "-c", `cd "$0" && tar -cf "$1" *`, copied, out)
}

// addDockerList adds docker's manifest.json to a layout of one image.
func addDockerList(t *testing.T, layout string) {
	t.Helper()
	var m struct {
		Config struct{ Digest string }
		Layers []json.RawMessage
	}
	check(t, json.Unmarshal([]byte(harness.Must(t, harness.Tool(t, "skopeo"), "inspect", "--raw", "oci:"+layout+":one")), &m))
	path := func(digest string) string { return "blobs/" + strings.Replace(digest, ":", "/", 1) }
	var layers []string
	sources := map[string]json.RawMessage{}
	var config struct {
		Rootfs struct {
			Diff []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	check(t, json.Unmarshal([]byte(read(t, filepath.Join(layout, path(m.Config.Digest)))), &config))
	for i, text := range m.Layers {
		var d struct{ Digest string }
		check(t, json.Unmarshal(text, &d))
		layers, sources[config.Rootfs.Diff[i]] = append(layers, path(d.Digest)), text
	}
	text, err := json.Marshal([]any{map[string]any{"Config": path(m.Config.Digest), "RepoTags": []string{"example/one:1"}, "Layers": layers, "LayerSources": sources}})
	check(t, err)
	write(t, filepath.Join(layout, "manifest.json"), string(text))
	write(t, filepath.Join(layout, "repositories"), `{"example/one":{"1":"0123"}}`)
}

func skopeo(t *testing.T, from, to string) {
	t.Helper()
	harness.Must(t, harness.Tool(t, "skopeo"), "--insecure-policy", "copy", "-q", from, to)
}

// small makes a layout with umoci. It has one image of one layer.
func small(t *testing.T) string {
	t.Helper()
	harness.Root(t)
	dir := t.TempDir()
	layout, bundle := filepath.Join(dir, "layout"), filepath.Join(dir, "bundle")
	umoci := harness.Tool(t, "umoci")
	harness.Must(t, umoci, "init", "--layout", layout)
	harness.Must(t, umoci, "new", "--image", layout+":one")
	harness.Must(t, umoci, "unpack", "--image", layout+":one", bundle)
	harness.Must(t, "sh", "-c", `mkdir "$0/bin" && cp /usr/bin/env "$0/bin" && echo text >"$0/bin/text"`, filepath.Join(bundle, "rootfs"))
	harness.Must(t, umoci, "repack", "--image", layout+":one", bundle)
	harness.Must(t, umoci, "gc", "--layout", layout)
	return layout
}

// TestImageArchives signs image archives of every kind. The output must be of the same
// kind and readable by skopeo and podman. The files that podman unpacks must be signed.
func TestImageArchives(t *testing.T) {
	keys, layout := newKeys(t), small(t)
	for name, make := range imageArchives {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			in, out, plain := filepath.Join(dir, "in.tar"), filepath.Join(dir, "out.tar"), filepath.Join(dir, "plain.tar")
			make(t, layout, in)
			keys.signOCI(t, in, out)
			verify := []string{"tar", "verify", "--oci", "--cert", keys.certificate()}
			if r := harness.Run(t, harness.Program(t), append(verify, in)...); r.Code != 3 {
				t.Errorf("verify of the input: exit %d\n%s%s", r.Code, r.Out, r.Err)
			}
			harness.Must(t, harness.Program(t), append(verify, out)...)
			if !strings.Contains(name, "outside") { // skopeo and podman cannot read these in the first place
				transport, _, _ := strings.Cut(name, " ")
				if !strings.HasSuffix(transport, "-archive") {
					transport = "docker-archive"
				}
				if allSigned(t, transport+":"+out) == 0 {
					t.Error("skopeo does not read the output")
				}
				harness.Must(t, harness.Program(t), "rootfs", "verify", "--cert", keys.certificate(), loaded(t, out))
			}
			if links := harness.Must(t, "sh", "-c", `mkdir "$1" && tar -C "$1" -xf "$0" && find "$1" -xtype l`, out, filepath.Join(dir, "links")); links != "" {
				t.Errorf("links that lead nowhere: %s", links)
			}
			keys.signOCI(t, out, filepath.Join(dir, "again.tar"))
			if read(t, out) != read(t, filepath.Join(dir, "again.tar")) {
				t.Error("signed again, it is another archive")
			}
			harness.Must(t, harness.Program(t), "tar", "strip", "--oci", out, "-o", plain)
			if was, is := layersIn(t, in), layersIn(t, plain); was != is {
				t.Errorf("stripped, its layers are\n%s, and were\n%s", is, was)
			}
			if names(t, in) != names(t, plain) {
				t.Errorf("stripped, it has\n%s, and had\n%s", names(t, plain), names(t, in))
			}
		})
	}
}

// layersIn returns the checksums of the unpacked layers of an archive.
func layersIn(t *testing.T, archive string) string {
	t.Helper()
	return harness.Must(t, "sh", "-c", `mkdir "$1" && cd "$1" && tar -xf "$0" && find . -type f | while read f; do gzip -dcf <"$f" | tar -t >/dev/null 2>&1 && gzip -dcf <"$f" | sha256sum; done | sort`, archive, filepath.Join(t.TempDir(), "unpacked"))
}

// names returns the names in an archive, with digests replaced.
func names(t *testing.T, archive string) string {
	t.Helper()
	return harness.Must(t, "sh", "-c", `tar -tf "$0" | sed -E 's/[0-9a-f]{64}/#/; s|/$||' | grep -vxE 'layout|\.' | sort`, archive)
}

// TestCompressedImageArchives checks that archives keep their compression, or get the
// demanded one, through files and pipes, and in place.
func TestCompressedImageArchives(t *testing.T) {
	keys, dir := newKeys(t), t.TempDir()
	in := filepath.Join(dir, "in.tar")
	saved(t, small(t), in)
	harness.Must(t, "sh", "-c", `gzip -k "$0" && zstd -q "$0"`, in)
	for _, suffix := range []string{".gz", ".zst"} {
		keys.signOCI(t, in+suffix, in+suffix)
	}
	harness.Must(t, "sh", "-c", `gzip -t "$0.gz" && zstd -qt "$0.zst" && gzip -dc "$0.gz" | cmp - "$1" && zstd -dcq "$0.zst" | cmp - "$1"`, in, func() string {
		out := filepath.Join(dir, "out")
		keys.signOCI(t, in, out)
		return out
	}())
	cmd := exec.Command(harness.Program(t), "tar", "sign", "--oci", "--key", filepath.Join(string(keys), "x509_ima.key"), "--cert", keys.certificate(), "--compression", "gzip", "-", "-o", "-")
	cmd.Stdin = strings.NewReader(read(t, in))
	r := harness.RunCommand(t, cmd)
	if r.Code != 0 || unpacked(t, r.Out) != read(t, filepath.Join(dir, "out")) {
		t.Errorf("through pipes: exit %d\n%s", r.Code, r.Err)
	}
}

// TestImageArchivesAreNoTrees checks that an image archive is treated as an archive of
// files only if --plain demands it.
func TestImageArchivesAreNoTrees(t *testing.T) {
	keys, layout := newKeys(t), small(t)
	dir := t.TempDir()
	key := []string{"--key", filepath.Join(string(keys), "x509_ima.key"), "--cert", keys.certificate()}
	manifest := filepath.Join(dir, "manifest")
	harness.Must(t, "mkdir", filepath.Join(dir, "empty"))
	harness.Must(t, harness.Program(t), append(append([]string{"rootfs", "sign", "--output", "none", "--manifest", manifest}, key...), filepath.Join(dir, "empty"))...)
	skopeoDir := filepath.Join(dir, "dir")
	skopeo(t, "oci:"+layout+":one", "dir:"+skopeoDir)
	others := map[string]func(t *testing.T, layout, out string){
		"dir: of skopeo": func(t *testing.T, _, out string) {
			t.Helper()
			harness.Must(t, "tar", "-C", skopeoDir, "-cf", out, ".")
		},
		"docker save before 1.10": func(t *testing.T, _, out string) {
			t.Helper()
			old := filepath.Join(dir, "old")
			harness.Must(t, "sh", "-c", `mkdir -p "$0/0123" && cd "$0" && echo '{"a":{"b":"0123"}}' >repositories && echo '{}' >0123/json && tar -cf 0123/layer.tar repositories && tar -cf "$1" *`, old, out)
		},
	}
	for _, all := range []map[string]func(t *testing.T, layout, out string){imageArchives, others} {
		for name, make := range all {
			t.Run(name, func(t *testing.T) {
				in, out := filepath.Join(t.TempDir(), "in.tar"), filepath.Join(t.TempDir(), "out")
				make(t, layout, in)
				for _, args := range [][]string{
					append([]string{"sign", in, "-o", out}, key...), {"verify", "--cert", keys.certificate(), in}, {"strip", in, "-o", out},
					append([]string{"sign", "--dry-run", in}, key...), {"apply", "--cert", keys.certificate(), manifest, in, "-o", out},
				} {
					command := "tar"
					if args[0] == "apply" {
						command = "manifest"
					}
					r := harness.Run(t, harness.Program(t), append([]string{command}, args...)...)
					if _, err := os.Lstat(out); r.Code != 1 || err == nil || !strings.Contains(r.Err, "container image") || !strings.Contains(r.Err, "--plain") {
						t.Errorf("%s: exit %d\n%s", args[0], r.Code, r.Err)
					}
				}
				keys.signTar(t, in, out, "--plain")
				harness.Must(t, harness.Program(t), "tar", "verify", "--plain", "--cert", keys.certificate(), out)
			})
		}
	}
	r := harness.Run(t, harness.Program(t), append([]string{"tar", "create", "--sign", layout, "-o", filepath.Join(dir, "out")}, key...)...)
	if r.Code != 1 || !strings.Contains(r.Err, "tar sign --oci") {
		t.Errorf("tar create --sign: exit %d\n%s", r.Code, r.Err)
	}
	r = harness.Run(t, harness.Program(t), append([]string{"rootfs", "sign", "--dry-run", layout}, key...)...)
	if r.Code != 0 || !strings.Contains(r.Err, "tar sign --oci") {
		t.Errorf("rootfs sign: exit %d\n%s", r.Code, r.Err)
	}
}

// TestHostileImageArchives checks that hostile archives are refused and nothing is left
// behind.
func TestHostileImageArchives(t *testing.T) {
	keys := newKeys(t)
	layout := small(t)
	for name, c := range map[string]struct{ script, says string }{
		"path that leads out":  {`tar -cPf "$1" --transform 's|^repositories|../repositories|' *`, "leads out"},
		"link that leads out":  {`ln -sf /etc/passwd link && tar -cf "$1" *`, "leads out"},
		"index that leads out": {`mv index.json ../index.json && ln -s ../index.json . && tar -cf "$1" *`, "leads out"},
		"hard link out":        {`ln index.json other && tar -cPf "$1" --transform 'flags=h;s|^index.json|../../x|' index.json other oci-layout blobs manifest.json`, "leads out"},
		"entry twice":          {`tar -cf "$1" * index.json`, "twice"},
		"spelled otherwise":    {`tar -cf "$1" * ./index.json`, "twice"},
		"device":               {`mknod null c 1 3 && tar -cf "$1" *`, "of type"},
		"FIFO":                 {`mkfifo fifo && tar -cf "$1" *`, "of type"},
		"below a link":         {`ln -s blobs other && tar -cPf "$1" --transform 'flags=r;s|^repositories|other/x|' *`, "below"},
		"links in a circle":    {`rm index.json && ln -s a index.json && ln -s index.json a && tar -cf "$1" *`, "too many links"},
		"sparse":               {`rm index.json && truncate -s 1M index.json && echo '{}' >>index.json && tar -Scf "$1" *`, "sparse"},
		"cut short":            {`tar -cf all * && head -c 20000 all >"$1"`, "cut short"},
		"no marker":            {`rm oci-layout && tar -cf "$1" *`, "oci-layout"},
		"no index":             {`rm index.json && tar -cf "$1" *`, "index.json"},
		"no image":             {`rm index.json oci-layout manifest.json && tar -cf "$1" *`, "before docker 1.10"},
		"a list of nothing":    {`echo null >manifest.json && tar -cf "$1" *`, "not docker's"},
		"a list of null":       {`echo '[null]' >manifest.json && tar -cf "$1" *`, "not docker's"},
		"keys in capitals":     {`sed -i s/Layers/LAYERS/ manifest.json && tar -cf "$1" *`, "only in case"},
		"keys twice":           {`sed -i 's/"Layers"/"Layers":[],"Layers"/' manifest.json && tar -cf "$1" *`, "appears twice"},
		"a layer elsewhere":    {`sed -i 's|"Layers":."blobs|"Layers":["../../blobs|' manifest.json && tar -cf "$1" *`, "does not exist"},
		"other layers":         {`sed -i 's/"Layers":.[^]]*./"Layers":[]/' manifest.json && tar -cf "$1" *`, "diff ids"},
		"layers that are none": {`sed -i 's|"Layers":..[^"]*"|"Layers":["index.json"|' manifest.json && tar -cf "$1" *`, "no tar archive"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			harness.Must(t, "cp", "-a", layout, filepath.Join(dir, "layout"))
			addDockerList(t, filepath.Join(dir, "layout"))
			harness.Must(t, "sh", "-c", `cd "$0" && `+c.script, filepath.Join(dir, "layout"), filepath.Join(dir, "in.tar"))
			left, temporary := others(t, dir), t.TempDir()
			for _, args := range [][]string{
				{"sign", "--oci", "--key", filepath.Join(string(keys), "x509_ima.key"), "--cert", keys.certificate(), filepath.Join(dir, "in.tar"), "-o", filepath.Join(dir, "out.tar")},
				{"verify", "--oci", "--cert", keys.certificate(), filepath.Join(dir, "in.tar")},
			} {
				cmd := exec.Command(harness.Program(t), append([]string{"tar"}, args...)...)
				cmd.Env = append(os.Environ(), "TMPDIR="+temporary)
				r := harness.RunCommand(t, cmd)
				if r.Code != 1 || !strings.Contains(r.Err, c.says) || others(t, dir) != left || others(t, temporary) != 0 {
					t.Errorf("%s: exit %d, %d files\n%s", args[0], r.Code, others(t, dir)-left, r.Err)
				}
			}
		})
	}
}

// TestFilesBesidesTheImages checks that docker's list is updated, and that all other files
// of a layout are kept, also blobs without references.
func TestFilesBesidesTheImages(t *testing.T) {
	keys, layout := newKeys(t), small(t)
	addDockerList(t, layout)
	write(t, filepath.Join(layout, "README"), "read me")
	harness.Must(t, "sh", "-c", `cd "$0/blobs/sha256" && echo unknown >x && mv x $(sha256sum x | cut -c1-64) && mkdir ../../more && echo more >../../more/more && ln -s more ../../more/link`, layout)
	out := filepath.Join(t.TempDir(), "out")
	keys.signOCI(t, layout, out)
	harness.Must(t, "sh", "-c", `cd "$1" && grep -q unknown blobs/sha256/* && cmp README "$0/README" && cmp repositories "$0/repositories" && cmp more/link "$0/more/more" && test "$(find blobs -type f | wc -l)" = "$(find "$0/blobs" -type f | wc -l)"`, layout, out)
	archive := filepath.Join(t.TempDir(), "archive")
	harness.Must(t, "sh", "-c", `cd "$0" && tar -cf "$1" *`, out, archive)
	if allSigned(t, "docker-archive:"+archive) == 0 {
		t.Error("docker's list does not fit")
	}
	var lists []struct {
		LayerSources map[string]struct{ Digest string }
		Layers       []string
	}
	check(t, json.Unmarshal([]byte(read(t, filepath.Join(out, "manifest.json"))), &lists))
	config := inspect(t, out, "one")
	for id, d := range lists[0].LayerSources {
		if !strings.Contains(config, id) || "blobs/"+strings.Replace(d.Digest, ":", "/", 1) != lists[0].Layers[0] {
			t.Errorf("layer %s: %s, %s", id, d.Digest, lists[0].Layers)
		}
	}
}

// TestLayoutsOfOtherFiles checks that files that are not regular are refused at once.
func TestLayoutsOfOtherFiles(t *testing.T) {
	keys, whole := newKeys(t), small(t)
	blob, err := filepath.Rel(whole, largest(t, whole))
	check(t, err)
	for _, name := range []string{"index.json", "oci-layout", blob, "blobs/sha256/" + strings.Repeat("0", 64), "manifest.json", "README"} {
		for kind, script := range map[string]string{"fifo": `mkfifo "$0"`, "device": `mknod "$0" c 1 5`, "socket": `python3 -c 'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' x && mv x "$0"`} {
			layout := filepath.Join(t.TempDir(), "layout")
			harness.Must(t, "cp", "-a", whole, layout)
			harness.Must(t, "sh", "-c", `cd "$1" && rm -f "$0" && `+script, name, layout)
			for _, args := range [][]string{
				{"sign", "--oci", "--key", filepath.Join(string(keys), "x509_ima.key"), "--cert", keys.certificate(), layout, "-o", layout + ".out"},
				{"verify", "--oci", "--cert", keys.certificate(), layout},
			} {
				r := harness.Run(t, harness.Tool(t, "timeout"), append([]string{"20", harness.Program(t), "tar"}, args...)...)
				if r.Code != 1 || !strings.Contains(r.Err, name) {
					t.Errorf("%s %s, %s: exit %d\n%s", kind, name, args[0], r.Code, r.Err)
				}
			}
		}
	}
}
