package rpmsign

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// newc returns an entry of an archive as cpio(5) and rpm's lib/cpio.cc describe it.
func newc(name, text string) []byte {
	b := fmt.Appendf(nil, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1, 0o100644, 0, 0, 1, 0, len(text), 0, 0, 0, 0, len(name)+1, 0)
	return pad4(append(pad4(append(append(b, name...), 0)), text...))
}

// strippedEntry returns an entry of an archive with files over 4 GiB (rpmcpioStrippedHeaderWrite).
func strippedEntry(index int, text string) []byte {
	return pad4(append(pad4(fmt.Appendf(nil, "07070X%08x", index)), text...))
}

func pad4(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }

func trailer() []byte { return newc("TRAILER!!!", "") }

// regular returns a file of a package whose payload a test makes.
func regular(path, text string) file {
	sum := sha256.Sum256([]byte(text))
	return file{Path: path, Mode: 0o644, Size: int64(len(text)), Hash: ima.SHA256, Digest: sum[:]}
}

func linked(f file, inode uint64) file {
	f.Inode = inode
	return f
}

// unpack compares an archive with files.
func unpack(t testing.TB, archive []byte, files ...file) error {
	t.Helper()
	p := &Package{files: files, content: bytes.NewReader(archive), size: int64(len(archive)), main: &header{}}
	return p.checkFiles(t.Context())
}

