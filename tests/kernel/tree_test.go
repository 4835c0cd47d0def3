package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

func write(t testing.TB, file, text string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(file), 0o755))
	check(t, os.WriteFile(file, []byte(text), 0o644))
}

// copyTo copies a file with its mode. It follows links.
func copyTo(t testing.TB, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	check(t, err)
	info, err := os.Stat(from)
	check(t, err)
	check(t, os.MkdirAll(filepath.Dir(to), 0o755))
	check(t, os.WriteFile(to, content, info.Mode().Perm()))
}

// programs are built once: guest and imasign-build without cgo, for a machine without
// libraries, and the smallest files that can be executed or mapped.
var programs = map[string][]string{
	"guest":         {"go", "build", "-ldflags=-s -w", "-o", "guest", "./guest"},
	"imasign-build": {"go", "build", "-ldflags=-s -w", "-o", "imasign-build", "../../cmd/imasign-build"},
	"program":       {"gcc", "-nostdlib", "-Os", "-Wl,--build-id=none", "-static", "-o", "program", "testdata/program.c"},
	"library.so":    {"gcc", "-nostdlib", "-Os", "-Wl,--build-id=none", "-shared", "-fPIC", "-o", "library.so", "testdata/program.c"},
}

// program copies one of the programs to a path.
func program(t testing.TB, name, to string) {
	t.Helper()
	made := filepath.Join(scratch, name)
	if _, err := os.Stat(made); err != nil {
		args := slices.Clone(programs[name])
		args[slices.Index(args, "-o")+1] = made
		cmd := exec.Command(harness.Tool(t, args[0]), args[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if r := harness.RunCommand(t, cmd); r.Code != 0 {
			t.Fatalf("%s: %s%s", cmd, r.Out, r.Err)
		}
	}
	copyTo(t, made, to)
}

// libraries copies a program or plugin of this machine, with the libraries that it loads.
func libraries(t testing.TB, file, root string) {
	t.Helper()
	for _, word := range strings.Fields(harness.Must(t, "ldd", file)) {
		if filepath.IsAbs(word) {
			copyTo(t, word, filepath.Join(root, word))
		}
	}
	copyTo(t, file, filepath.Join(root, file))
}

// cpio packs a directory as an archive to append to an initramfs.
func cpio(t testing.TB, dir string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "initramfs.cpio.gz")
	cmd := exec.Command("sh", "-c", `find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | gzip -1 >"$0"`, out)
	cmd.Dir = dir
	if r := harness.RunCommand(t, cmd); r.Code != 0 {
		t.Fatalf("cpio: %s%s", r.Out, r.Err)
	}
	return out
}

// joined concatenates initramfs files. The kernel unpacks them one after the other.
func joined(t testing.TB, files ...string) string {
	t.Helper()
	var all strings.Builder
	for _, file := range files {
		content, err := os.ReadFile(file)
		check(t, err)
		all.Write(content)
		all.WriteString(strings.Repeat("\x00", -len(content)&3))
	}
	out := filepath.Join(t.TempDir(), "initramfs")
	write(t, out, all.String())
	return out
}

// variants of a file, by the state of its signature.
var variants = []string{"signed", "unsigned", "tampered", "otherkey", "hashonly", "sigbit"}

// algorithms are pairs of a key and a digest algorithm, each of which signs a program.
var algorithms = []struct{ key, hash string }{
	{"rsa2048", "sha256"}, {"rsa2048", "sha384"}, {"rsa2048", "sha512"}, {"rsa4096", "sha256"}, {"p256", "sha256"}, {"p384", "sha384"},
}

// newTree makes the root file system without signatures. Each file is there for one kind
// of refusal.
func newTree(t *testing.T, k kernel) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	fillTree(t, k, dir)
	return dir
}

