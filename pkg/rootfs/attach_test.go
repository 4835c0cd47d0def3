package rootfs

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/harness"
)

// swapper is a tree that changes when the listing reaches a path.
type swapper struct {
	*Tree
	at   string
	swap func()
}

func (s *swapper) Entries(ctx context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		for e, err := range s.Tree.Entries(ctx) {
			if !yield(e, err) {
				return
			}
			if e.Path == s.at && err == nil {
				s.swap()
			}
		}
	}
}

// swaps are what another process may do to d/m of a tree, at path, between two steps of
// this program. outside is a directory with another file m.
var swaps = map[string]func(t *testing.T, path, outside string){
	"written, times put back": func(t *testing.T, path, _ string) {
		st, err := os.Stat(path)
		ok(t, err)
		ok(t, os.WriteFile(path, bytes.Repeat([]byte("x"), int(st.Size())), 0o644))
		ok(t, os.Chtimes(path, time.Time{}, st.ModTime()))
	},
	"appended to": func(t *testing.T, path, _ string) {
		run(t, "sh", "-c", `echo more >>"$1"`, "sh", path)
	},
	"truncated": func(t *testing.T, path, _ string) { ok(t, os.Truncate(path, 1)) },
	"chmod":     func(t *testing.T, path, _ string) { ok(t, os.Chmod(path, 0o4755)) },
	"chown":     func(t *testing.T, path, _ string) { ok(t, os.Chown(path, 5, 5)) },
	"xattr":     func(t *testing.T, path, _ string) { setXattr(t, path, "\x04\x04of somebody else") },
	"renamed over by a copy": func(t *testing.T, path, _ string) {
		run(t, "cp", "-a", path, path+".new")
		ok(t, os.Rename(path+".new", path))
	},
	"removed and made again": func(t *testing.T, path, _ string) { // may reuse the inode number
		content, err := os.ReadFile(path)
		ok(t, err)
		ok(t, os.Remove(path))
		ok(t, os.WriteFile(path, content, 0o644))
		setXattr(t, path, "\x04\x04of the new file")
	},
	"removed": func(t *testing.T, path, _ string) { ok(t, os.Remove(path)) },
	"a link to outside": func(t *testing.T, path, outside string) {
		ok(t, os.Remove(path))
		ok(t, os.Symlink(filepath.Join(outside, "m"), path))
	},
	"a hard link to outside": func(t *testing.T, path, outside string) {
		ok(t, os.Remove(path))
		ok(t, os.Link(filepath.Join(outside, "m"), path))
	},
	"a hard link to the same outside": func(t *testing.T, path, outside string) { // the same value on another inode
		value := getXattr(t, path, ima.XattrIMA)
		if value != nil {
			setXattr(t, filepath.Join(outside, "m"), string(value))
		}
		ok(t, os.Remove(path))
		ok(t, os.Link(filepath.Join(outside, "m"), path))
	},
	"a FIFO": func(t *testing.T, path, _ string) {
		ok(t, os.Remove(path))
		ok(t, unix.Mkfifo(path, 0o644))
	},
	"a device": func(t *testing.T, path, _ string) {
		ok(t, os.Remove(path))
		ok(t, unix.Mknod(path, unix.S_IFCHR|0o644, int(unix.Mkdev(1, 3))))
	},
	"a directory": func(t *testing.T, path, _ string) {
		ok(t, os.Remove(path))
		ok(t, os.Mkdir(path, 0o755))
	},
	"its directory a link to outside": func(t *testing.T, path, outside string) {
		ok(t, os.Rename(filepath.Dir(path), filepath.Dir(path)+".old"))
		ok(t, os.Symlink(outside, filepath.Dir(path)))
	},
	"its directory another": func(t *testing.T, path, _ string) {
		ok(t, os.Rename(filepath.Dir(path), filepath.Dir(path)+".old"))
		write(t, filepath.Dir(filepath.Dir(path)), "d/m")
	},
	"mounted over": func(t *testing.T, path, outside string) {
		mount(t, filepath.Join(outside, "m"), path, "", unix.MS_BIND, "")
	},
}

