package kernel

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/tests/harness"
)

// Owners of files, by which the policy of a bench distinguishes them.
const (
	ordinary = 0 // appraise_type=imasig
	strict   = 3 // appraise_type=sigv3
	verity   = 6 // digest_type=verity appraise_type=sigv3
	sticky   = 7 // imasig, but sigv3 when the file is read
)

// benchPolicy is the policy of a bench. Linux 6.12 has only the last part.
const (
	benchPolicy3 = `appraise func=BPRM_CHECK fowner=3 appraise_type=sigv3
appraise func=MMAP_CHECK mask=MAY_EXEC fowner=3 appraise_type=sigv3
appraise func=MODULE_CHECK fowner=3 appraise_type=sigv3
appraise func=FIRMWARE_CHECK fowner=3 appraise_type=sigv3
appraise func=FILE_CHECK mask=MAY_READ fowner=7 appraise_type=sigv3
appraise func=BPRM_CHECK fowner=6 digest_type=verity appraise_type=sigv3
appraise func=MMAP_CHECK mask=MAY_EXEC fowner=6 digest_type=verity appraise_type=sigv3
`
	benchPolicy = `appraise func=BPRM_CHECK appraise_type=imasig
appraise func=MMAP_CHECK mask=MAY_EXEC appraise_type=imasig
appraise func=MODULE_CHECK appraise_type=imasig
appraise func=FIRMWARE_CHECK appraise_type=imasig
`
)

// bench is a disk with files whose values are made one by one, and the steps that try them.
// It boots without the hook, so that only the kernel judges.
type bench struct {
	t       *testing.T
	kernel  kernel
	dir     string
	program []byte
	signers []signer
	steps   []step

	refusedKeys map[string]string // why the kernel does not load certificates, by name
	ambiguous   []string          // files whose version 2 signatures are those of other files
	forged      []string          // files with such a signature
	inode       []inodeProgram    // programs whose security.evm is for one inode
}

func newBench(t *testing.T, k kernel, chains []chain) *bench {
	t.Helper()
	harness.Root(t)
	b := &bench{t: t, kernel: k, dir: roomy(t), signers: newSigners(t, k, chains)}
	made := filepath.Join(t.TempDir(), "program")
	program(t, "program", made)
	var err error
	b.program, err = os.ReadFile(made)
	check(t, err)
	return b
}

// roomy returns a new directory on a tmpfs. ML-DSA's signatures are too large for the xattrs
// of most file systems.
func roomy(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	check(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512m,mode=0755"))
	t.Cleanup(func() { check(t, unix.Unmount(dir, 0)) })
	return dir
}

// signer returns the signer with a key of the algorithm.
func (b *bench) signer(name string) signer {
	return b.signers[slices.IndexFunc(b.signers, func(s signer) bool { return s.name == name })]
}

// file makes a file of the disk with the given xattrs, each a name and a value.
func (b *bench) file(path string, owner int, mode os.FileMode, content []byte, xattrs map[string][]byte) {
	b.t.Helper()
	full := filepath.Join(b.dir, path)
	check(b.t, os.MkdirAll(filepath.Dir(full), 0o755))
	check(b.t, os.WriteFile(full, content, mode))
	check(b.t, os.Chown(full, owner, 0))
	check(b.t, os.Chmod(full, mode))
	for name, value := range xattrs {
		if value != nil {
			set(b.t, full, name, value)
		}
	}
}

// named returns the content of a program that differs from all others.
func (b *bench) named(path string) []byte {
	return append(slices.Clone(b.program), "\n"+path+"\n"...)
}

// exec adds a program with a value of security.ima, and a step that runs it. cause is why
// the kernel refuses it, "" if it runs.
func (b *bench) exec(path string, owner int, value []byte, cause string) {
	b.t.Helper()
	b.file(path, owner, 0o755, b.named(path), map[string][]byte{ima.XattrIMA: value})
	b.try("exec\t/mnt/"+path, cause)
}

// try adds a step.
func (b *bench) try(do, cause string) {
	if cause == "" {
		b.does(do, "ok")
	} else {
		b.steps = append(b.steps, step{do, "", "EACCES", cause, false})
	}
}

// does adds a step whose result has nothing to do with a signature.
func (b *bench) does(do, result string) {
	b.steps = append(b.steps, step{do, "", result, "", false})
}

// boot boots the kernel with all certificates in the keyrings .ima and .evm, and compares the
// results of the steps.
func (b *bench) boot(fs, policy string) {
	b.t.Helper()
	root := b.t.TempDir()
	program(b.t, "guest", filepath.Join(root, "init"))
	write(b.t, filepath.Join(root, "policy"), policy)
	check(b.t, os.Mkdir(filepath.Join(root, "lib"), 0o755))
	check(b.t, os.Symlink("/mnt/lib/firmware", filepath.Join(root, "lib/firmware")))
	setup := []step{}
	for _, ring := range []string{".ima", ".evm"} {
		for _, s := range b.signers {
			copyTo(b.t, s.set.file("der"), filepath.Join(root, "certs", s.name+".der"))
			setup = append(setup, step{do: "key\t" + ring + "\t/certs/" + s.name + ".der", after: cmp.Or(b.refusedKeys[s.name], "ok")})
		}
	}
	setup = append(setup, step{do: "mount\t" + fs + "\t/dev/vda\t/mnt", after: "ok"}, step{do: "policy\t/policy", after: "ok"})
	steps := slices.Concat(setup, b.steps)
	plan(b.t, root, steps, "")
	kind := fs
	if fs == "ext4" {
		kind = "large"
	}
	disk := image(b.t, kind, b.dir)
	b.inodes(disk)
	c := machine{kernel: b.kernel, disk: disk, initramfs: cpio(b.t, root)}.boot(b.t)
	for i, r := range c.refusals { // step.path has the name by which firmware is requested
		c.refusals[i].path = strings.Replace(r.path, "/mnt/lib/firmware/", "/lib/firmware/", 1)
	}
	c.compare(b.t, steps, after)
	b.t.Logf("%d steps on Linux %s", len(b.steps), b.kernel.release)
}
