package bench

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// A way is one way to sign a tree, with what that took in all iterations.
type way struct {
	flags []string
	wall  float64 // seconds
	rss   int64   // bytes, the largest
}

// sign signs the tree anew. If warm is true, all signatures must come from earlier runs.
func (w *way) sign(b *testing.B, tree string, warm bool) {
	b.Helper()
	program := harness.Program(b)
	harness.Must(b, program, "rootfs", "strip", tree)
	var r harness.Result
	w.wall += timed(func() {
		r = harness.RunMeasured(b, program, slices.Concat([]string{"rootfs", "sign", "--progress=none", "--json"}, w.flags, []string{tree})...)
	})
	w.rss = max(w.rss, r.MaxRSS)
	var report struct{ Signed, Cached int }
	if err := json.Unmarshal([]byte(r.Out), &report); err != nil || r.Code != 0 {
		b.Fatalf("rootfs sign: exit %d, %v\n%s", r.Code, err, r.Err)
	}
	if warm && (report.Signed == 0 || report.Cached != report.Signed) {
		b.Fatalf("only %d of %d signatures are of an earlier run", report.Cached, report.Signed)
	}
}

// hash digests the tree on every core, as all other ways do, and signs nothing.
func (w *way) hash(b *testing.B, tree string) {
	b.Helper()
	w.wall += timed(func() {
		harness.Must(b, harness.Program(b), "rootfs", "sign", "--progress=none", "--dry-run", tree)
	})
}

// BenchmarkCache signs a tree with a key in a file: without a cache, with a cache that has
// every signature, and with the manifest of an earlier run. Its figures are ratios of
// wall-clock time to that of digesting the tree, and the memory that the cache adds. With
// RSA-2048 and a full cache, the aim is 1.5. What can be reached is the floor, of which the
// figures are given, too.
func BenchmarkCache(b *testing.B) {
	harness.Root(b)
	tree := b.TempDir()
	have := harness.CopyOfUsr(b, tree, files(b))
	rows := []string{"| key | only digests | without a cache | full cache | manifest | floor | memory that the cache adds |", "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"}
	for _, algorithm := range []string{"rsa2048", "p256"} {
		b.Run(algorithm, func(b *testing.B) {
			dir := b.TempDir()
			keys, cache, manifest := harness.Keys(b, algorithm), filepath.Join(dir, "cache"), filepath.Join(dir, "manifest.jsonl")
			key := []string{"--key", filepath.Join(keys, "x509_ima.key"), "--cert", filepath.Join(keys, "x509_ima.crt")}
			with := func(flags ...string) *way { return &way{flags: slices.Concat(key, flags)} }
			with("--cache", cache, "--manifest", manifest).sign(b, tree, false)
			var least floor
			hash, none, warm, listed := &way{}, with("--cache", "none"), with("--cache", cache), with("--cache", "none", "--from-manifest", manifest)
			for b.Loop() {
				hash.hash(b, tree)
				none.sign(b, tree, false)
				warm.sign(b, tree, true)
				listed.sign(b, tree, true)
				least.measure(b, tree, algorithm)
			}
			harness.Must(b, harness.Program(b), "rootfs", "verify", "--cert", filepath.Join(keys, "x509_ima.crt"), tree)
			b.ReportMetric(float64(have), "files")
			b.ReportMetric(hash.wall/float64(b.N), "hash-s")
			b.ReportMetric(none.wall/hash.wall, "uncached-of-hash")
			b.ReportMetric(warm.wall/hash.wall, "warm-of-hash")
			b.ReportMetric(listed.wall/hash.wall, "manifest-of-hash")
			bottom := hash.wall + least.verify + least.set
			b.ReportMetric(bottom/hash.wall, "floor-of-hash")
			b.ReportMetric(least.verify/hash.wall, "verify-of-hash")
			b.ReportMetric(least.set/hash.wall, "set-of-hash")
			b.ReportMetric(warm.wall/bottom, "warm-of-floor")
			b.ReportMetric(listed.wall/bottom, "manifest-of-floor")
			b.ReportMetric(float64(warm.rss-none.rss)/1e6, "cache-MB")
			b.ReportMetric(float64(listed.rss-none.rss)/1e6, "manifest-MB")
			b.ReportMetric(0, "ns/op")
			rows = append(rows, fmt.Sprintf("| %s | %.2f s | %.2f | %.2f | %.2f | %.2f | %d MB |", keyName(algorithm), hash.wall/float64(b.N),
				none.wall/hash.wall, warm.wall/hash.wall, listed.wall/hash.wall, bottom/hash.wall, max(warm.rss-none.rss, 0)/1e6))
		})
	}
	record(b, "cache", rows)
}

// BenchmarkToken signs a tree with a token whose signatures take 5 ms each: the first time,
// and again with the cache of the first time. Its figures are the ratio of the first time to
// the least that the calls can take in all sessions, that of the second to digesting the
// tree, and the memory that the cache adds. The aims are 1.1 and 2. What can be reached are the
// floors: the time that the calls take in a loop that does nothing else, and that of the second
// time without the program's own work.
func BenchmarkToken(b *testing.B) {
	harness.Root(b)
	tree, t := b.TempDir(), newToken(b)
	have := harness.CopyOfUsr(b, tree, files(b))
	hash, none := &way{}, &way{flags: append(t.flags(), "--cache", "none")}
	var first, again way
	var calls int
	var alone float64
	var floored floor
	for b.Loop() {
		cache := []string{"--cache", filepath.Join(b.TempDir(), "cache")}
		first.flags, again.flags = append(t.flags(), cache...), append(t.flags(), cache...)
		none.sign(b, tree, false)
		t.Calls(b)
		first.sign(b, tree, false)
		n := t.Calls(b)
		calls += n
		alone += t.sign(b, n)
		t.Calls(b)
		hash.hash(b, tree)
		again.sign(b, tree, true)
		if n := t.Calls(b); n != 0 {
			b.Fatalf("the token made %d signatures that the cache has", n)
		}
		floored.measure(b, tree, "p256")
	}
	harness.Must(b, harness.Program(b), "rootfs", "verify", "--cert", t.cert, tree)
	least := float64(calls) * callTime.Seconds() / sessions
	b.ReportMetric(float64(have), "files")
	b.ReportMetric(float64(calls)/float64(b.N), "calls")
	b.ReportMetric(first.wall/least, "first-of-least")
	b.ReportMetric(none.wall/least, "uncached-of-least")
	b.ReportMetric(alone/least, "alone-of-least")
	b.ReportMetric(first.wall/alone, "first-of-alone")
	bottom := hash.wall + floored.verify + floored.set
	b.ReportMetric(again.wall/hash.wall, "warm-of-hash")
	b.ReportMetric(bottom/hash.wall, "floor-of-hash")
	b.ReportMetric(again.wall/bottom, "warm-of-floor")
	b.ReportMetric(float64(max(first.rss, again.rss)-none.rss)/1e6, "cache-MB")
	b.ReportMetric(0, "ns/op")
	record(b, "token", []string{
		"| run | ratio | floor | aim | to |", "| --- | ---: | ---: | ---: | --- |",
		fmt.Sprintf("| first, the cache is empty | %.2f | %.2f | 1.1 | %s calls × 5 ms / %d sessions |", first.wall/least, alone/least, thousands(calls/b.N), sessions),
		fmt.Sprintf("| second, with the cache | %.2f | %.2f | 2.0 | only digests |", again.wall/hash.wall, bottom/hash.wall),
	})
}
