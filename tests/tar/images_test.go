package tar

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/imasign/imasign-build/tests/harness"
)

var (
	goodLayer = harness.Layer("bin/good", "good\n")
	evilLayer = harness.Layer("bin/evil", "#!/bin/sh\necho evil\n")
	zero      = "sha256:" + strings.Repeat("0", 64)
)

// hostile is a layout that hides an image. says is part of the error; if it is empty, the
// whole layout must be signed.
type hostile struct {
	make func(l *harness.Images)
	says string
}

type array = []any

// besides returns a layout of a harmless image and another one.
func besides(other func(l *harness.Images) harness.JSON) func(l *harness.Images) {
	return func(l *harness.Images) { l.Index(l.Image("good", goodLayer), other(l)) }
}

// withManifest returns a layout whose second image has text as its manifest.
func withManifest(mediaType string, text func(l *harness.Images) any) func(l *harness.Images) {
	return besides(func(l *harness.Images) harness.JSON {
		return l.Blob(text(l), mediaType, "annotations", harness.JSON{harness.RefName: "evil"})
	})
}

// changed returns a layout whose second image has these keys in its manifest, given as
// pairs.
func changed(pairs func(l *harness.Images) array) func(l *harness.Images) {
	return besides(func(l *harness.Images) harness.JSON { return l.Image("evil", evilLayer, pairs(l)...) })
}

// tagged returns a layout whose second image has this annotation.
func tagged(key, value string) func(l *harness.Images) {
	return besides(func(l *harness.Images) harness.JSON {
		d := l.Image("evil", evilLayer)
		d["annotations"] = harness.JSON{harness.RefName: "evil", key: value}
		return d
	})
}

// typed returns a layout whose second image has a layer of this type and content.
func typed(mediaType, layer string, more ...any) func(l *harness.Images) {
	return changed(func(l *harness.Images) array { return array{"layers", array{l.Blob(layer, mediaType, more...)}} })
}

// replaced returns a layout in whose second manifest from is replaced with to.
func replaced(from, to string) func(l *harness.Images) {
	return withManifest(harness.OCIManifest, func(l *harness.Images) any {
		text := l.Text(l.Manifest(evilLayer))
		if !strings.Contains(text, from) {
			l.Fatalf("%q is not in %s", from, text)
		}
		return strings.Replace(text, from, to, 1)
	})
}