// before are the security.ima values that files have before they are signed.
var before = map[string]string{"a": "", "b": "\x04\x04old digest", "e": "\x00binary\xff"}

// marked makes a tree of a, b, c, d/m, e and z. Some have a security.ima.
func marked(t testing.TB, dir string) string {
	t.Helper()
	write(t, dir, "a", "b", "c", "d/m", "e", "z")
	for path, value := range before {
		setXattr(t, filepath.Join(dir, path), value)
	}
	return dir
}

// TestSwappedBeforeAttach changes a file between plan and attach, or while other files
// are changed. The error names the file, all other files are restored exactly, and nothing
// outside the tree is touched.
func TestSwappedBeforeAttach(t *testing.T) {
	for name, swap := range swaps {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, late %v", name, late), func(t *testing.T) {
				dir, outside := marked(t, t.TempDir()), t.TempDir()
				write(t, outside, "m")
				var ev events
				tr := openTree(t, dir, Options{Observe: ev.observer()})
				plan := planFor(t, tr)
				var was, wasOutside map[string]string
				do := func() {
					attached := getXattr(t, filepath.Join(dir, "a"), ima.XattrIMA)
					if late { // a is signed already, but the snapshot must have its old value
						setXattr(t, filepath.Join(dir, "a"), before["a"])
					}
					swap(t, filepath.Join(dir, "d/m"), outside)
					was, wasOutside = snapshot(t, dir, false), snapshot(t, outside, true)
					if late {
						setXattr(t, filepath.Join(dir, "a"), string(attached))
					}
				}
				if late {
					ev.on = func(e signing.Event) {
						if e.Kind == signing.Attached && e.Path == "a" {
							do()
						}
					}
				} else {
					do()
				}
				err := attach(t.Context(), tr, plan)
				if !errors.Is(err, errRestored) {
					t.Fatalf("got %v", err)
				}
				mentions(t, err, filepath.Join(dir, "d/m"))
				same(t, "the tree", was, snapshot(t, dir, false))
				same(t, "outside", wasOutside, snapshot(t, outside, true))
				if want := 3; ev.kinds[signing.Attached] != want || ev.kinds[signing.Restored] != want {
					t.Errorf("%v", ev.kinds)
				}
			})
		}
	}
}

// TestSwappedBeforeRestore replaces a signed file before the restore, which must not
// change the replacement.
func TestSwappedBeforeRestore(t *testing.T) {
	for name, swap := range swaps {
		t.Run(name, func(t *testing.T) {
			dir, outside := marked(t, t.TempDir()), t.TempDir()
			write(t, outside, "m")
			var ev events
			tr := openTree(t, dir, Options{Observe: ev.observer()})
			plan := planFor(t, tr)
			var wasOutside map[string]string
			var wasM []byte
			ev.on = func(e signing.Event) {
				if e.Kind != signing.Attached || e.Path != "d/m" {
					return
				}
				swap(t, filepath.Join(dir, "d/m"), outside)
				wasOutside = snapshot(t, outside, true)
				if strings.HasPrefix(name, "removed and") || name == "xattr" {
					wasM = getXattr(t, filepath.Join(dir, "d/m"), ima.XattrIMA)
				}
				ok(t, os.Chmod(filepath.Join(dir, "e"), 0o600)) // fails next
			}
			err := attach(t.Context(), tr, plan)
			mentions(t, err, filepath.Join(dir, "e")+": "+tree.ErrChanged.Error())
			switch name {
			case "its directory a link to outside", "mounted over": // the signed file is elsewhere now, and the error says so
				if errors.Is(err, errRestored) {
					t.Errorf("got %v", err)
				}
				mentions(t, err, "1 files could not be restored", filepath.Join(dir, "d/m"))
			case "a link to outside":
				mentions(t, err, filepath.Join(dir, "d/m"))
			default:
				if !errors.Is(err, errRestored) {
					t.Errorf("got %v", err)
				}
			}
			same(t, "outside", wasOutside, snapshot(t, outside, true))
			for path, value := range before {
				if got := getXattr(t, filepath.Join(dir, path), ima.XattrIMA); string(got) != value || got == nil {
					t.Errorf("%s has %q", path, got)
				}
			}
			if wasM != nil && string(wasM) != string(getXattr(t, filepath.Join(dir, "d/m"), ima.XattrIMA)) {
				t.Error("the restore changed a value that somebody else set")
			}
		})
	}
}