func TestPayload(t *testing.T) {
	a, b, empty := regular("usr/a", "content of a"), regular("usr/b", "b"), regular("usr/empty", "")
	dir := file{Path: "usr", Mode: fs.ModeDir | 0o755, Size: 4096, Hash: ima.SHA256}
	link := file{Path: "usr/l", Mode: fs.ModeSymlink | 0o777, Size: 1, Link: "a", Hash: ima.SHA256}
	ghost := file{Path: "run/ghost", Mode: 0o644, Size: 9, Flags: fileGhost, Hash: ima.SHA256}
	one, two := linked(regular("usr/one", "shared"), 7), linked(regular("usr/two", "shared"), 7)
	other := linked(regular("usr/two", "shared"), 7)
	other.Digest = b.Digest
	longer := two
	longer.Size++
	join := func(parts ...[]byte) []byte { return append(slices.Concat(parts...), trailer()...) }
	names := [][]byte{newc("./usr/a", "content of a"), newc("./usr/b", "b")}
	for name, c := range map[string]struct {
		archive []byte
		files   []file
		want    error
		say     string
	}{
		"right":                    {join(names...), []file{a, b}, nil, ""},
		"other order":              {join(names[1], names[0]), []file{a, b}, nil, ""},
		"names of source":          {join(newc("usr/a", "content of a"), newc("/usr/b", "b")), []file{a, b}, nil, ""},
		"every kind":               {join(newc("./usr", ""), newc("./usr/l", "a"), newc("./usr/empty", "")), []file{dir, link, empty, ghost}, nil, ""},
		"root":                     {join(newc("./", "")), []file{{Path: ".", Mode: fs.ModeDir}}, nil, ""},
		"other content":            {join(newc("./usr/a", "CONTENT OF A"), names[1]), []file{a, b}, ErrDigest, "usr/a has sha256"},
		"shorter":                  {join(newc("./usr/a", "content"), names[1]), []file{a, b}, ErrMalformed, "7 bytes of usr/a, not 12"},
		"longer":                   {join(newc("./usr/a", "content of a."), names[1]), []file{a, b}, ErrMalformed, "13 bytes of usr/a, not 12"},
		"missing":                  {join(names[0]), []file{a, b}, ErrDigest, "usr/b is not in the payload"},
		"missing directory":        {join(names...), []file{a, b, dir}, ErrDigest, "usr is not in the payload"},
		"twice":                    {join(names[0], names[0], names[1]), []file{a, b}, ErrMalformed, "usr/a twice"},
		"unknown":                  {join(append(names, newc("./etc/passwd", "x"))...), []file{a, b}, ErrMalformed, `"etc/passwd"`},
		"content in directory":     {join(newc("./usr", "x")), []file{dir}, ErrMalformed, "1 bytes of usr"},
		"ghost with content":       {join(newc("./run/ghost", "some")), []file{ghost}, nil, ""},
		"hard link":                {join(newc("./usr/one", ""), newc("./usr/two", "shared")), []file{one, two}, nil, ""},
		"hard link, content first": {join(newc("./usr/one", "shared"), newc("./usr/two", "")), []file{one, two}, ErrMalformed, "6 bytes of usr/one, not 0"},
		"hard link, no name":       {join(newc("./usr/two", "shared")), []file{one, two}, ErrDigest, "usr/one is not"},
		"hard link, other digest":  {join(newc("./usr/one", ""), newc("./usr/two", "shared")), []file{one, other}, ErrDigest, "usr/two has"},
		"hard link, other size":    {join(newc("./usr/two", ""), newc("./usr/one", "shared")), []file{longer, one}, ErrDigest, "usr/two has 6 bytes, not 7"},
		"no trailer":               {slices.Concat(names...), []file{a, b}, ErrTruncated, ""},
		"half a header":            {slices.Concat(names[0], names[1][:50]), []file{a, b}, ErrTruncated, ""},
		"half a file":              {names[0][:len(names[0])-6], []file{a, b}, ErrTruncated, ""},
		"indexed":                  {join(strippedEntry(0, "content of a"), strippedEntry(1, "b"), strippedEntry(2, ""), strippedEntry(3, "")), []file{a, b, empty, dir}, nil, ""},
		"indexed, odd sizes":       {join(strippedEntry(3, "12345"), strippedEntry(0, "1"), strippedEntry(2, "123"), strippedEntry(1, "12")), []file{regular("1", "1"), regular("2", "12"), regular("3", "123"), regular("5", "12345")}, nil, ""},
		"indexed, symlink":         {join(strippedEntry(1, "a"), strippedEntry(0, "content of a")), []file{a, link}, nil, ""},
		"indexed, hard link":       {join(strippedEntry(0, ""), strippedEntry(1, "shared")), []file{one, two}, nil, ""},
		"indexed, other content":   {join(strippedEntry(0, "CONTENT OF A")), []file{a}, ErrDigest, ""},
		"indexed, beyond":          {join(strippedEntry(2, "content of a")), []file{a, b}, ErrMalformed, "index 2"},
		"indexed, twice":           {join(strippedEntry(0, "content of a"), strippedEntry(0, "content of a")), []file{a, b}, ErrMalformed, "twice"},
		"indexed, truncated":       {strippedEntry(0, "content of a")[:20], []file{a}, ErrTruncated, ""},
		"indexed, half":            {strippedEntry(0, "content of a")[:15], []file{a}, ErrTruncated, ""},
		"negative index":           {[]byte("07070X-0000001\x00\x00"), []file{a}, ErrMalformed, "not a number"},
		"huge index":               {[]byte("07070Xffffffff\x00\x00"), []file{a}, ErrMalformed, ""},
		"negative size":            {bytes.Replace(join(names[0]), []byte("0000000c"), []byte("-000000c"), 1), []file{a}, ErrMalformed, "not a number"},
		"huge size":                {bytes.Replace(join(names[0]), []byte("0000000c"), []byte("ffffffff"), 1), []file{a}, ErrMalformed, "4294967295 bytes"},
		"huge name":                {bytes.Replace(join(names[0]), []byte("00000008"), []byte("7fffffff"), 1), []file{a}, ErrMalformed, "name of 2147483647 bytes"},
		"no name":                  {bytes.Replace(join(names[0]), []byte("00000008"), []byte("00000000"), 1), []file{a}, ErrMalformed, "name of 0 bytes"},
		"name without end":         {bytes.Replace(join(names[0]), []byte("./usr/a\x00"), []byte("./usr/aa"), 1), []file{a}, ErrMalformed, "does not end"},
		"other magic":              {bytes.Replace(join(names...), []byte("070701"), []byte("070707"), 1), []file{a, b}, ErrMalformed, `"070707"`},
	} {
		err := unpack(t, c.archive, c.files...)
		if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v, want %v: %s", name, err, c.want, c.say)
		}
	}
}