func packed(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

func zpacked(text string) string {
	w, _ := zstd.NewWriter(nil)
	return string(w.EncodeAll([]byte(text), nil))
}

// both returns a gzip stream of inside that is also a tar archive of outside: the archive
// is in the extra field of the stream.
func both(outside, inside string) string {
	head := []byte(outside)
	copy(head, "\x1f\x8b\x08\x04")
	copy(head[10:], []byte{byte(len(head) - 12), byte((len(head) - 12) >> 8)})
	copy(head[148:156], "        ")
	sum := 0
	for _, c := range head[:512] {
		sum += int(c)
	}
	copy(head[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return string(head) + packed(inside)[10:]
}

var hostiles = map[string]hostile{
	"subject": {make: changed(func(*harness.Images) array {
		return array{"subject", harness.JSON{"mediaType": harness.OCIManifest, "digest": zero, "size": 1}}
	})},
	"subject in the layout": {make: func(l *harness.Images) {
		first := l.Image("good", goodLayer)
		subject := harness.JSON{"mediaType": harness.OCIManifest, "digest": first["digest"], "size": first["size"]}
		l.Index(l.Image("evil", evilLayer, "subject", subject), first)
	}},
	"docker's reference": {make: tagged("vnd.docker.reference.digest", zero)},
	"cosign's tag":       {make: tagged(harness.RefName, "sha256-"+zero[7:]+".sig")},
	"referrers tag":      {make: tagged(harness.RefName, "sha256-"+zero[7:])},
	"artifact type":      {make: changed(func(*harness.Images) array { return array{"artifactType", "application/vnd.example"} })},
	"config type": {make: changed(func(l *harness.Images) array {
		return array{"config", l.Blob(harness.ConfigOf(evilLayer), "application/x")}
	})},
	"no config type": {make: changed(func(l *harness.Images) array { return array{"config", l.Blob(harness.ConfigOf(evilLayer), "")} })},
	"empty config": {make: changed(func(l *harness.Images) array {
		return array{"config", l.Blob("{}", "application/vnd.oci.empty.v1+json", "data", "e30=")}
	})},
	"no config":         {make: changed(func(*harness.Images) array { return array{"config", nil} })},
	"no manifest type":  {make: withManifest("", func(l *harness.Images) any { return l.Manifest(evilLayer) })},
	"type of an index":  {make: withManifest(harness.OCIIndex, func(l *harness.Images) any { return l.Manifest(evilLayer) })},
	"foreign type":      {make: withManifest("application/vnd.example", func(l *harness.Images) any { return l.Manifest(evilLayer) })},
	"type in capitals":  {make: withManifest("Application/VND.OCI.image.manifest.v1+JSON; charset=utf-8", func(l *harness.Images) any { return l.Manifest(evilLayer) })},
	"docker's types":    {make: typed("application/vnd.docker.image.rootfs.diff.tar.gzip", packed(evilLayer))},
	"unknown layer":     {make: typed("application/x", evilLayer)},
	"no layer type":     {make: typed("", evilLayer)},
	"compressed as not": {make: typed(harness.OCILayer, packed(evilLayer))},
	"foreign layer":     {make: typed("application/vnd.oci.image.layer.nondistributable.v1.tar", evilLayer, "urls", array{"https://example.invalid/"})},
	"index of an image": {make: besides(func(l *harness.Images) harness.JSON {
		index := harness.JSON{"schemaVersion": 2, "manifests": array{l.Image("inner", evilLayer)}}
		return l.Blob(index, harness.OCIManifest, "annotations", harness.JSON{harness.RefName: "evil"})
	})},
	"space before": {make: withManifest(harness.OCIManifest, func(l *harness.Images) any {
		return strings.Repeat(" ", 600) + l.Text(l.Manifest(evilLayer))
	})},
	"escaped key":       {make: replaced(`"layers"`, `"l\u0061yers"`)},
	"another algorithm": {make: func(l *harness.Images) { other(l) }},
	"lying data":        {make: typed(harness.OCILayer, evilLayer, "data", base64.StdEncoding.EncodeToString([]byte("else")))},

	"capitals":            {make: replaced(`"layers"`, `"Layers"`), says: "only in case"},
	"capitals besides":    {make: replaced(`"layers"`, `"Layers":[],"layers"`), says: "only in case"},
	"long s":              {make: replaced(`"layers"`, `"layer\u017f"`), says: "only in case"},
	"in a descriptor":     {make: replaced(`"digest"`, `"Digest"`), says: "only in case"},
	"twice":               {make: replaced(`"layers"`, `"layers":[],"layers"`), says: "appears twice"},
	"trailing":            {make: replaced(`{"config"`, `{} {"config"`), says: "more than one"},
	"not UTF-8":           {make: replaced(`{"config"`, "{\"a\":\"\xff\",\"config\""), says: "UTF-8"},
	"deep":                {make: replaced(`{"config"`, `{"a":`+strings.Repeat("[", 300)+strings.Repeat("]", 300)+`,"config"`), says: "deep"},
	"null as config":      {make: changed(func(*harness.Images) array { return array{"config", json.RawMessage("null")} }), says: "an object"},
	"null as layer":       {make: changed(func(*harness.Images) array { return array{"layers", json.RawMessage("[null]")} }), says: "an object"},
	"null as manifest":    {make: func(l *harness.Images) { l.Index(nil) }, says: "an object"},
	"null as index":       {make: func(l *harness.Images) { l.File("index.json", "null") }, says: "an object"},
	"null as inner index": {make: withManifest(harness.OCIIndex, func(*harness.Images) any { return "null" }), says: "an object"},
	"list as inner index": {make: withManifest(harness.OCIIndex, func(*harness.Images) any { return "[]" }), says: "an object"},
	"no manifests":        {make: func(l *harness.Images) { l.File("index.json", `{"schemaVersion":2}`) }, says: "no manifests"},
	"index and manifest":  {make: changed(func(*harness.Images) array { return array{"manifests", array{}} }), says: "both an index and a manifest"},
	"schema 1":            {make: withManifest("", func(*harness.Images) any { return harness.JSON{"schemaVersion": 1, "fsLayers": array{}} }), says: "schema 1"},
	"huge size":           {make: replaced(`"size":`, `"size":1e30,"x":`), says: "size"},
	"negative size":       {make: replaced(`"size":`, `"size":-1,"x":`), says: "size"},
	"wrong size":          {make: typed(harness.OCILayer, evilLayer, "size", 3), says: "the blob has"},
	"two sizes": {make: changed(func(l *harness.Images) array {
		return array{"layers", array{l.Blob(evilLayer, ""), l.Blob(evilLayer, "", "size", 3)}}
	}), says: "says 3"},
	"no digest":           {make: typed(harness.OCILayer, evilLayer, "digest", nil), says: "digest"},
	"digest with a path":  {make: typed(harness.OCILayer, evilLayer, "digest", "sha256:../../../etc/passwd"), says: "digest"},
	"digest in capitals":  {make: typed(harness.OCILayer, evilLayer, "digest", "sha256:"+strings.ToUpper(harness.Sum(evilLayer)[7:])), says: "digest"},
	"encrypted":           {make: typed(harness.OCILayer+"+gzip+encrypted", "secret"), says: "encrypted"},
	"encrypted otherwise": {make: typed("application/vnd.oci.image.layer.v1.tar+encrypted", evilLayer), says: "encrypted"},
	"missing layer":       {make: typed(harness.OCILayer, evilLayer, "digest", zero), says: "not in the layout"},
	"squashfs":            {make: typed("application/vnd.example.squashfs", "hsqs"), says: "no tar archive"},
	"squashfs besides": {make: changed(func(l *harness.Images) array {
		return array{"layers", array{l.Blob(evilLayer, harness.OCILayer), l.Blob("hsqs", "")}}
	}), says: "no tar archive"},
	"no tar":               {make: typed(harness.OCILayer, "no tar"), says: "no tar archive"},
	"two in one":           {make: typed(harness.OCILayer, both(evilLayer, goodLayer)), says: "begins both as a tar archive"},
	"skippable frame":      {make: typed(harness.OCILayer+"+zstd", "\x50\x2a\x4d\x18\x00\x00\x00\x00"+zpacked(evilLayer)), says: "skippable"},
	"broken gzip":          {make: typed("application/x", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff"), says: "gzip"},
	"other diff ids":       {make: changed(func(l *harness.Images) array { return array{"config", l.Config(goodLayer)} }), says: "not those of the layers"},
	"too few diff ids":     {make: changed(func(l *harness.Images) array { return array{"config", l.Config()} }), says: "0 diff ids"},
	"RootFS":               {make: changed(func(l *harness.Images) array { return array{"config", l.Blob(`{"RootFS":{}}`, harness.OCIConfig)} }), says: "only in case"},
	"link to a whiteout":   {make: plnk, says: "hard link to a whiteout"},
	"indexes in indexes":   {make: func(l *harness.Images) { nested(l, 12) }, says: "deep"},
	"index.json leads out": {make: func(l *harness.Images) { l.Index(l.Image("evil", evilLayer)); leadOut(l, "index.json") }, says: "leads out"},
	"a blob leads out": {make: func(l *harness.Images) {
		l.Index(l.Image("evil", evilLayer))
		leadOut(l, "blobs/sha256/"+harness.Sum(evilLayer)[7:])
	}, says: "leads out"},
	"docker's list is none": {make: func(l *harness.Images) {
		l.Index(l.Image("evil", evilLayer))
		l.File("manifest.json", l.Text(l.Manifest(evilLayer)))
	}, says: "not docker's"},
}

// plnk adds a layer as aufs made them, with a hard link to a file whose name marks it as a
// whiteout. docker gives the link the content of that file.
func plnk(l *harness.Images) {
	l.Helper()
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	_ = w.WriteHeader(&tar.Header{Name: ".wh..wh.plnk/.wh.1", Mode: 0o755, Size: 5}) // writing to memory cannot fail
	_, _ = w.Write([]byte("evil\n"))
	_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: "bin/evil", Linkname: ".wh..wh.plnk/.wh.1"})
	_ = w.Close()
	l.Index(l.Image("good", goodLayer), l.Image("evil", text.String()))
}

// other adds a layer whose digest is SHA-512.
func other(l *harness.Images) {
	l.Helper()
	sum := strings.TrimSpace(strings.Fields(harness.Must(l, "sh", "-c", `printf %s "$0" | base64 -d | sha512sum`, base64.StdEncoding.EncodeToString([]byte(evilLayer))))[0])
	harness.Must(l, "mkdir", filepath.Join(l.Dir, "blobs/sha512"))
	l.File("blobs/sha512/"+sum, evilLayer)
	layer := harness.JSON{"mediaType": harness.OCILayer, "digest": "sha512:" + sum, "size": len(evilLayer)}
	l.Index(l.Image("good", goodLayer), l.Image("evil", evilLayer, "layers", array{layer}))
}

func nested(l *harness.Images, depth int) {
	l.Helper()
	d := l.Image("evil", evilLayer)
	for range depth {
		d = l.Blob(harness.JSON{"schemaVersion": 2, "manifests": array{d}}, harness.OCIIndex)
	}
	l.Index(d)
}

// leadOut replaces a file with a link to a copy outside of the layout.
func leadOut(l *harness.Images, name string) {
	l.Helper()
	file, elsewhere := filepath.Join(l.Dir, name), filepath.Join(filepath.Dir(l.Dir), "elsewhere")
	harness.Must(l, "mv", file, elsewhere)
	harness.Must(l, "ln", "-s", elsewhere, file)
}

// TestImagesThatHide makes layouts with an image that one program overlooks and another
// one runs. Each must be refused by name, or all of the files that skopeo copies out of it
// must be signed.
func TestImagesThatHide(t *testing.T) {
	keys := newKeys(t)
	for name, c := range hostiles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := harness.NewImages(t)
			c.make(l)
			before := tree(t, l.Dir)
			if refused := keys.differential(t, l.Dir, c.says); refused != (c.says != "") {
				t.Errorf("refused: %v", refused)
			}
			if tree(t, l.Dir) != before {
				t.Error("the input changed")
			}
		})
	}
}