// TestRestoreKnowsReusedInodes removes a file and makes it again: on ext4 it often gets the
// same inode number.
func TestRestoreKnowsReusedInodes(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", "b")
	tr := openTree(t, dir, Options{})
	plan := planFor(t, tr)
	path := filepath.Join(dir, "a")
	inode := func() uint64 {
		var st unix.Stat_t
		ok(t, unix.Lstat(path, &st))
		return st.Ino
	}
	planned := inode()
	for i := 0; ; i++ {
		ok(t, os.Remove(path))
		write(t, dir, "a")
		if inode() == planned {
			break
		}
		if i == 1000 {
			t.Fatal("the file system does not reuse inode numbers: the test proves nothing")
		}
	}
	setXattr(t, path, "of the new file")
	if err := attach(t.Context(), tr, plan); !errors.Is(err, tree.ErrChanged) || !errors.Is(err, errRestored) {
		t.Fatalf("got %v", err)
	}
	if got := getXattr(t, path, ima.XattrIMA); string(got) != "of the new file" {
		t.Errorf("got %q", got)
	}
}

func TestCancelledWhileAttaching(t *testing.T) {
	dir := marked(t, t.TempDir())
	was := snapshot(t, dir, false)
	var ev events
	tr := openTree(t, dir, Options{Observe: ev.observer()})
	plan := planFor(t, tr)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the user's second Ctrl-C")
	ev.on = func(e signing.Event) {
		if e.Kind == signing.Attached && e.Path == "d/m" {
			cancel(why)
		}
	}
	if err := attach(ctx, tr, plan); !errors.Is(err, why) || !errors.Is(err, errRestored) {
		t.Errorf("got %v", err)
	}
	same(t, "the tree", was, snapshot(t, dir, false))
	if ev.kinds[signing.Restored] != 4 {
		t.Errorf("%v", ev.kinds)
	}
	ev.on = nil
	// The restore changed the ctime, so the old plan no longer matches. A new plan does.
	if err := attach(t.Context(), tr, plan); !errors.Is(err, tree.ErrChanged) {
		t.Errorf("the old plan: %v", err)
	}
	sign(t, dir, Options{})
	if n := verify(t, dir, Options{}); n != 6 {
		t.Errorf("%d files are valid", n)
	}
}

// TestRestoreOfSeveralAtOnce checks that of the files after the failed one those that were
// changed are restored, and the others are not touched.
func TestRestoreOfSeveralAtOnce(t *testing.T) {
	dir := t.TempDir()
	var names []string
	for i := range 600 {
		names = append(names, fmt.Sprintf("f%03d", i))
	}
	write(t, dir, names...)
	before := snapshot(t, dir, false)
	for i := range 20 {
		ev := events{}
		tr := openTree(t, dir, Options{Observe: ev.observer(), Jobs: 8})
		plan := planFor(t, tr)
		changed := filepath.Join(dir, names[20*i+7])
		ok(t, os.Chmod(changed, 0o600))
		err := attach(t.Context(), tr, plan)
		mentions(t, err, changed+": "+tree.ErrChanged.Error())
		if !errors.Is(err, errRestored) || ev.kinds[signing.Attached] == 0 && i > 0 {
			t.Fatalf("%d attached: %v", ev.kinds[signing.Attached], err)
		}
		ok(t, os.Chmod(changed, 0o644))
		same(t, "the tree", before, snapshot(t, dir, false))
	}
	tr := openTree(t, dir, Options{Jobs: 8})
	ok(t, attach(t.Context(), tr, planFor(t, tr)))
	for _, name := range names {
		if getXattr(t, filepath.Join(dir, name), ima.XattrIMA) == nil {
			t.Errorf("%s is not signed", name)
		}
	}
}

