package rpmsign

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// names lists dir, including files that should not be left behind.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func stat(t *testing.T, path string) (fs.FileInfo, *syscall.Stat_t) {
	t.Helper()
	info, err := os.Stat(path)
	check(t, err)
	return info, info.Sys().(*syscall.Stat_t)
}

// intact checks that a run failed and changed neither the package nor its directory.
func intact(t *testing.T, path string, before []byte, err error) {
	t.Helper()
	if err == nil || !bytes.Equal(before, content(t, path)) || names(t, filepath.Dir(path)) != filepath.Base(path) {
		t.Errorf("error %v, package changed %t, directory %s", err, !bytes.Equal(before, content(t, path)), names(t, filepath.Dir(path)))
	}
}

func TestFullDisk(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir()
	check(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=24k"))
	t.Cleanup(func() { check(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	path := packages.Copy(t, "rich", dir)
	before := content(t, path)
	r := signer(t, "rsa2048").Run(t.Context(), unit{Path: path})
	intact(t, path, before, r.Err)
	if !errors.Is(r.Err, syscall.ENOSPC) || !errors.Is(r.Err, errRestored) || !strings.Contains(r.Err.Error(), path) {
		t.Error(r.Err)
	}
}

func TestFileSizeLimit(t *testing.T) {
	path := packages.Copy(t, "zstd", t.TempDir())
	before := content(t, path)
	out, err := inChild(t, path, childLimit+"=5000").CombinedOutput()
	intact(t, path, before, err)
	if !strings.Contains(string(out), syscall.EFBIG.Error()) || !strings.Contains(string(out), path) {
		t.Errorf("%s", out)
	}
}

// TestNotTheOwner checks what happens to a user who can read the package but cannot write to
// its directory.
func TestNotTheOwner(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "rpmsign-*")
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	check(t, os.Chmod(dir, 0o755))
	path := packages.Copy(t, "zstd", dir)
	before := content(t, path)
	out, err := inChild(t, path, childUser+"=65534").CombinedOutput()
	intact(t, path, before, err)
	if !strings.Contains(string(out), syscall.EACCES.Error()) || !strings.Contains(string(out), path) {
		t.Errorf("%s", out)
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir()
	check(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { check(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	path := packages.Copy(t, "zstd", dir)
	before := content(t, path)
	check(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	r := signer(t, "p256").Run(t.Context(), unit{Path: path})
	intact(t, path, before, r.Err)
	if !errors.Is(r.Err, syscall.EROFS) || !errors.Is(r.Err, errRestored) {
		t.Error(r.Err)
	}
}

// TestKilled kills processes that sign and strip a package at random times. The package must
// always be whole, signed or not.
func TestKilled(t *testing.T) {
	dir := memory(t)
	path := packages.Copy(t, "zstd", dir)
	whole := content(t, path)
	r := rand.New(rand.NewPCG(7, 8))
	for range 12 {
		cmd := inChild(t, path, childRounds+"=100000")
		check(t, cmd.Start())
		time.Sleep(time.Duration(100+r.IntN(400)) * time.Millisecond)
		check(t, cmd.Process.Kill())
		_ = cmd.Wait() // killed
		p := mustParse(t, content(t, path))
		check(t, p.Check(t.Context(), CheckPayload))
		if p.values.present == bytes.Equal(content(t, path), whole) || len(p.Defects()) > 0 || p.size != int64(len(whole)) {
			t.Errorf("neither the old nor the signed package: %+v", p.Info())
		}
	}
}

func TestModeAndOwnerAreKept(t *testing.T) {
	for _, perm := range []fs.FileMode{0o644, 0o600, 0o664, 0o444, 0o755} {
		path := packages.Copy(t, "zstd", t.TempDir())
		check(t, os.Chown(path, 1234, 4321))
		check(t, os.Chmod(path, perm))
		run(t, signer(t, "p256"), path)
		info, sys := stat(t, path)
		if info.Mode() != perm || sys.Uid != 1234 || sys.Gid != 4321 {
			t.Errorf("mode %s, not %s, owner %d:%d", info.Mode(), perm, sys.Uid, sys.Gid)
		}
	}
}

// TestNewModTime checks that a package of the same size gets an mtime in a later second,
// whatever the old mtime was.
func TestNewModTime(t *testing.T) {
	for name, old := range map[string]time.Time{"now": time.Now(), "past": time.Unix(1_000_000_000, 5), "future": time.Now().Add(1000 * time.Hour)} {
		path := packages.Copy(t, "zstd", t.TempDir())
		check(t, os.Chtimes(path, old, old))
		was, _ := stat(t, path)
		run(t, signer(t, "p256"), path)
		is, _ := stat(t, path)
		if was.Size() != is.Size() || is.ModTime().Unix() <= was.ModTime().Unix() {
			t.Errorf("%s: size %d, was %d, mtime %s, was %s", name, is.Size(), was.Size(), is.ModTime(), was.ModTime())
		}
	}
}

func TestSymbolicLink(t *testing.T) {
	dir := t.TempDir()
	path := packages.Copy(t, "zstd", t.TempDir())
	link := filepath.Join(dir, "link.rpm")
	check(t, os.Symlink(path, link))
	run(t, signer(t, "p256"), link)
	if to, err := os.Readlink(link); err != nil || to != path {
		t.Errorf("the link leads to %s, %v", to, err)
	}
	verify(t, path, "p256")
}

// TestHardLink checks that another name of the package keeps the old content.
func TestHardLink(t *testing.T) {
	dir := t.TempDir()
	path := packages.Copy(t, "zstd", dir)
	before := content(t, path)
	other := filepath.Join(dir, "other")
	check(t, os.Link(path, other))
	run(t, signer(t, "p256"), path)
	if !bytes.Equal(content(t, other), before) {
		t.Error("the other name changed")
	}
}

// TestChanged replaces or writes to a package between reading and writing.
func TestChanged(t *testing.T) {
	for name, change := range map[string]func(path string){
		"replaced": func(path string) {
			check(t, os.WriteFile(path+".new", content(t, path), 0o644))
			check(t, os.Rename(path+".new", path))
		},
		"written to": func(path string) {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			check(t, err)
			_, err = f.WriteAt([]byte{1}, 5000)
			check(t, err)
			check(t, f.Close())
		},
		"truncated": func(path string) { check(t, os.Truncate(path, 1000)) },
		"removed":   func(path string) { check(t, os.Remove(path)) },
	} {
		path := packages.Copy(t, "zstd", t.TempDir())
		s := signer(t, "p256")
		plan := s.Plan
		s.Plan = func(ctx context.Context, p *Package) (*signing.Plan, error) {
			change(path)
			return plan(ctx, p)
		}
		r := s.Run(t.Context(), unit{Path: path})
		if name == "removed" {
			if !errors.Is(r.Err, fs.ErrNotExist) || names(t, filepath.Dir(path)) != "" {
				t.Errorf("%s: %v, %s", name, r.Err, names(t, filepath.Dir(path)))
			}
			continue
		}
		if !errors.Is(r.Err, ErrChanged) || names(t, filepath.Dir(path)) != filepath.Base(path) || mustStartUnsigned(t, path) {
			t.Errorf("%s: %v, %s", name, r.Err, names(t, filepath.Dir(path)))
		}
	}
}

// mustStartUnsigned reports whether the file has file signatures.
func mustStartUnsigned(t *testing.T, path string) bool {
	t.Helper()
	return bytes.Contains(content(t, path), []byte("030204"))
}

// TestPlanOfAnother checks that a plan fits only the package that it was made from.
func TestPlanOfAnother(t *testing.T) {
	e := engine(t, keys["p256"]())
	for _, other := range []string{"xz", "rich", "empty"} {
		q := mustParse(t, content(t, packages.Path(t, other)))
		plan, err := e.Plan(t.Context(), q)
		check(t, err)
		path := packages.Copy(t, "zstd", t.TempDir())
		before := content(t, path)
		p, err := Open(path, Options{})
		check(t, err)
		_, err = p.Prepare(t.Context(), plan)
		intact(t, path, before, err)
		if err != nil && !strings.Contains(err.Error(), "another package") {
			t.Error(err)
		}
		check(t, p.Close())
		check(t, plan.Close())
	}
}

func TestEndsWithContext(t *testing.T) {
	path := packages.Copy(t, "zstd", t.TempDir())
	before := content(t, path)
	p, err := Open(path, Options{})
	check(t, err)
	defer p.Close()
	plan, err := engine(t, keys["p256"]()).Plan(t.Context(), p)
	check(t, err)
	defer plan.Close()
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	_, err = p.Prepare(ctx, plan)
	intact(t, path, before, err)
	if !errors.Is(err, stop) {
		t.Error(err)
	}
	c, err := p.Prepare(t.Context(), plan)
	check(t, err)
	err = c.Commit(ctx)
	intact(t, path, before, err)
	if !errors.Is(err, stop) || !errors.Is(err, errRestored) {
		t.Error(err)
	}
}

// TestOutput checks that the package is written elsewhere and the original is unchanged.
func TestOutput(t *testing.T) {
	path := packages.Copy(t, "zstd", t.TempDir())
	check(t, os.Chmod(path, 0o640))
	before := content(t, path)
	out := filepath.Join(t.TempDir(), "out.rpm")
	for range 2 { // the second time replaces the first output
		r := signer(t, "p256").Run(t.Context(), unit{Path: path, Output: out})
		check(t, r.Err)
		verify(t, out, "p256")
	}
	if info, _ := stat(t, out); !bytes.Equal(before, content(t, path)) || info.Mode() != 0o640 {
		t.Errorf("input changed, or mode %s", info.Mode())
	}
	r := signer(t, "p256").Run(t.Context(), unit{Path: path, Output: path})
	check(t, r.Err)
	verify(t, path, "p256")
}

// TestShare checks that a package without a change is linked, and never lost.
func TestShare(t *testing.T) {
	path := packages.Copy(t, "zstd", t.TempDir())
	run(t, signer(t, "p256"), path)
	s := signer(t, "p256")
	s.Options.Share = true
	dir := t.TempDir()
	same := func(a, b string) bool {
		x, _ := stat(t, a)
		y, _ := stat(t, b)
		return os.SameFile(x, y)
	}
	out := filepath.Join(dir, "out.rpm")
	link := filepath.Join(dir, "link.rpm")
	check(t, os.Symlink(path, link))
	for _, u := range []unit{{Path: path, Output: out}, {Path: path, Output: out}, {Path: path, Output: path}, {Path: link, Output: filepath.Join(dir, "by-link.rpm")}} {
		check(t, s.Run(t.Context(), u).Err)
		if info, err := os.Lstat(u.Output); err != nil || !info.Mode().IsRegular() || !same(path, u.Output) {
			t.Errorf("%+v: %v, %v", u, info, err)
		}
	}
	check(t, os.WriteFile(filepath.Join(dir, "old.rpm"), []byte("old"), 0o644))
	check(t, s.Run(t.Context(), unit{Path: path, Output: filepath.Join(dir, "old.rpm")}).Err)
	verify(t, filepath.Join(dir, "old.rpm"), "p256")
	source := packages.Copy(t, "source", t.TempDir())
	check(t, s.Run(t.Context(), unit{Path: source, Output: filepath.Join(dir, "source.rpm")}).Err)
	if !same(source, filepath.Join(dir, "source.rpm")) {
		t.Error("a source package is copied")
	}
}

// TestResume checks that Resume keeps what an interrupted run signed, and signs anew what it
// signed with other options.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	u := unit{Path: packages.Copy(t, "openpgp-rsa", dir), Output: filepath.Join(dir, "signed.rpm")}
	s := signer(t, "p256")
	check(t, s.Resume(t.Context(), u).Err)
	was, sys := stat(t, u.Output)
	r := s.Resume(t.Context(), u)
	check(t, r.Err)
	if is, now := stat(t, u.Output); r.Changed || r.unit != u || now.Ino != sys.Ino || !is.ModTime().Equal(was.ModTime()) {
		t.Errorf("signed again: %+v", r)
	}
	other := signer(t, "rsa2048")
	e, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(keys["rsa2048"]()), publicKey(t, keys["rsa2048"]())), Public: publicKey(t, keys["rsa2048"]())}, 0)}})
	check(t, err)
	other.Plan = func(ctx context.Context, p *Package) (*signing.Plan, error) { return e.Plan(ctx, p) } // without force
	check(t, other.Resume(t.Context(), u).Err)
	verify(t, u.Output, "rsa2048")
	// A run without an OpenPGP key does not keep OpenPGP signatures of the interrupted run.
	withKey := signer(t, "p256")
	withKey.Options.OpenPGP = readKey(t, content(t, vectors+"keys/openpgp-ed25519.secret.asc"), "")
	check(t, withKey.Resume(t.Context(), u).Err)
	if p := mustParse(t, content(t, u.Output)); !p.signedBy(withKey.Options.OpenPGP) {
		t.Error("not signed with the OpenPGP key")
	}
	check(t, s.Resume(t.Context(), u).Err)
	if p := mustParse(t, content(t, u.Output)); p.signedBy(withKey.Options.OpenPGP) || !p.sig.has(tagRSA) {
		t.Error("still signed with the OpenPGP key of another run")
	}
	check(t, os.Truncate(u.Output, 3000))
	check(t, s.Resume(t.Context(), u).Err)
	verify(t, u.Output, "p256")
	if r := s.Resume(t.Context(), unit{Path: filepath.Join(dir, "none"), Output: u.Output}); !errors.Is(r.Err, fs.ErrNotExist) {
		t.Error(r.Err)
	}
}

// TestResumeOther checks that nothing of an interrupted run gets into the result if it
// selected other files or signed files that this run leaves unsigned.
func TestResumeOther(t *testing.T) {
	dir := t.TempDir()
	u := unit{Path: packages.Copy(t, "openpgp-rsa", dir), Output: filepath.Join(dir, "signed.rpm")}
	all, part := signer(t, "p256"), signer(t, "p256")
	check(t, all.Resume(t.Context(), u).Err)
	part.Kept = func(src signing.Source) signing.Source { return butFirst{src} }
	part.Plan = func(ctx context.Context, p *Package) (*signing.Plan, error) {
		e, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(keys["p256"]()), publicKey(t, keys["p256"]())), Public: publicKey(t, keys["p256"]())}, 0)}})
		check(t, err)
		return e.Plan(ctx, part.Kept(p))
	}
	for range 2 {
		r := part.Resume(t.Context(), u)
		check(t, r.Err)
		if p := mustParse(t, content(t, u.Output)); signatures(p) != 1 {
			t.Errorf("%d files are signed, want 1", signatures(p))
		}
	}
	if r := part.Resume(t.Context(), u); r.Err != nil || r.Changed {
		t.Errorf("its own output is not continued: %+v", r)
	}
}

// butFirst leaves out all files except the first one that can be signed.
type butFirst struct{ signing.Source }

func (b butFirst) Entries(ctx context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		met := false
		for e, err := range b.Source.Entries(ctx) {
			if e.Reason == "" && met {
				e.Reason = "not the first"
			}
			if met = met || e.Reason == ""; !yield(e, err) {
				return
			}
		}
	}
}

func signatures(p *Package) (n int) {
	for i := range p.files {
		if p.values.of(i) != nil {
			n++
		}
	}
	return n
}

func TestDryRun(t *testing.T) {
	path := packages.Copy(t, "no-reserve", t.TempDir())
	before := content(t, path)
	s := signer(t, "rsa2048")
	s.DryRun = true
	r := run(t, s, path)
	if !r.Changed || r.Grows < 2000 || !bytes.Equal(before, content(t, path)) {
		t.Errorf("%+v", r)
	}
	s.DryRun = false
	if real := run(t, s, path); real.Grows != r.Grows || len(content(t, path)) != len(before)+int(r.Grows) {
		t.Errorf("grows by %d, predicted %d", len(content(t, path))-len(before), r.Grows)
	}
}