// differential signs a layout. If verification then passes, all files that skopeo copies
// out of it must be signed. It reports whether the layout was refused.
func (k keySet) differential(t *testing.T, layout, says string) (refused bool) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	verify := func(dir string) harness.Result {
		return harness.Run(t, harness.Program(t), "tar", "verify", "--oci", "--cert", k.certificate(), dir)
	}
	r := harness.Run(t, harness.Program(t), "tar", "sign", "--oci", "--key", filepath.Join(string(k), "x509_ima.key"), "--cert", k.certificate(), layout, "-o", out)
	if v := verify(layout); v.Code == 0 {
		t.Errorf("verify passes the layout that is not signed:\n%s%s", v.Out, v.Err)
	} else if says != "" && (v.Code != 1 || !strings.Contains(v.Err, says)) {
		t.Errorf("verify: exit %d\n%s", v.Code, v.Err)
	}
	if r.Code != 0 {
		if _, err := os.Lstat(out); r.Code != 1 || err == nil || !strings.Contains(r.Err, says) || strings.Contains(r.Err, "goroutine") {
			t.Errorf("sign: exit %d\n%s", r.Code, r.Err)
		}
		return true
	}
	if v := verify(out); v.Code != 0 {
		t.Errorf("verify: exit %d\n%s%s", v.Code, v.Out, v.Err)
	}
	copied := 0
	for _, tag := range tags(t, out) {
		copied += allSigned(t, "oci:"+out+":"+tag)
	}
	if copied == 0 && says == "" {
		t.Error("skopeo copies no image out")
	}
	return false
}