func setImmutable(t testing.TB, path string, on bool) {
	t.Helper()
	run(t, "chattr", map[bool]string{true: "+i", false: "-i"}[on], path)
}

func TestImmutableFile(t *testing.T) {
	dir := marked(t, t.TempDir())
	immutable := filepath.Join(dir, "d/m")
	setImmutable(t, immutable, true)
	t.Cleanup(func() { setImmutable(t, immutable, false) })
	was := snapshot(t, dir, false)
	tr := openTree(t, dir, Options{})
	err := attach(t.Context(), tr, planFor(t, tr))
	if !errors.Is(err, unix.EPERM) || !errors.Is(err, errRestored) {
		t.Errorf("got %v", err)
	}
	mentions(t, err, immutable, "immutable (lsattr)")
	same(t, "the tree", was, snapshot(t, dir, false))
}

// TestRestoreFails checks that the error names a file that cannot be restored, and that
// the other files are restored.
func TestRestoreFails(t *testing.T) {
	dir := marked(t, t.TempDir())
	stuck := filepath.Join(dir, "b")
	var ev events
	tr := openTree(t, dir, Options{Observe: ev.observer()})
	plan := planFor(t, tr)
	ev.on = func(e signing.Event) {
		if e.Kind == signing.Attached && e.Path == "b" {
			setImmutable(t, stuck, true)
			t.Cleanup(func() { setImmutable(t, stuck, false) })
			ok(t, os.Remove(filepath.Join(dir, "d/m")))
		}
	}
	err := attach(t.Context(), tr, plan)
	if errors.Is(err, errRestored) || !errors.Is(err, unix.EPERM) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	mentions(t, err, filepath.Join(dir, "d/m"), "1 files could not be restored", stuck)
	for path, want := range map[string]bool{"a": true, "b": false, "e": true} {
		if got := string(getXattr(t, filepath.Join(dir, path), ima.XattrIMA)) == before[path]; got != want {
			t.Errorf("%s is restored: %v", path, got)
		}
	}
}

// rsa4096 makes a key with openssl, which is several times faster than crypto/rsa.
func rsa4096(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	block, _ := pem.Decode([]byte(run(t, "openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096")))
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	ok(t, err)
	return k.(*rsa.PrivateKey)
}

// TestNoSpace uses values that do not fit into a small inode, so that each takes a block,
// until there are no free blocks.
func TestNoSpace(t *testing.T) {
	k := rsa4096(t)
	dir := ext4(t, "2M", "-I", "128", "-b", "1024", "-N", "256", "-O", "^has_journal")
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("f%02d", i))
	}
	write(t, dir, names...)
	for i, name := range names[:6] {
		setXattr(t, filepath.Join(dir, name), fmt.Sprint("value of before ", i))
	}
	setXattr(t, filepath.Join(dir, names[6]), "")
	fill, err := os.Create(filepath.Join(dir, "z-fill"))
	ok(t, err)
	for err == nil {
		_, err = fill.Write(make([]byte, 1024))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	st, err := fill.Stat()
	ok(t, err)
	ok(t, errors.Join(fill.Truncate(st.Size()-20*1024), fill.Close()))

	was := snapshot(t, dir, false)
	var ev events
	tr := openTree(t, dir, Options{Observe: ev.observer()})
	err = attach(t.Context(), tr, planWith(t, tr, k))
	if !errors.Is(err, unix.ENOSPC) || !errors.Is(err, errRestored) {
		t.Fatalf("got %v", err)
	}
	mentions(t, err, "security.ima of "+dir+"/f", "521 bytes", "mkfs.ext4 -I 512")
	if n := ev.kinds[signing.Attached]; n < 8 || n != ev.kinds[signing.Restored] {
		t.Errorf("failed after %d files, restored %d", n, ev.kinds[signing.Restored])
	}
	same(t, "the tree", was, snapshot(t, dir, false))
}

