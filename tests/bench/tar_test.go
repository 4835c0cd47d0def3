package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// BenchmarkTarCreate writes an archive of a signed tree with GNU tar and with our program.
func BenchmarkTarCreate(b *testing.B) {
	harness.Root(b)
	program, dir, tree := harness.Program(b), b.TempDir(), b.TempDir()
	have := harness.CopyOfUsr(b, tree, files(b))
	harness.Sign(b, harness.Keys(b, "p256"), tree)
	var ours, theirs float64
	for b.Loop() {
		out := filepath.Join(dir, "out.tar")
		theirs += timed(func() {
			harness.Must(b, "tar", "--format=pax", "--xattrs", "--xattrs-include=*", "-cf", out, "-C", tree, ".")
		})
		_ = os.Remove(out)
		ours += timed(func() { harness.Must(b, program, "tar", "create", "--progress=none", tree, "-o", out) })
		_ = os.Remove(out)
	}
	b.ReportMetric(float64(have), "files")
	b.ReportMetric(ours/float64(b.N), "s")
	b.ReportMetric(theirs/float64(b.N), "GNU-s")
	b.ReportMetric(ours/theirs, "of-GNU")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkTarSign signs an uncompressed archive. It compares with copying the archive
// twice with cat, plus signing a tree without attaching.
func BenchmarkTarSign(b *testing.B) {
	harness.Root(b)
	program, dir, tree := harness.Program(b), b.TempDir(), b.TempDir()
	have := harness.CopyOfUsr(b, tree, files(b))
	keys := harness.Keys(b, "p256")
	in, out := filepath.Join(dir, "in.tar"), filepath.Join(dir, "out.tar")
	harness.Must(b, "tar", "--format=gnu", "-cf", in, "-C", tree, ".")
	flags := []string{"--progress=none", "--key", filepath.Join(keys, "x509_ima.key"), "--cert", filepath.Join(keys, "x509_ima.crt")}
	var cat, signing, ours float64
	var rss int64
	for b.Loop() {
		cat += timed(func() { run(b, exec.Command("sh", "-c", `cat "$0" >"$1"; cat "$0" >"$1"`, in, out)) })
		_ = os.Remove(out)
		signing += timed(func() {
			harness.Must(b, program, append(append([]string{"rootfs", "sign", "--output", "none", "--manifest", filepath.Join(dir, "m")}, flags...), tree)...)
		})
		ours += timed(func() {
			rss = max(rss, harness.RunMeasured(b, program, append(append([]string{"tar", "sign"}, flags...), in, "-o", out)...).MaxRSS)
		})
		_ = os.Remove(out)
	}
	b.ReportMetric(float64(have), "files")
	b.ReportMetric(ours/float64(b.N), "s")
	b.ReportMetric(cat/float64(b.N), "cat-twice-s")
	b.ReportMetric(signing/float64(b.N), "signing-s")
	b.ReportMetric(ours/(cat+signing), "of-both")
	b.ReportMetric(float64(rss)/1e6, "MB")
	b.ReportMetric(0, "ns/op")
}

func run(b *testing.B, cmd *exec.Cmd) {
	b.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
}