// tags returns the names in a layout's index, and the name of the only image.
func tags(t *testing.T, layout string) []string {
	t.Helper()
	var index struct {
		Manifests []struct{ Annotations map[string]string }
	}
	check(t, json.Unmarshal([]byte(read(t, filepath.Join(layout, "index.json"))), &index))
	all := []string{""}
	for _, m := range index.Manifests {
		all = append(all, m.Annotations[harness.RefName])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// allSigned copies an image out of a layout with skopeo and verifies the files in its
// layers. archive/tar reads them like the programs that unpack images. It returns 0 if
// skopeo refuses the image.
func allSigned(t *testing.T, image string) int {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copied")
	if r := harness.Run(t, harness.Tool(t, "skopeo"), "--insecure-policy", "copy", "-q", "--all", "--dest-decompress", image, "dir:"+dir); r.Code != 0 {
		return 0
	}
	blobs, err := os.ReadDir(dir)
	check(t, err)
	for _, b := range blobs {
		text := unpacked(t, read(t, filepath.Join(dir, b.Name())))
		if text == "" || text[0] == '{' || b.Name() == "version" {
			continue
		}
		for r := tar.NewReader(strings.NewReader(text)); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", image, err)
			}
			if h.Typeflag == tar.TypeReg && h.PAXRecords["SCHILY.xattr.security.ima"] == "" {
				t.Errorf("%s: %s is not signed", image, h.Name)
			}
		}
	}
	return 1
}

