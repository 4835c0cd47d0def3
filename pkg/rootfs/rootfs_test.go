package rootfs

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/harness"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// key returns the P-256 key of the whole test run.
var key = sync.OnceValue(func() crypto.Signer {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
})

func public(t testing.TB, k crypto.Signer) *ima.PublicKey {
	t.Helper()
	pub, err := ima.BareKey(k.Public())
	ok(t, err)
	return pub
}

// events collects the events of an observer.
type events struct {
	warnings []string
	kinds    map[signing.EventKind]int
	on       func(signing.Event) // unless nil, called for each event
}

func (e *events) observer() signing.Observer {
	e.kinds = map[signing.EventKind]int{}
	return signing.NewObserver(func(ev signing.Event) {
		e.kinds[ev.Kind]++
		if ev.Kind == signing.Warning {
			e.warnings = append(e.warnings, ev.Path+": "+ev.Message)
		}
		if e.on != nil {
			e.on(ev)
		}
	})
}

// openTree opens a tree whose files are changed one at a time, unless o.Jobs says
// otherwise, for tests that do something in between.
func openTree(t testing.TB, dir string, o Options) *Tree {
	t.Helper()
	o.Jobs = cmp.Or(o.Jobs, 1)
	tr, err := Open(dir, o)
	ok(t, err)
	t.Cleanup(func() { tr.Close() })
	return tr
}

func engine(t testing.TB, k crypto.Signer, observe signing.Observer) *signing.Engine {
	t.Helper()
	e, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(k), public(t, k)), Public: public(t, k)}, 0)}, Force: true, Observe: observe})
	ok(t, err)
	return e
}

func planFor(t testing.TB, tr *Tree, but ...choice) *signing.Plan {
	return planWith(t, tr, key(), but...)
}

