package imagetree

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"strings"
)

// source returns numbers that depend only on the name.
func source(name string) *rand.ChaCha8 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, name) // hashing cannot fail
	return rand.NewChaCha8([32]byte(bytes.Repeat(h.Sum(nil), 4)))
}

// random returns bytes that cannot be compressed.
func random(name string, size int) []byte {
	b := make([]byte, size)
	_, _ = source(name).Read(b) // ChaCha8 cannot fail
	return b
}

// text returns bytes that can be compressed, with short and long repetitions.
func text(name string, size int) []byte {
	words := strings.Fields("the file system keeps every block of a large file in one extent or in many small ones 0x7f 4096 \x00\x00\x00\x00 return static int")
	r := rand.New(source(name))
	var b bytes.Buffer
	for b.Len() < size {
		if b.Len() > 1000 && r.IntN(100) == 0 {
			b.Write(b.Bytes()[:1000])
		}
		fmt.Fprintf(&b, "%s %d\n", words[r.IntN(len(words))], r.IntN(1000))
	}
	return b.Bytes()[:size]
}

// contents makes files of sizes and contents that readers decode in different ways.
func (m *maker) contents() {
	for _, block := range []int{512, 1024, 4096, 16 << 10, 64 << 10, 128 << 10, 1 << 20} {
		if block > m.pick(64<<10, 1<<20, 1<<20) {
			continue
		}
		for _, size := range []int{block - 1, block, block + 1} {
			m.file(fmt.Sprintf("sizes/text%d", size), 0o644, text("sizes", size))
			if block < 128<<10 {
				m.file(fmt.Sprintf("sizes/random%d", size), 0o644, random("sizes", size))
			}
		}
	}
	for _, size := range []int{0, 1, 2, 59, 60, 61, 100, 160, 161, 3000} {
		m.file(fmt.Sprintf("sizes/%d", size), 0o644, random("small", size))
	}
	m.file("large/text", 0o644, text("large", m.pick(300<<10, 3<<20, 40<<20)+77))
	m.file("large/random", 0o644, random("large", m.pick(150<<10, 2<<20, 25<<20)+77))
	m.file("large/zeros", 0o644, make([]byte, m.pick(200<<10, 1<<20, 8<<20)))
	m.file("large/same", 0o644, bytes.Repeat(random("same", 4096), m.pick(50, 200, 1000)))
	m.file("large/mixed", 0o644, mixed(m.pick(200<<10, 1<<20, 8<<20)))
	m.file("large/shifted", 0o644, append([]byte("shift"), mixed(m.pick(200<<10, 1<<20, 8<<20))...)) // for deduplication
	m.executable()
}

// mixed returns pieces of text and of random bytes, so that some blocks are stored as they
// are.
func mixed(size int) []byte {
	var b []byte
	for i := 0; len(b) < size; i++ {
		name := fmt.Sprint("mixed", i)
		b = append(append(b, text(name, 30_000+i*1000)...), random(name, 40_000)...)
	}
	return b[:size]
}

// executable copies machine code, which BCJ filters change.
func (m *maker) executable() {
	self, err := os.Open("/proc/self/exe")
	m.must("/proc/self/exe", err)
	defer self.Close() //nolint:errcheck // it was only read
	code, err := io.ReadAll(io.LimitReader(self, int64(m.pick(200<<10, 2<<20, 16<<20))))
	m.must("/proc/self/exe", err)
	m.file("large/program", 0o755, code)
}

// holes makes sparse files.
func (m *maker) holes() {
	if !m.with(Holes) {
		return
	}
	gap := int64(m.pick(2, 20, 900)) << 20
	m.sparse("holes/middle", gap+8192, 0, gap+4096)
	m.sparse("holes/first", gap/4+4000, gap/4)
	m.sparse("holes/short", 3*4096, 8192)
	if m.with(TailHoles) {
		m.sparse("holes/last", gap/4+1, 4096)
		m.sparse("holes/only", gap/8)
		m.sparse("holes/small", 5000, 0)
		m.sparse("holes/tiny", 100)
	}
	// More than 4 * 340 extents need two levels below the inode, in blocks of 4 KiB.
	var at []int64
	for i := range int64(m.pick(100, 1400, 3000)) {
		at = append(at, i*8192)
	}
	m.sparse("holes/extents", int64(len(at))*8192-4096, at...)
}

// sparse makes a file of a size with a block of data, or less, at some offsets.
func (m *maker) sparse(name string, size int64, at ...int64) {
	f, err := os.Create(m.path(name))
	m.must(name, err)
	defer func() { m.must(name, f.Close()) }()
	for _, offset := range at {
		block := text(fmt.Sprint(name, offset), int(min(4096, size-offset)))
		_, err := f.WriteAt(block, offset)
		m.must(name, err)
	}
	m.must(name, errors.Join(f.Truncate(size), f.Chmod(0o644)))
}
