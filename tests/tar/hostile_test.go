package tar

import (
	"archive/tar"
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// memory is a limit that no input may make the program exceed, in bytes.
const memory = 150 << 20

// signHostile signs an archive as a file and through a pipe, strips and verifies it, and
// returns the result of signing.
func signHostile(t *testing.T, keys keySet, in string) harness.Result {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.tar")
	program, name := harness.Program(t), filepath.Join(string(keys), "x509_ima")
	sign := []string{"tar", "sign", "--progress=none", "--force", "--key", name + ".key", "--cert", name + ".crt"}
	file := harness.RunMeasured(t, program, append(sign, in, "-o", out)...)
	if _, err := os.Stat(out); (err == nil) != (file.Code == 0) {
		t.Errorf("exit %d, output: %v", file.Code, err)
	}
	pipe := exec.Command(program, append(sign, "-", "-o", "-")...)
	f, err := os.Open(in)
	check(t, err)
	defer f.Close()
	// Not the *os.File itself, which the program could seek in.
	pipe.Stdin = struct{ io.Reader }{f}
	pipe.Stdout = io.Discard
	results := []harness.Result{file, harness.RunCommandMeasured(t, pipe),
		harness.RunMeasured(t, program, "tar", "strip", in, "-o", out), harness.RunMeasured(t, program, "tar", "verify", "--cert", keys.certificate(), in)}
	for i, r := range results {
		if r.MaxRSS > memory {
			t.Errorf("run %d took %d MB", i, r.MaxRSS>>20)
		}
		if r.Code < 0 || r.Code > 3 || strings.Contains(r.Err, "goroutine ") || r.Code == 1 && r.Err == "" {
			t.Errorf("run %d: exit %d\n%.500s", i, r.Code, r.Err)
		}
		if i < 3 && r.Code != file.Code {
			t.Errorf("run %d: exit %d, not %d as for the file\n%s", i, r.Code, file.Code, r.Err)
		}
	}
	return file
}

// archiveOf writes an archive with archive/tar.
func archiveOf(t *testing.T, fill func(*tar.Writer)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "in.tar")
	f, err := os.Create(path)
	check(t, err)
	buf := bufio.NewWriter(f)
	w := tar.NewWriter(buf)
	fill(w)
	_ = w.Close() // fails because content is missing, which is intended
	check(t, buf.Flush())
	check(t, f.Close())
	return path
}

// entry writes an entry whose header may promise more than its content.
func entry(t *testing.T, w *tar.Writer, h tar.Header, content string) {
	t.Helper()
	if h.Mode == 0 {
		h.Mode = 0o644
	}
	if h.Size == 0 {
		h.Size = int64(len(content))
	}
	check(t, w.WriteHeader(&h))
	_, err := io.WriteString(w, content)
	check(t, err)
}

