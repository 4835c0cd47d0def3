package rpmsign

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// large makes a package of n files without a matching payload: signing does not unpack it.
func large(t testing.TB, n int) []byte {
	t.Helper()
	f := parts(t, "empty")
	var names, digests bytes.Buffer
	var indexes, sizes, modes []byte
	for i := range n {
		fmt.Fprintf(&names, "file-%d.h\x00", i)
		fmt.Fprintf(&digests, "%x\x00", sha256.Sum256(fmt.Append(nil, i)))
		indexes = binary.BigEndian.AppendUint32(indexes, uint32(i/1000))
		sizes = binary.BigEndian.AppendUint32(sizes, 1)
		modes = binary.BigEndian.AppendUint16(modes, 0o100644)
	}
	var dirs bytes.Buffer
	for i := range n/1000 + 1 {
		fmt.Fprintf(&dirs, "/usr/share/large/%d/\x00", i)
	}
	count := uint32(n)
	f.Header = packages.Without(f.Header, uint32(tagFileDigestAlgo))
	for _, tag := range []packages.Tag{
		{Tag: uint32(tagFileSizes), Type: packages.TypeInt32, Count: count, Data: sizes},
		{Tag: uint32(tagFileModes), Type: packages.TypeInt16, Count: count, Data: modes},
		{Tag: uint32(tagFileDigests), Type: packages.TypeStringArray, Count: count, Data: digests.Bytes()},
		{Tag: uint32(tagDirIndexes), Type: packages.TypeInt32, Count: count, Data: indexes},
		{Tag: uint32(tagBaseNames), Type: packages.TypeStringArray, Count: count, Data: names.Bytes()},
		{Tag: uint32(tagDirNames), Type: packages.TypeStringArray, Count: uint32(n/1000 + 1), Data: dirs.Bytes()},
		{Tag: uint32(tagFileDigestAlgo), Type: packages.TypeInt32, Count: 1, Data: int32s(8)},
	} {
		f.Header = insert(f.Header, tag)
	}
	return pack(f)
}

func benchmark(b *testing.B, content []byte, work func(path string)) {
	dir := memory(b)
	path := filepath.Join(dir, "p.rpm")
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		check(b, os.WriteFile(path, content, 0o644))
		b.StartTimer()
		work(path)
	}
}

// BenchmarkSign signs packages whose digests were signed before, so it measures everything
// except the key.
func BenchmarkSign(b *testing.B) {
	small := content(b, packages.Path(b, "zstd"))
	for name, c := range map[string][]byte{"small": small, "20000 files": large(b, 20_000)} {
		b.Run(name, func(b *testing.B) {
			s := signer(b, "p256")
			benchmark(b, c, func(path string) { run(b, s, path) })
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for name, c := range map[string][]byte{"small": content(b, packages.Path(b, "zstd")), "20000 files": large(b, 20_000)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(c)))
			b.ReportAllocs()
			for b.Loop() {
				mustParse(b, c)
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	c := content(b, packages.Path(b, "rich"))
	for _, l := range []Level{CheckHeader, CheckPayload, CheckFiles} {
		b.Run(string(l), func(b *testing.B) {
			b.SetBytes(int64(len(c)))
			b.ReportAllocs()
			p := mustParse(b, c)
			for b.Loop() {
				check(b, p.Check(b.Context(), l))
			}
		})
	}
}

// TestMemory signs two packages of 20,000 files side by side.
func TestMemory(t *testing.T) {
	dir := memory(t)
	paths := []string{filepath.Join(dir, "a.rpm"), filepath.Join(dir, "b.rpm")}
	for _, path := range paths {
		check(t, os.WriteFile(path, large(t, 20_000), 0o644))
	}
	s := signer(t, "p256")
	used := func() uint64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	runtime.GC()
	base, most, done := used(), uint64(0), make(chan error)
	go func() {
		var g errgroup.Group
		for _, path := range paths {
			g.Go(func() error { return s.Run(t.Context(), unit{Path: path}).Err })
		}
		done <- g.Wait()
	}()
	for {
		select {
		case err := <-done:
			check(t, err)
			if most < base || most-base > 150<<20 {
				t.Errorf("%d bytes at most", most-base)
			}
			t.Logf("%d bytes at most", most-base)
			return
		case <-time.After(time.Millisecond):
			most = max(most, used())
		}
	}
}

// BenchmarkReread measures the second reader.
func BenchmarkReread(b *testing.B) {
	for name, c := range map[string][]byte{"small": content(b, packages.Path(b, "zstd")), "20000 files": large(b, 20_000)} {
		b.Run(name, func(b *testing.B) {
			path := put(b, c)
			run(b, signer(b, "p256"), path)
			p := mustParse(b, content(b, path))
			b.ReportAllocs()
			for b.Loop() {
				check(b, p.reread(p.content, p.mainAt-leadSize, p.sig.kept()))
			}
		})
	}
}
