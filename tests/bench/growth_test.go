package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// growthSizes are the numbers of files that BenchmarkGrowth measures.
var growthSizes = []int{1_000, 10_000, 25_000, 50_000, 100_000, 150_000, 200_000}

// BenchmarkGrowth signs trees of up to 200,000 small files on a tmpfs, with a key in a file:
// without a cache, with an empty one, and with a full one. It writes docs/growth.svg and a
// table of docs/benchmarks.md.
func BenchmarkGrowth(b *testing.B) {
	onlyWriting(b)
	tree := smallFiles(b)
	keys := harness.Keys(b, "p256")
	key := []string{"--key", filepath.Join(keys, "x509_ima.key"), "--cert", filepath.Join(keys, "x509_ima.crt")}
	names := []string{"no cache", "empty cache", "full cache"}
	var seconds, megabytes [3]line
	for b.Loop() {
		seconds, megabytes = [3]line{}, [3]line{}
		have := 0
		for _, size := range growthSizes {
			tree.grow(b, have, size)
			have = size
			cache := filepath.Join(b.TempDir(), "cache")
			for i, flag := range []string{"none", cache, cache} {
				w := way{flags: append(key[:4:4], "--cache", flag)}
				w.sign(b, tree.dir, i == 2)
				seconds[i] = append(seconds[i], point{float64(size), w.wall})
				megabytes[i] = append(megabytes[i], point{float64(size), float64(w.rss) / 1e6})
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	chart := svg(panel{"time, seconds", names, seconds[:]}, panel{"peak memory, MB", names, megabytes[:]})
	if err := os.WriteFile(filepath.Join(docs, "growth.svg"), []byte(chart), 0o644); err != nil {
		b.Fatal(err)
	}
	record(b, "growth", growthTable(names, seconds[:], megabytes[:]))
}

func growthTable(names []string, seconds, megabytes []line) []string {
	rows := []string{"![Time and peak memory of signing 1,000 to 200,000 files](growth.svg)", "", "| files | " + strings.Join(names, " | ") + " |", "| ---: |" + strings.Repeat(" ---: |", len(names))}
	for i, size := range growthSizes {
		row := "| " + thousands(size) + " |"
		for j := range names {
			row += fmt.Sprintf(" %.2f s, %.0f MB |", seconds[j][i].y, megabytes[j][i].y)
		}
		rows = append(rows, row)
	}
	return rows
}

// small is a tree of small files on a tmpfs.
type small struct{ dir string }

func smallFiles(b *testing.B) small {
	b.Helper()
	dir := b.TempDir()
	harness.Must(b, "mount", "-t", "tmpfs", "-o", "size=2G,nr_inodes=1M", "tmpfs", dir)
	b.Cleanup(func() { harness.Must(b, "umount", dir) })
	return small{dir}
}

// grow adds files of 1 KiB, which all differ, until there are n. A directory has 100 of them.
func (s small) grow(b *testing.B, have, n int) {
	b.Helper()
	text := make([]byte, 1024)
	for i := have; i < n; i++ {
		dir := filepath.Join(s.dir, fmt.Sprintf("%05d", i/100))
		copy(text, fmt.Sprintf("file %d\n", i))
		err := os.MkdirAll(dir, 0o755)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d", i%100)), text, 0o644)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
