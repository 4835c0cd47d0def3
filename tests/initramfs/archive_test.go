package initramfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// bundle makes a bundle that contains everything, and returns its path.
func bundle(t *testing.T, name string, flags ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), name)
	args := append([]string{
		"initramfs", "bundle", "-o", out, "--busybox", harness.Tool(t, "busybox"),
		"--cert", sharedPath(t, "keys/x509_ima.crt"), "--cert", sharedPath(t, "keys/x509_ima_rpm.der"),
		"--secondary", sharedPath(t, "keys/x509_secondary.crt"), "--ca", sharedPath(t, "keys/system_trusted_key.crt"),
	}, flags...)
	harness.Must(t, harness.Program(t), args...)
	return out
}

// listing returns the names, metadata and contents of a tree, as printed by find. It
// leaves out the times of links and directories, which bsdtar and cpio set differently.
func listing(t *testing.T, dir string) string {
	t.Helper()
	return harness.Must(t, "sh", "-euc", `cd "$1"
		find . -mindepth 1 ! -type f -printf '%y %m %P %l\n' -o -type f -printf '%y %m %P %T@ ' -exec sha256sum {} \; | LC_ALL=C sort`, "-", dir)
}

// TestArchiveIsTheDirectory checks that GNU cpio and bsdtar extract the archive to the
// same files as in the directory, owned by root.
func TestArchiveIsTheDirectory(t *testing.T) {
	archive, dir := bundle(t, "x.cpio"), bundle(t, "x")
	want := listing(t, dir)
	for _, name := range []string{"bin/busybox", "l 777 bin/sh busybox", "etc/keys/x509_ima.der", "etc/keys/x509_ima_rpm.der", "etc/keys/x509_secondary.der", "etc/ima/ima_policy.default", "f 755 init", "d 755 sysroot"} {
		if !strings.Contains(want, name) {
			t.Errorf("no %s in\n%s", name, want)
		}
	}
	for _, extract := range []string{`cpio -idm --quiet --no-absolute-filenames <"$2"`, `bsdtar -xpf "$2"`} {
		out := t.TempDir()
		harness.Must(t, "sh", "-euc", `cd "$1"; umask 0; `+extract, "-", out, archive)
		if got := listing(t, out); got != want {
			t.Errorf("%s:\n%s\nnot\n%s", extract, got, want)
		}
	}
	for line := range strings.Lines(harness.Must(t, "bsdtar", "-tvf", archive)) {
		if fields := strings.Fields(line); fields[2] != "0" || fields[3] != "0" {
			t.Errorf("not root's: %s", line)
		}
	}
}

// TestCompressed checks that each compression program decompresses its archive. The
// kernel reads only xz with CRC32, and only lz4 in the legacy format.
func TestCompressed(t *testing.T) {
	plain, err := os.ReadFile(bundle(t, "x.cpio"))
	if err != nil {
		t.Fatal(err)
	}
	for suffix, tool := range map[string]string{"gz": "gzip", "zst": "zstd", "xz": "xz", "bz2": "bzip2", "lz4": "lz4"} {
		file := bundle(t, "x.cpio."+suffix)
		if got := harness.Must(t, harness.Tool(t, tool), "-dc", file); got != string(plain) {
			t.Errorf("%s gives other bytes", tool)
		}
		again, err := os.ReadFile(bundle(t, "y.cpio."+suffix))
		first, err2 := os.ReadFile(file)
		if err != nil || err2 != nil || string(first) != string(again) {
			t.Errorf("%s: two runs give other bytes (%v, %v)", suffix, err, err2)
		}
		switch suffix {
		case "xz":
			if out := harness.Must(t, "xz", "--list", "--robot", "-vv", file); !strings.Contains(out, "CRC32") || !strings.Contains(out, "file\t1\t1\t") {
				t.Errorf("more than one stream, or no CRC32:\n%s", out)
			}
		case "lz4":
			if string(first[:4]) != "\x02\x21\x4c\x18" { // lib/decompress_unlz4.c
				t.Errorf("lz4 begins with %x", first[:4])
			}
		}
	}
}

// TestDate checks that every file has the time in SOURCE_DATE_EPOCH, and that times that
// do not fit into the format are refused.
func TestDate(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x.cpio")
	run := func(date string) harness.Result {
		cmd := exec.Command(harness.Program(t), "initramfs", "bundle", "-o", out, "--shell-elsewhere", "--cert", sharedPath(t, "keys/x509_ima.crt"))
		cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+date)
		return harness.RunCommand(t, cmd)
	}
	for _, date := range []string{"-1", "4294967296"} {
		if r := run(date); r.Code != 1 || !strings.Contains(r.Err, "before 1970 or after 2105") {
			t.Errorf("%s: exit %d: %s", date, r.Code, r.Err)
		}
		if _, err := os.Stat(out); err == nil {
			t.Error("a file is there")
		}
	}
	if r := run("1700000000"); r.Code != 0 {
		t.Fatal(r.Err)
	}
	listed := harness.Must(t, "env", "TZ=UTC", "bsdtar", "-tvf", out)
	if n := strings.Count(listed, "Nov 14  2023"); n != strings.Count(listed, "\n") {
		t.Error(listed)
	}
}

// TestAppended checks that an archive can be appended to another one, as the kernel
// allows. It ends with a full block, so that another archive can be appended to it.
func TestAppended(t *testing.T) {
	first, second := bundle(t, "x.cpio"), filepath.Join(t.TempDir(), "more.cpio")
	harness.Must(t, "sh", "-euc", `cd "$1"; echo more >more; echo more | cpio -o -H newc --quiet >more.cpio`, "-", filepath.Dir(second))
	for _, order := range [][]string{{first, second}, {second, first}} {
		out := t.TempDir()
		harness.Must(t, "sh", "-euc", `cat "$2" "$3" >"$1/all"; cd "$1"; while cpio -idmu --quiet --no-absolute-filenames; do :; done <all 2>/dev/null || :; test -f more; test -f init`, "-", out, order[0], order[1])
	}
	info, err := os.Stat(first)
	if err != nil || info.Size()%512 != 0 {
		t.Errorf("%v %v", info, err)
	}
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	harness.Must(t, "mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", dir)
	defer harness.Must(t, "umount", dir)
	for _, name := range []string{"x.cpio", "x.cpio.zst", "x"} {
		r := harness.Run(t, harness.Program(t), "initramfs", "bundle", "-o", filepath.Join(dir, name), "--busybox", "/bin/busybox", "--cert", sharedPath(t, "keys/x509_ima.crt"))
		left, err := os.ReadDir(dir)
		if r.Code != 1 || !strings.Contains(r.Err, "no space left") || err != nil || len(left) > 0 {
			t.Errorf("%s: exit %d: %s; left: %v (%v)", name, r.Code, r.Err, left, err)
		}
	}
}