// unpacked unpacks a blob that skopeo left compressed because it does not know its type.
func unpacked(t *testing.T, text string) string {
	t.Helper()
	if !strings.HasPrefix(text, "\x1f\x8b") {
		return text
	}
	r, err := gzip.NewReader(strings.NewReader(text))
	check(t, err)
	content, err := io.ReadAll(r)
	check(t, err)
	return string(content)
}

// TestMutatedImages does the same with mutated documents. IMASIGN_NIGHTLY=1 runs it
// longer.
func TestMutatedImages(t *testing.T) {
	keys, n := newKeys(t), 20
	if harness.Nightly() {
		n = 1000
	}
	random := rand.New(rand.NewPCG(1, 2))
	met := map[bool]int{}
	for range n {
		l := harness.NewImages(t)
		manifest := mutatedText(random, l.Text(l.Manifest(evilLayer)))
		l.Index(l.Image("good", goodLayer), l.Blob(manifest, harness.OCIManifest, "annotations", harness.JSON{harness.RefName: "evil"}))
		l.File("index.json", mutatedTextSometimes(random, read(t, filepath.Join(l.Dir, "index.json"))))
		met[keys.differential(t, l.Dir, "")]++
		if t.Failed() {
			t.Fatalf("%s\n%s", read(t, filepath.Join(l.Dir, "index.json")), manifest)
		}
		check(t, os.RemoveAll(l.Dir))
	}
	if met[true] == 0 || met[false] == 0 {
		t.Errorf("all are refused, or none: %v", met)
	}
}

func mutatedTextSometimes(random *rand.Rand, text string) string {
	if random.IntN(2) == 0 {
		return text
	}
	return mutatedText(random, text)
}

// mutatedText puts a word of a document in capitals, removes or doubles it, or replaces it
// with null or a value of another type.
func mutatedText(random *rand.Rand, text string) string {
	words := []string{"layers", "config", "manifests", "digest", "size", "mediaType", "schemaVersion", "annotations", "sha256:", "application/vnd.oci.image.", "manifest", "layer", ".tar", "+json", ":2", "[", "]"}
	word := words[random.IntN(len(words))]
	return strings.Replace(text, word, []string{
		strings.ToUpper(word), "", word + word, word + `":null,"` + word, "x", word + "\\u0000", " " + word, word + `":[],"` + strings.ToUpper(word),
	}[random.IntN(8)], 1+random.IntN(2))
}