// checksummed sets a header block's checksum.
func checksummed(block []byte) []byte {
	copy(block[148:156], "        ")
	sum := 0
	for _, c := range block[:512] {
		sum += int(c)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return block
}

// patched changes the first header block of an archive.
func patched(t *testing.T, change func(block []byte), rest int) string {
	t.Helper()
	path := archiveOf(t, func(w *tar.Writer) { entry(t, w, tar.Header{Name: "file"}, "content") })
	text := []byte(read(t, path))
	change(text)
	checksummed(text)
	write(t, path, string(text[:len(text)-rest]))
	return path
}

// TestHostile checks that each archive is refused with a clear error, or signed without
// harm.
func TestHostile(t *testing.T) {
	keys := newKeys(t)
	file := func(w *tar.Writer, name string) { entry(t, w, tar.Header{Name: name}, "content") }
	for name, c := range map[string]struct {
		archive func() string
		says    string // part of the error; "" if the archive is signed
	}{
		"parent directories": {func() string {
			return archiveOf(t, func(w *tar.Writer) { file(w, "../../etc/passwd"); file(w, "a/../../b"); file(w, "..") })
		}, ""},
		"absolute names": {func() string { return archiveOf(t, func(w *tar.Writer) { file(w, "/etc/passwd"); file(w, "//x") }) }, ""},
		"device nodes": {func() string {
			return archiveOf(t, func(w *tar.Writer) {
				entry(t, w, tar.Header{Name: "mem", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 1}, "")
				entry(t, w, tar.Header{Name: "disk", Typeflag: tar.TypeBlock, Devmajor: 8}, "")
				file(w, "file")
			})
		}, ""},
		"links everywhere": {func() string {
			return archiveOf(t, func(w *tar.Writer) {
				entry(t, w, tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "a"}, "")
				entry(t, w, tar.Header{Name: "b", Typeflag: tar.TypeLink, Linkname: "/etc/shadow"}, "")
				entry(t, w, tar.Header{Name: "c", Typeflag: tar.TypeSymlink, Linkname: "../../.."}, "")
				file(w, "file")
				file(w, "file")
				entry(t, w, tar.Header{Name: "d", Typeflag: tar.TypeLink, Linkname: "file"}, "")
				entry(t, w, tar.Header{Name: "e", Typeflag: tar.TypeLink, Linkname: "c"}, "")
			})
		}, ""},
		"trailing garbage": {func() string {
			path := archiveOf(t, func(w *tar.Writer) { file(w, "file") })
			write(t, path, read(t, path)+strings.Repeat("garbage", 10_000))
			return path
		}, ""},
		"no end": {func() string {
			path := archiveOf(t, func(w *tar.Writer) { file(w, "file") })
			write(t, path, read(t, path)[:1024])
			return path
		}, ""},
		"huge size": {func() string { return patched(t, func(b []byte) { copy(b[124:], "77777777777\x00") }, 0) }, "cut short"},
		"base-256 size": {func() string {
			return patched(t, func(b []byte) { copy(b[124:], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff") }, 0)
		}, "cut short"},
		"negative size": {func() string {
			return patched(t, func(b []byte) { copy(b[124:], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff") }, 0)
		}, "size field"},
		"no number":            {func() string { return patched(t, func(b []byte) { copy(b[124:], "no number") }, 0) }, "size field"},
		"cut content":          {func() string { return patched(t, func([]byte) {}, 1536) }, "cut short"},
		"cut header":           {func() string { return patched(t, func([]byte) {}, 2048-100) }, "cut short"},
		"directory of content": {func() string { return patched(t, func(b []byte) { b[156] = '5' }, 0) }, "with content"},
		"extension of 8 GiB":   {func() string { return patched(t, func(b []byte) { b[156] = 'x'; copy(b[124:], "77777777777\x00") }, 0) }, "larger than allowed"},
		"extension to nothing": {func() string { return patched(t, func(b []byte) { b[156] = 'L' }, 0) }, "without an entry"},
		"garbage for records":  {func() string { return patched(t, func(b []byte) { b[156] = 'x' }, 0) }, "pax record"},
		"pax size": {func() string {
			path := archiveOf(t, func(w *tar.Writer) {
				entry(t, w, tar.Header{Name: "f", PAXRecords: map[string]string{"VENDOR.a": "1"}, Format: tar.FormatPAX}, "content")
			})
			write(t, path, strings.Replace(read(t, path), "14 VENDOR.a=1\n", "14 size=123456\n", 1))
			return path
		}, "not a valid tar archive"},
		"global size": {func() string {
			return archiveOf(t, func(w *tar.Writer) {
				check(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"SCHILY.xattr.security.ima": "x"}}))
				file(w, "file")
			})
		}, "global header"},
		"petabytes of holes": {func() string {
			return patched(t, func(b []byte) {
				b[156] = 'S'
				copy(b[257:], "ustar  \x00")
				copy(b[386:], "00000000000\x0000000000007\x00")
				copy(b[410:], "\x80\x00\x00\x00\x00\x0f\xff\xff\xff\xff\xff\xff00000000000\x00")
				copy(b[483:], "\x80\x00\x00\x00\x00\x0f\xff\xff\xff\xff\xff\xff")
			}, 0)
		}, "unpack-limit"},
		"a bomb": {func() string {
			path := filepath.Join(t.TempDir(), "bomb")
			check(t, exec.Command("sh", "-c", "head -c 256M /dev/zero | gzip -1 >"+path).Run())
			return path
		}, ""},
		"noise": {func() string {
			path := filepath.Join(t.TempDir(), "noise")
			check(t, exec.Command("sh", "-c", "head -c 20M /dev/urandom >"+path).Run())
			return path
		}, "not a valid tar archive"},
		"not gzip": {func() string {
			path := filepath.Join(t.TempDir(), "noise")
			write(t, path, "\x1f\x8b\x08 is not all that it takes")
			return path
		}, "compression gzip"},
		"xz with a dictionary of 3 GiB": {func() string {
			path := archiveOf(t, func(w *tar.Writer) { file(w, "file") })
			check(t, exec.Command("xz", "--lzma2=preset=0,dict=1536MiB", path).Run())
			return path + ".xz"
		}, "128 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			r := signHostile(t, keys, c.archive())
			switch {
			case c.says == "" && r.Code != 0:
				t.Errorf("exit %d\n%s", r.Code, r.Err)
			case c.says != "" && (r.Code != 1 || !strings.Contains(r.Err, c.says)):
				t.Errorf("exit %d, without %q\n%s", r.Code, c.says, r.Err)
			}
		})
	}
}

// TestUnpackLimit checks that unpacking stops at the limit.
func TestUnpackLimit(t *testing.T) {
	dir := t.TempDir()
	bomb := filepath.Join(dir, "bomb")
	harness.Must(t, "sh", "-c", "head -c 100M /dev/zero | gzip -1 >"+bomb)
	r := harness.Run(t, harness.Program(t), "tar", "strip", "--unpack-limit", "1000000", bomb, "-o", filepath.Join(dir, "out.tar"))
	if r.Code != 1 || !strings.Contains(r.Err, "larger than allowed") || others(t, dir) != 1 {
		t.Errorf("exit %d\n%s", r.Code, r.Err)
	}
}

// TestManyTinyEntries signs an archive of very many files of one byte.
func TestManyTinyEntries(t *testing.T) {
	keys, entries := newKeys(t), 70_000
	if harness.Nightly() {
		entries = 200_000
	}
	in := archiveOf(t, func(w *tar.Writer) {
		for i := range entries {
			entry(t, w, tar.Header{Name: fmt.Sprint("d/", i%7, "/", i)}, "x")
		}
	})
	out := filepath.Join(t.TempDir(), "out.tar")
	name := filepath.Join(string(keys), "x509_ima")
	r := harness.RunMeasured(t, harness.Program(t), "tar", "sign", "--progress=none", "--key", name+".key", "--cert", name+".crt", in, "-o", out)
	if r.Code != 0 || !strings.Contains(r.Out, fmt.Sprintf("%d,000 signed", entries/1000)) || r.MaxRSS > memory {
		t.Errorf("exit %d, %d MB\n%s%s", r.Code, r.MaxRSS>>20, r.Out, r.Err)
	}
}

// TestOutputIsWholeOrNotThere kills a run, interrupts it, and lets its disk run full.
func TestOutputIsWholeOrNotThere(t *testing.T) {
	keys, dir := newKeys(t), t.TempDir()
	in, out := filepath.Join(dir, "in.tar"), filepath.Join(dir, "out.tar.xz") // slow to write
	harness.Must(t, "sh", "-c", "tar -cf "+in+" -C /usr/bin .")
	name := filepath.Join(string(keys), "x509_ima")
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGTERM} {
		write(t, out, "what was there")
		cmd := exec.Command(harness.Program(t), "tar", "sign", "--progress=none", "--key", name+".key", "--cert", name+".crt", in, "-o", out)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		check(t, cmd.Start())
		for others(t, dir) == 2 { // until the temporary file is there
			time.Sleep(time.Millisecond)
		}
		time.Sleep(200 * time.Millisecond)
		check(t, cmd.Process.Signal(signal))
		_ = cmd.Wait()
		if read(t, out) != "what was there" {
			t.Fatalf("%v: the output was replaced", signal)
		}
		if signal != syscall.SIGKILL && (cmd.ProcessState.ExitCode() != 1 || !strings.Contains(errs.String(), "interrupted") || others(t, dir) > 2) {
			t.Errorf("%v: exit %d, %d files\n%s", signal, cmd.ProcessState.ExitCode(), others(t, dir), errs.String())
		}
		if signal == syscall.SIGKILL {
			harness.Must(t, "find", dir, "-name", ".*", "-delete")
		}
	}
	small := filepath.Join(dir, "small")
	check(t, os.Mkdir(small, 0o755))
	check(t, unix.Mount("tmpfs", small, "tmpfs", 0, "size=1m"))
	defer unix.Unmount(small, unix.MNT_DETACH)
	r := harness.Run(t, harness.Program(t), "tar", "sign", "--key", name+".key", "--cert", name+".crt", in, "-o", filepath.Join(small, "out.tar"))
	if r.Code != 1 || !strings.Contains(r.Err, "no space left") || others(t, small) != 0 {
		t.Errorf("full disk: exit %d, %d files\n%s", r.Code, others(t, small), r.Err)
	}
}

func others(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	return len(entries)
}