func fillTree(t *testing.T, k kernel, dir string) {
	t.Helper()
	for _, sub := range []string{"dev", "proc", "sys", "run", "tmp", "etc/ima"} {
		check(t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	program(t, "guest", filepath.Join(dir, "sbin/init"))
	copyTo(t, harness.Tool(t, "busybox"), filepath.Join(dir, "bin/busybox"))
	check(t, os.Symlink("busybox", filepath.Join(dir, "bin/sh")))
	copyTo(t, harness.Tool(t, "busybox"), filepath.Join(dir, "sbin/switch_root"))
	for _, a := range algorithms {
		program(t, "program", filepath.Join(dir, "usr/bin", a.key+"-"+a.hash))
	}
	for _, name := range slices.Concat([]string{"revoked", "secondary"}, variants, changeNames()) {
		program(t, "program", filepath.Join(dir, "usr/bin", name))
	}
	for _, name := range variants {
		program(t, "library.so", filepath.Join(dir, "usr/lib", name+".so"))
		copyTo(t, k.module, filepath.Join(dir, "lib/modules/test", name, filepath.Base(k.module)))
		write(t, filepath.Join(dir, "lib/firmware", name+".bin"), "firmware "+name+"\n")
		write(t, filepath.Join(dir, "etc/policies", name), "audit func=KEXEC_KERNEL_CHECK\n")
		script := filepath.Join(dir, "usr/bin", name+".sh")
		write(t, script, "#!/bin/sh\nexit 42 # "+name+"\n")
		check(t, os.Chmod(script, 0o755))
	}
}

// sign runs `imasign-build rootfs sign` with a key of the device.
func sign(t *testing.T, dir string, key keySet, flags ...string) {
	t.Helper()
	harness.Must(t, harness.Program(t), append([]string{"rootfs", "sign", "--progress=none", "--force", "--key", key.file("key"), "--cert", key.file("crt"), dir}, flags...)...)
}

// signedImage makes an ext4 image of a signed tree. Some files are signed in the image only.
func signedImage(t *testing.T, dir string, key keySet, paths ...string) string {
	t.Helper()
	var include []string
	for _, path := range paths {
		include = append(include, "--include", path)
	}
	bare := filepath.Join(t.TempDir(), "bare")
	harness.Must(t, "cp", "-a", dir, bare)
	harness.Must(t, harness.Program(t), append([]string{"rootfs", "strip", "--progress=none", bare}, include...)...)
	out := image(t, "ext4", bare)
	said := harness.Must(t, harness.Program(t), append([]string{"image", "sign", "--progress=none", "--key", key.file("key"), "--cert", key.file("crt"), out, "-o", out}, include...)...)
	if want := fmt.Sprintf(" %d signed", len(paths)); !strings.Contains(said, want) {
		t.Fatalf("want%s: %s", want, said)
	}
	return out
}

// spoil changes a tree that the sample key has signed, as the variants demand.
func spoil(t *testing.T, dir string) {
	t.Helper()
	for _, a := range algorithms {
		sign(t, dir, keys(t)[a.key], "--hash", a.hash, "--include", "/usr/bin/"+a.key+"-"+a.hash)
	}
	for _, name := range []string{"revoked", "secondary"} {
		sign(t, dir, keys(t)[name], "--include", "/usr/bin/"+name)
	}
	sign(t, dir, keys(t)["rogue"], "--include", "*otherkey*")
	for _, file := range harness.Files(t, dir) {
		switch variant := variantOf(file); variant {
		case "unsigned":
			check(t, unix.Removexattr(file, "security.ima"))
		case "hashonly":
			harness.Must(t, harness.Tool(t, "evmctl"), "ima_hash", "-a", "sha256", file)
		case "tampered":
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
			check(t, err)
			_, err = f.WriteString("\n")
			check(t, err)
			check(t, f.Close())
		case "sigbit":
			value := make([]byte, 1024)
			n, err := unix.Getxattr(file, "security.ima", value)
			check(t, err)
			value[n-1] ^= 1
			check(t, unix.Setxattr(file, "security.ima", value[:n], 0))
		}
	}
}

// variantOf returns the variant that a path of the tree belongs to, "" for none.
func variantOf(file string) string {
	for _, part := range strings.FieldsFunc(file, func(r rune) bool { return r == '/' || r == '.' }) {
		for _, v := range variants {
			if part == v {
				return v
			}
		}
	}
	return ""
}

// makers make an image from a tree, by the image's type.
var makers = map[string]func(t *testing.T, dir, image string){
	"ext4": func(t *testing.T, dir, image string) {
		harness.Must(t, harness.Tool(t, "mkfs.ext4"), "-q", "-d", dir, image, "128M")
	},
	// With room for ML-DSA: large values have inodes of their own. mkfs.ext4 -d writes a wrong
	// number of blocks into the inodes of their files, and e2fsck has to correct it (exit code 1).
	"large": func(t *testing.T, dir, image string) {
		harness.Must(t, harness.Tool(t, "mkfs.ext4"), "-q", "-b", "4096", "-I", "256", "-N", "4096", "-O", "ea_inode,verity", "-d", dir, image, "128M")
		if r := harness.Run(t, harness.Tool(t, "e2fsck"), "-fy", image); r.Code > 1 {
			t.Fatalf("e2fsck: exit %d:\n%s%s", r.Code, r.Out, r.Err)
		}
	},
	"squashfs": func(t *testing.T, dir, image string) {
		harness.Must(t, harness.Tool(t, "mksquashfs"), dir, image, "-quiet", "-no-progress", "-comp", "gzip", "-Xcompression-level", "1")
	},
	"erofs": func(t *testing.T, dir, image string) {
		harness.Must(t, harness.Tool(t, "mkfs.erofs"), "--quiet", image, dir)
	},
}