// TestRestoreWithoutSpace restores an old value that is larger than the new one. There is
// no room for it until the values of later files are removed.
func TestRestoreWithoutSpace(t *testing.T) {
	dir := ext4(t, "2M", "-I", "512", "-b", "1024", "-N", "256", "-O", "^has_journal")
	write(t, dir, "a", "b", "c", "z-fill")
	setXattr(t, filepath.Join(dir, "a"), strings.Repeat("large ", 120)) // takes a block
	var ev events
	tr := openTree(t, dir, Options{Observe: ev.observer()})
	plan := planFor(t, tr, without("z-fill"))
	was := snapshot(t, dir, false)
	fill := filepath.Join(dir, "z-fill")
	full := false
	ev.on = func(e signing.Event) {
		switch {
		case e.Kind == signing.Attached && e.Path == "a": // its block is free now; take it
			f, err := os.OpenFile(fill, os.O_WRONLY, 0)
			for ok(t, err); err == nil; {
				_, err = f.Write(make([]byte, 1024))
			}
			full = errors.Is(err, unix.ENOSPC)
			ok(t, f.Close())
		case e.Kind == signing.Attached && e.Path == "b":
			ok(t, os.Chmod(filepath.Join(dir, "c"), 0o600))
		case e.Kind == signing.Restored && e.Path == "b": // as if restoring b had freed a block
			full = full && len(getXattr(t, filepath.Join(dir, "a"), ima.XattrIMA)) < 100
			ok(t, os.Truncate(fill, 0))
		}
	}
	if err := attach(t.Context(), tr, plan); !errors.Is(err, tree.ErrChanged) || !errors.Is(err, errRestored) {
		t.Errorf("got %v", err)
	}
	if !full {
		t.Error("there was room for the old value at once: the test proves nothing")
	}
	ok(t, os.Chmod(filepath.Join(dir, "c"), 0o644))
	now := snapshot(t, dir, false)
	delete(was, fill)
	delete(now, fill)
	same(t, "the tree", was, now)
}

// TestOverlaySplitsHardLinks uses overlayfs without an index. It copies a file when one of
// its names is changed, so the other names would stay unsigned.
func TestOverlaySplitsHardLinks(t *testing.T) {
	layers, dir := t.TempDir(), t.TempDir()
	write(t, layers, "lower/a", "lower/linked", "lower/z", "upper/u", "work/w")
	link(t, layers, "lower/linked", "lower/other")
	ok(t, os.Remove(filepath.Join(layers, "work/w")))
	mount(t, "overlay", dir, "overlay", 0, fmt.Sprintf("index=off,xino=off,lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", layers))
	was := snapshot(t, filepath.Join(layers, "lower"), true)
	tr := openTree(t, dir, Options{})
	err := attach(t.Context(), tr, planFor(t, tr))
	if !errors.Is(err, ErrLinksSplit) || !errors.Is(err, errRestored) {
		t.Errorf("got %v", err)
	}
	mentions(t, err, filepath.Join(dir, "linked"), "index=on")
	for _, path := range []string{"a", "linked", "other", "u", "z"} {
		if got := getXattr(t, filepath.Join(dir, path), ima.XattrIMA); got != nil {
			t.Errorf("%s has %q", path, got)
		}
	}
	same(t, "the layer below", was, snapshot(t, filepath.Join(layers, "lower"), true))
	sign(t, dir, Options{}, without("linked", "other"))
	if n := verify(t, dir, Options{}, without("linked", "other")); n != 3 {
		t.Errorf("%d files are valid", n)
	}
}