// TestManyComplaints checks that an error names some of the files and counts the others.
func TestManyComplaints(t *testing.T) {
	var files []file
	var archive []byte
	for i := range 50 {
		files = append(files, regular(fmt.Sprint(i), "right"))
		archive = append(archive, newc(fmt.Sprint("./", i), "wrong")...)
	}
	err := unpack(t, append(archive, trailer()...), files...)
	if !errors.Is(err, ErrDigest) || !strings.Contains(err.Error(), "50 files") || !strings.Contains(err.Error(), "30 more") {
		t.Error(err)
	}
}

// TestFileDigestInConsistentPackage checks a package in which only the digest of one file is
// wrong.
func TestFileDigestInConsistentPackage(t *testing.T) {
	for _, name := range []string{"zstd", "xz", "gzip", "bzip2", "lzma", "uncompressed", "sha512", "el6"} {
		f := parts(t, name)
		e, _ := packages.Find(f.Header, uint32(tagFileDigests))
		list := e.Strings()
		i := slices.IndexFunc(list, func(s string) bool { return s != "" })
		list[i] = strings.Map(func(r rune) rune { return map[bool]rune{true: '1', false: '0'}[r == '0'] }, list[i])
		set(f.Header, uint32(tagFileDigests), strings0(list...))
		header, payload, files := checked(t, pack(f))
		if header != nil || payload != nil || !errors.Is(files, ErrDigest) || !strings.Contains(files.Error(), list[i]) {
			t.Errorf("%s: header %v, payload %v, files %v", name, header, payload, files)
		}
	}
}

// TestCpioOfOthers reads an archive by GNU cpio.
func TestCpioOfOthers(t *testing.T) {
	harness.Tool(t, "cpio")
	dir := t.TempDir()
	var files []file
	for i := range 30 {
		text := strings.Repeat("x", i)
		check(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte(text), 0o644))
		files = append(files, regular(fmt.Sprint(i), text))
	}
	cmd := exec.Command("sh", "-c", "find . -type f | cpio --quiet -o -H newc")
	cmd.Dir = dir
	archive, err := cmd.Output()
	check(t, err)
	check(t, unpack(t, archive, files...))
}

// bomb is an endless archive of one file, which is small according to its header.
func bomb(size string) io.Reader {
	head := newc("./usr/a", "")
	head = slices.Concat(head[:newcFileSize], []byte(size), head[newcFileSize+8:])
	return io.MultiReader(bytes.NewReader(head), io.LimitReader(zeros{}, 64<<20))
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TestBombs checks that a payload that unpacks to more than the header states is refused
// before it is unpacked, and takes little memory.
func TestBombs(t *testing.T) {
	var gz, zst bytes.Buffer
	w := gzip.NewWriter(&gz)
	must(io.Copy(w, bomb("ffffffff")))
	check(t, w.Close())
	z := must(zstd.NewWriter(&zst))
	must(io.Copy(z, bomb("ffffffff")))
	check(t, z.Close())
	for name, archive := range map[string][]byte{"gzip": gz.Bytes(), "zstd": zst.Bytes()} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := unpack(t, archive, regular("usr/a", "small"))
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, ErrMalformed) || n > 32<<20 {
			t.Errorf("%s: %v, allocated %d bytes", name, err, n)
		}
	}
}

