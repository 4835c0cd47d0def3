package bench

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
)

// BenchmarkFiveHours signs packages with a token, where rpmsign opens the key for each file. It
// writes a table of docs/benchmarks.md. In the second part of the table every call of a
// session takes 5 ms, as behind a PKCS#11 proxy. rpmsign gets a tenth of the packages.
func BenchmarkFiveHours(b *testing.B) {
	onlyWriting(b)
	built := buildPackages(b)
	f := &fiveHours{b: b, token: newToken(b), packages: built, digests: distinctDigests(b, built)}
	f.peer = newRPMSign(b, f.token)
	for b.Loop() {
		f.rows = nil
		f.token.Every(b, false)
		f.measure("C_Sign takes 5 ms", packageCount/10)
		f.token.Every(b, true)
		f.measure("every call takes 5 ms", packageCount/10)
	}
	b.ReportMetric(0, "ns/op")
	record(b, "five hours", f.table())
}

type fiveHours struct {
	b        *testing.B
	token    *token
	peer     *rpmsign
	packages string // directory
	digests  int    // different ones
	rows     []row
}

// A row is one run of one program.
type row struct {
	delay, what        string
	measured           int // packages
	signatures, others int // calls
	took               time.Duration
	rss                int64 // bytes
}

func (r *row) perPackage() float64 { return r.took.Seconds() / float64(r.measured) }

// measure runs rpmsign on some packages, and imasign-build twice on all of them.
func (f *fiveHours) measure(delay string, some int) {
	openpgp := f.run(delay, "OpenPGP", some, func(paths []string) harness.Result { return f.peer.sign(f.b, paths) })
	theirs := f.run(delay, "rpmsign 4.18", some, func(paths []string) harness.Result {
		return f.peer.sign(f.b, paths, "--signfiles", "--fskpath", f.peer.key)
	})
	theirs.took -= openpgp.took
	cache := filepath.Join(f.b.TempDir(), "cache")
	ours := func(paths []string) harness.Result {
		args := slices.Concat([]string{"rpm", "sign", "--progress=none", "--cache", cache}, f.token.flags(), paths)
		r := harness.RunMeasured(f.b, harness.Program(f.b), args...)
		if r.Code != 0 {
			f.b.Fatal(r.Err)
		}
		return r
	}
	first, again := f.run(delay, "imasign-build, first build", packageCount, ours), f.run(delay, "imasign-build, second build", packageCount, ours)
	if first.signatures != f.digests || again.signatures != 0 {
		f.b.Fatalf("the token made %d signatures for %d digests, and then %d", first.signatures, f.digests, again.signatures)
	}
	f.rows = append(f.rows, theirs, first, again)
}

// run copies packages and has sign sign them in place. The signatures are verified, except for
// OpenPGP's.
func (f *fiveHours) run(delay, what string, some int, sign func(paths []string) harness.Result) row {
	b := f.b
	dir := filepath.Join(b.TempDir(), "packages")
	harness.Must(b, "cp", "-r", f.packages, dir)
	paths, err := filepath.Glob(filepath.Join(dir, "*.rpm"))
	if err != nil || len(paths) != packageCount {
		b.Fatalf("%d packages, %v", len(paths), err)
	}
	paths = paths[:some]
	f.token.AllCalls(b)
	r := row{delay: delay, what: what, measured: some}
	start := time.Now()
	result := sign(paths)
	r.took, r.rss = time.Since(start), result.MaxRSS
	if r.signatures, r.others = f.token.AllCalls(b); what != "OpenPGP" {
		harness.Must(b, harness.Program(b), slices.Concat([]string{"rpm", "verify", "--cert", f.token.cert}, paths)...)
	}
	harness.Must(b, "rm", "-r", dir)
	return r
}

func (f *fiveHours) table() []string {
	rows := []string{
		fmt.Sprintf("%d packages with %s files and %s different digests:", packageCount, thousands(packageCount*filesEach), thousands(f.digests)), "",
		"| token | run | signatures | other calls | time | times as fast | memory |", "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
	}
	for i, r := range f.rows {
		theirs := f.rows[i/3*3]
		all, mark := float64(packageCount)/float64(r.measured), ""
		if r.measured < packageCount {
			mark = "≈ "
		}
		scale := func(n int) string { return mark + thousands(int(all*float64(n))) }
		faster := theirs.perPackage() / r.perPackage()
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s | %s%s | %.1f | %d MB |", r.delay, r.what, scale(r.signatures), scale(r.others),
			mark, readable(time.Duration(all*float64(r.took))), faster, r.rss/1e6))
	}
	return rows
}