// TestAttachKeepsTheRest checks that attaching changes only security.ima and the ctime.
func TestAttachKeepsTheRest(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir()
	write(t, dir, "plain", "d/read-only", "closed", "empty", "setuid", "not-\xff-utf8\n", strings.Repeat("\xfe", 255))
	ok(t, os.Truncate(filepath.Join(dir, "empty"), 0))
	ok(t, os.Chown(filepath.Join(dir, "setuid"), 12, 34))
	for path, mode := range map[string]fs.FileMode{"d/read-only": 0o444, "closed": 0, "setuid": 0o755 | fs.ModeSetuid | fs.ModeSetgid, "d": 0o555} {
		ok(t, os.Chmod(filepath.Join(dir, path), mode))
	}
	ok(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error {
		return os.Chtimes(path, time.Unix(1e9, 7), time.Unix(1.1e9, 9)) // reading would update the access time
	}))
	was := snapshot(t, dir, false)
	plan := sign(t, dir, Options{})
	if n := plan.Counts(); n.Signed != 7 || n.Pending() != 7 {
		t.Errorf("%+v", n)
	}
	now := snapshot(t, dir, false)
	for path, line := range now {
		now[path], _, _ = strings.Cut(line, " security.ima=")
	}
	same(t, "the tree", was, now)
	if n := verify(t, dir, Options{}); n != 7 {
		t.Errorf("%d files are valid", n)
	}
}

// TestSigningAgainChangesNothing checks that signing again does not even change the ctime.
func TestSigningAgainChangesNothing(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir()
	write(t, dir, "a", "b", "hashed")
	sign(t, dir, Options{}, hashed("hashed"))
	was := snapshot(t, dir, true)
	plan := sign(t, dir, Options{}, hashed("hashed"))
	if n := plan.Counts(); n.Unchanged != 3 || n.Pending() != 0 {
		t.Errorf("%+v", n)
	}
	same(t, "the tree", was, snapshot(t, dir, true))
	write(t, dir, "b", "c") // b has new times, but the same content
	if n := sign(t, dir, Options{}, hashed("hashed")).Counts(); n.Unchanged != 3 || n.Signed != 1 {
		t.Errorf("%+v", n)
	}
}

func TestStrip(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir()
	write(t, dir, "a", "b", "bare", "keep")
	link(t, dir, "a", "z-link")
	was := snapshot(t, dir, false)
	sign(t, dir, Options{}, without("bare"))
	run(t, "setfattr", "-n", "user.mine", "-v", "x", filepath.Join(dir, "b"))
	stripTree := func(but ...choice) (*signing.Plan, error) {
		tr := openTree(t, dir, Options{})
		plan, err := engine(t, key(), signing.Observer{}).Strip(t.Context(), chosen{tr, but})
		ok(t, err)
		t.Cleanup(func() { plan.Close() })
		return plan, attach(t.Context(), tr, plan)
	}
	// A failed strip restores the signatures.
	signed := snapshot(t, dir, false)
	setImmutable(t, filepath.Join(dir, "keep"), true)
	t.Cleanup(func() { setImmutable(t, filepath.Join(dir, "keep"), false) })
	if _, err := stripTree(); !errors.Is(err, errRestored) {
		t.Errorf("got %v", err)
	}
	same(t, "after the failure", signed, snapshot(t, dir, false))

	plan, err := stripTree(without("keep"))
	ok(t, err)
	if n := plan.Counts(); n.Stripped != 2 || n.Links != 1 || n.Skipped != 2 {
		t.Errorf("%+v", n)
	}
	run(t, "setfattr", "-x", "user.mine", filepath.Join(dir, "b"))
	was[filepath.Join(dir, "keep")] = signed[filepath.Join(dir, "keep")]
	same(t, "the tree", was, snapshot(t, dir, false))
}

