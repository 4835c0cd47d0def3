package rpm

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// The tags where rpm 4.13 wrote file signatures.
const (
	mainSignatures      = 5090
	mainSignatureLength = 5091
)

// TestMainHeader checks that every command reads file signatures in the main header, and that
// none makes a package that rpm refuses.
func TestMainHeader(t *testing.T) {
	keys, program, dir := harness.Keys(t, "p256"), harness.Program(t), t.TempDir()
	cert := []string{"--cert", filepath.Join(keys, "x509_ima.crt")}
	path := packages.Copy(t, "zstd", dir)
	rpmSign(t, keys, path)
	f := read(t, path)
	plain := bytes.Clone(f.Pack())
	for from, to := range map[uint32]uint32{packages.TagFileSignatures: mainSignatures, packages.TagFileSignatureLength: mainSignatureLength} {
		tag, _ := packages.Find(f.Signature, from)
		tag.Tag = to
		f.Header = packages.Insert(f.Header, tag)
	}
	both := bytes.Clone(f.Pack())
	f.Signature = packages.Without(f.Signature, packages.TagFileSignatures, packages.TagFileSignatureLength)
	inMain := f.Pack()
	put := func(b []byte) string {
		path := filepath.Join(t.TempDir(), "p.rpm")
		check(t, os.WriteFile(path, b, 0o644))
		return path
	}
	reads := func(path string) bool { return harness.Run(t, "rpm", "-qp", "--nosignature", path).Code == 0 }
	run := func(want int, says, path string, args ...string) {
		t.Helper()
		r := harness.Run(t, program, append(args, path)...)
		if r.Code != want || !strings.Contains(r.Out+r.Err, says) {
			t.Errorf("%s: exit %d, not %d with %q\n%s%s", args, r.Code, want, says, r.Out, r.Err)
		}
	}
	other := harness.Keys(t, "rsa2048")
	digests := filepath.Join(dir, "digests")
	harness.Must(t, program, "rpm", "digests", "-o", digests, path)
	harness.Must(t, program, append([]string{"manifest", "sign", "-o", digests + ".signed", digests}, keyFlags(other)...)...)

	for name, b := range map[string][]byte{"main": inMain, "both": both} {
		path, flaw := put(b), map[string]string{"main": "main-header", "both": "both-headers"}[name]
		if reads(path) != (name == "main") {
			t.Errorf("rpm reads it: %t", reads(path))
		}
		run(0, map[string]string{"main": "in the main header", "both": "in both headers"}[name], path, "rpm", "show")
		run(0, flaw, path, "rpm", "digests")
		run(1, "build the package again", path, append([]string{"rpm", "sign", "--force"}, keyFlags(other)...)...)
		run(1, "build the package again", path, "manifest", "apply", "--force", "--cert", filepath.Join(other, "x509_ima.crt"), digests+".signed")
		if !bytes.Equal(content(t, path), b) {
			t.Error("refused, and changed")
		}
		run(map[string]int{"main": 0, "both": 3}[name], flaw, path, append([]string{"rpm", "verify"}, cert...)...)
		run(map[string]int{"main": 1, "both": 0}[name], map[string]string{"main": "build the package again", "both": flaw}[name], path, "rpm", "strip")
		rpmSign(t, keys, path)
		if !reads(path) {
			t.Error("rpm does not read the changed package")
		}
		run(0, "main-header", path, append([]string{"rpm", "verify"}, cert...)...)
	}
	run(0, "0 bad", put(plain), append([]string{"rpm", "verify"}, cert...)...)
}