// TestHugeWindows checks that decompressors refuse windows larger than those of rpmbuild's
// presets.
func TestHugeWindows(t *testing.T) {
	lzma := append([]byte{0x5d, 0, 0, 0, 0x40}, bytes.Repeat([]byte{0xff}, 40)...)
	// A frame header with a window of 256 MiB (RFC 8878, section 3.1.1.1.2).
	zst := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 18 << 3, 1, 0, 0}, make([]byte, 40)...)
	for name, c := range map[string]struct {
		payload []byte
		say     string
	}{
		"lzma": {lzma, "window of 1073741824 bytes"}, "zstd": {zst, "window size exceeded"},
		"xz": {xzWindow(40), "dictionary size exceeds"}, "xz of 192 MiB": {xzWindow(31), "dictionary size exceeds"},
		"xz of 128 MiB": {xzWindow(30), "corrupt"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := unpack(t, c.payload, regular("usr/a", "small"))
		runtime.ReadMemStats(&after)
		n := after.TotalAlloc - before.TotalAlloc
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.say) || n > 16<<20 && c.say != "corrupt" {
			t.Errorf("%s: %v, allocated %d bytes", name, err, n)
		}
	}
}

// xzWindow returns the start of a stream with a dictionary size by its code (section 5.3.1 of
// the .xz file format).
func xzWindow(code byte) []byte {
	b := must(hex.DecodeString("fd377a585a000004e6d6b446" + "02002101ff000000"))
	b[16] = code
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[12:]))
	return append(b, bytes.Repeat([]byte{0x55}, 60)...)
}

func TestPayloadFormats(t *testing.T) {
	for _, start := range []string{"", "drpm", "\x1f\x8b", "BZh9", "\xfd7zXZ\x00", "\x28\xb5\x2f\xfd", "0707", "\x5d\x00\x00\x80\x00"} {
		if err := unpack(t, []byte(start), regular("a", "a")); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTruncated) {
			t.Errorf("%q: %v", start, err)
		}
	}
	f := parts(t, "zstd")
	set(f.Header, uint32(tagPayloadFormat), strings0("drpm"))
	if _, payload, files := checked(t, pack(f)); payload != nil || !errors.Is(files, ErrMalformed) {
		t.Errorf("payload %v, files %v", payload, files)
	}
}

// TestUndigested checks that a regular file without a digest, or with zeros, cannot be signed,
// and that rpm does not install it.
func TestUndigested(t *testing.T) {
	for name, digest := range map[string]string{"none": "", "zeros": strings.Repeat("0", 64)} {
		f := parts(t, "zstd")
		digests, _ := packages.Find(f.Header, uint32(tagFileDigests))
		list := digests.Strings()
		list[slices.IndexFunc(list, func(s string) bool { return s != "" })] = digest
		set(f.Header, uint32(tagFileDigests), strings0(list...))
		path := put(t, f.Pack())
		p, err := Open(path, Options{})
		check(t, err)
		defer p.Close()
		if d := p.Defects(); len(d) != 1 || d[0].Flaw != flawUndigested || d[0].Flaw.Harmless() {
			t.Errorf("%s: %v", name, d)
		}
		check(t, p.Check(t.Context(), CheckPayload))
		if err := p.Check(t.Context(), CheckFiles); !errors.Is(err, ErrDigest) || !strings.Contains(err.Error(), "has no digest") {
			t.Errorf("%s: %v", name, err)
		}
		if r := harness.Run(t, "rpm", "-i", "--nodeps", "--noscripts", "--root", t.TempDir(), path); r.Code == 0 {
			t.Errorf("%s: rpm installs it", name)
		}
	}
	for _, name := range []string{"el5", "md5", "rpm3", "rich"} { // their empty files, ghosts and directories have no digest
		p := mustParse(t, content(t, packages.Path(t, name)))
		if slices.ContainsFunc(p.Defects(), func(d Defect) bool { return d.Flaw == flawUndigested }) {
			t.Errorf("%s: %v", name, p.Defects())
		}
	}
}