// TestTwoSigners signs one tree with two keys at the same time. Each signer succeeds or
// returns an error, and in the end every value is one that a signer made.
func TestTwoSigners(t *testing.T) {
	harness.Root(t)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	dir := t.TempDir()
	for i := range 60 {
		write(t, dir, fmt.Sprint("f", i))
	}
	for range 8 {
		results := make([]error, 2)
		var both sync.WaitGroup
		for i, k := range []*ecdsa.PrivateKey{key().(*ecdsa.PrivateKey), other} {
			both.Go(func() {
				e := engine(t, k, signing.Observer{})
				tr, err := Open(dir, Options{})
				if results[i] = err; err != nil {
					return
				}
				defer tr.Close()
				plan, err := e.Plan(t.Context(), tr)
				if results[i] = err; err != nil {
					return
				}
				defer plan.Close()
				results[i] = attach(t.Context(), tr, plan)
			})
		}
		both.Wait()
		for i, err := range results {
			var many *signing.Errors
			if err != nil && !errors.Is(err, tree.ErrChanged) && !errors.As(err, &many) {
				t.Errorf("signer %d: %v", i, err)
			}
		}
		for path, err := range openTree(t, dir, Options{}).Entries(t.Context()) {
			ok(t, err)
			value := getXattr(t, filepath.Join(dir, path.Path), ima.XattrIMA)
			if value == nil && results[0] != nil && results[1] != nil {
				continue
			}
			digest := sha256.Sum256([]byte(path.Path + "\n"))
			ring := ima.NewKeyring(public(t, key()), public(t, other))
			if _, err := ring.Verify(value, ima.Statement{Form: ima.ContentSignature(), Hash: ima.SHA256, Digest: digest[:]}); err != nil {
				t.Errorf("%s: %v, after %v", path.Path, err, results)
			}
		}
		tr := openTree(t, dir, Options{})
		plan, err := engine(t, key(), signing.Observer{}).Strip(t.Context(), tr)
		ok(t, err)
		ok(t, errors.Join(attach(t.Context(), tr, plan), plan.Close()))
	}
}

// sparseDigest is the output of sha256sum(1) for 4 GiB of holes and an "x" behind them.
const sparseDigest = "07d357bda5c988a206bb478ade5af844c26eaf242e951e5ac4d4f85b417ed69f"

// TestSparseFileOver4GiB signs a file whose size does not fit into 32 bits and whose holes
// read as zeros.
func TestSparseFileOver4GiB(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "sparse"))
	ok(t, err)
	_, err = f.WriteAt([]byte("x"), 1<<32)
	ok(t, errors.Join(err, f.Close()))
	plan := sign(t, dir, Options{})
	for r, err := range plan.Records() {
		ok(t, err)
		if got := fmt.Sprintf("%x", r.Digests[0].Sum); got != sparseDigest || r.Size != 1<<32+1 {
			t.Errorf("%d bytes, %s", r.Size, got)
		}
		value := getXattr(t, filepath.Join(dir, "sparse"), ima.XattrIMA)
		_, err := ima.NewKeyring(public(t, key())).Verify(value, ima.Statement{Form: ima.ContentSignature(), Hash: r.Digests[0].Hash, Digest: r.Digests[0].Sum})
		ok(t, err)
	}
	if n := plan.Counts().Bytes; n != 1<<32+1 {
		t.Errorf("%d bytes digested", n)
	}
}

func BenchmarkAttach(b *testing.B) {
	const files = 2000
	dir := b.TempDir()
	for i := range files {
		write(b, dir, fmt.Sprintf("d%d/f%d", i%20, i))
	}
	for b.Loop() {
		b.StopTimer()
		tr := openTree(b, dir, Options{})
		strip, err := engine(b, key(), signing.Observer{}).Strip(b.Context(), tr)
		ok(b, err)
		ok(b, errors.Join(attach(b.Context(), tr, strip), strip.Close()))
		plan := planFor(b, tr)
		b.StartTimer()
		ok(b, attach(b.Context(), tr, plan))
	}
	b.ReportMetric(float64(files*b.N)/b.Elapsed().Seconds(), "files/s")
}