func planWith(t testing.TB, tr *Tree, k crypto.Signer, but ...choice) *signing.Plan {
	t.Helper()
	p, err := engine(t, k, tr.observe).Plan(t.Context(), chosen{tr, but})
	ok(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

// choice changes entries, as a Source that wraps a Tree may.
type choice func(*signing.Entry)

// without leaves out files with these last names.
func without(names ...string) choice {
	return func(e *signing.Entry) {
		if e.Reason == "" && slices.Contains(names, filepath.Base(e.Path)) {
			e.Reason = "not chosen"
		}
	}
}

// hashed gives a file only a digest.
func hashed(name string) choice {
	return func(e *signing.Entry) { e.HashOnly = e.HashOnly || filepath.Base(e.Path) == name }
}

type chosen struct {
	signing.Source
	choices []choice
}

func (c chosen) Entries(ctx context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		for e, err := range c.Source.Entries(ctx) {
			for _, choose := range c.choices {
				choose(&e)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func sign(t testing.TB, dir string, o Options, but ...choice) *signing.Plan {
	t.Helper()
	tr := openTree(t, dir, o)
	p := planFor(t, tr, but...)
	ok(t, attach(t.Context(), tr, p))
	return p
}

// attach prepares and commits a plan.
func attach(ctx context.Context, tr *Tree, plan *signing.Plan) error {
	change, err := tr.Prepare(ctx, plan)
	if err != nil || change.Commit == nil {
		return err
	}
	return change.Commit(ctx)
}

// signed returns the paths that a run on dir would sign or hash, and the reasons of the
// other paths.
func signed(t *testing.T, dir string, o Options) (paths []string, reasons map[string]string) {
	t.Helper()
	reasons = map[string]string{}
	for r, err := range planFor(t, openTree(t, dir, o)).Records() {
		ok(t, err)
		if r.Status() == signing.Skipped {
			reasons[r.Path] = r.Reason
			continue
		}
		paths = append(paths, r.Path)
	}
	return paths, reasons
}

// verify checks that every regular file has a valid value, and returns their number.
func verify(t *testing.T, dir string, o Options, but ...choice) (files int) {
	t.Helper()
	e, err := signing.New(signing.Options{})
	ok(t, err)
	ok(t, e.Verify(t.Context(), chosen{openTree(t, dir, o), but}, signing.Trust{Ring: ima.NewKeyring(public(t, key()))}, func(v signing.Verdict) error {
		if v.Outcome.Wrong() {
			t.Errorf("%q: %v: %v", v.Path, v.Outcome, v.Err)
		}
		if v.Outcome == signing.OK || v.Outcome == signing.HashedOK {
			files++
		}
		return nil
	}))
	return files
}

// write makes files, and the directories above them, with their path as content.
func write(t testing.TB, dir string, paths ...string) {
	t.Helper()
	for _, path := range paths {
		ok(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755))
		ok(t, os.WriteFile(filepath.Join(dir, path), []byte(path+"\n"), 0o644))
	}
}

func getXattr(t testing.TB, path, name string) []byte {
	t.Helper()
	value, err := xattr.LGet(path, name)
	if err != nil && !errors.Is(err, xattr.ENOATTR) {
		t.Fatal(err)
	}
	return value
}

func setXattr(t testing.TB, path, value string) {
	t.Helper()
	harness.Root(t)
	ok(t, xattr.LSet(path, ima.XattrIMA, []byte(value)))
}

// snapshot returns everything about a tree that a restore must bring back: names, kinds,
// modes, owners, sizes, access and modification times, and all xattrs. ctimes adds the
// change times, which a restore cannot bring back.
func snapshot(t testing.TB, dir string, ctimes bool) map[string]string {
	t.Helper()
	all := map[string]string{}
	ok(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%o %d:%d %d bytes, mtime %d", st.Mode, st.Uid, st.Gid, st.Size, st.Mtim.Nano())
		if st.Mode&unix.S_IFMT == unix.S_IFREG { // listing a directory changes its access time
			line += fmt.Sprintf(" atime %d", st.Atim.Nano())
		}
		if ctimes {
			line += fmt.Sprintf(" ctime %d", st.Ctim.Nano())
		}
		names, _ := xattr.LList(path)
		for _, name := range names {
			line += fmt.Sprintf(" %s=%x", name, getXattr(t, path, name))
		}
		all[path] = line
		return nil
	}))
	return all
}

func same(t testing.TB, what string, before, now map[string]string) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(before)) {
		if now[path] != before[path] {
			t.Errorf("%s: %q was\n%s\nand is\n%s", what, path, before[path], now[path])
		}
	}
	for path := range now {
		if before[path] == "" {
			t.Errorf("%s: %q is new", what, path)
		}
	}
}

// mount mounts a file system for the duration of the test. It needs root.
func mount(t testing.TB, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	harness.Root(t)
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		t.Fatalf("mount %s on %s: %v", source, target, err)
	}
	t.Cleanup(func() { ok(t, unix.Unmount(target, unix.MNT_DETACH)) })
}

// ext4 makes a small ext4 file system and mounts it for the duration of the test.
func ext4(t testing.TB, size string, flags ...string) string {
	t.Helper()
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	run(t, "truncate", "-s", size, image)
	run(t, "mkfs.ext4", append(append([]string{"-q", "-F", "-m", "0"}, flags...), image)...)
	run(t, "mount", "-o", "loop", image, dir)
	t.Cleanup(func() { run(t, "umount", "-l", dir) })
	return dir
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	harness.Tool(t, name)
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, stderr.Bytes())
	}
	return string(out)
}

// asNobody calls f on a thread that has no privileges.
func asNobody(t testing.TB, f func()) {
	t.Helper()
	harness.Root(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	become := func(uid uintptr) {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uid, ^uintptr(0)); errno != 0 {
			t.Fatalf("setresuid: %v", errno)
		}
	}
	become(65534)
	defer become(0)
	f()
}

// mentions checks that an error contains all words.
func mentions(t testing.TB, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in the error: %v", word, err)
		}
	}
}
