package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Errors that callers decide by.
var (
	// ErrNoRepository means a directory without (readable) metadata.
	ErrNoRepository = errors.New("not an rpm repository")
	// ErrExists means that the place for the signed repository is taken.
	ErrExists = errors.New("exists already")
	// ErrBusy means that another run is writing the same signed repository.
	ErrBusy = errors.New("another run is at work here")
	// ErrPackages means that packages failed; each result has its error. The
	// repository is as it was, and the next run goes on from what is done.
	ErrPackages = errors.New("packages could not be signed")
)

// Options of Sign.
type Options struct {
	Dir string // the repository
	// Output is where the signed repository is written, on the same file system;
	// with Swap it then changes places with Dir, so that Output is the old one.
	Output string
	Swap   bool
	// InPlace signs below Dir itself: until the metadata are made, clients find
	// packages that differ from them, and fail.
	InPlace bool
	// Signing says how packages are signed; its OpenPGP key also signs repomd.xml.
	Signing *rpmsign.Signing
	// Jobs is how many packages are worked on at a time; zero stands for one a core.
	Jobs int
	// Createrepo is the program that makes metadata; "" stands for createrepo_c.
	Createrepo string
	// Environment is that program's, "NAME=value"; nil stands for the caller's own.
	// It should be free of secrets.
	Environment []string
	// Observe gets warnings.
	Observe signing.Observer
}

func (o *Options) jobs() int {
	if o.Jobs > 0 {
		return o.Jobs
	}
	return runtime.GOMAXPROCS(0)
}

func (o *Options) warn(message string) { o.Observe.Warn("", message) }

// Sign signs the repository and hands every package's result to take, in the order
// of their paths. With a dry run in o.Signing it only plans. Errors wrap
// ErrNoRepository, ErrExists, ErrBusy or ErrPackages; after any error the
// repository is as it was, unless InPlace was asked for.
func Sign(ctx context.Context, o Options, take func(rpmsign.Result) error) error {
	old, err := readRepomd(o.Dir)
	if err != nil {
		return err
	}
	// A symbolic link to the repository stays; what it leads to is exchanged.
	if o.Dir, err = filepath.EvalSymlinks(o.Dir); err != nil {
		return err
	}
	if err := o.warnAboutMetadata(o.Dir, old); err != nil {
		return err
	}
	if o.Signing.DryRun {
		return o.dryRun(ctx, take)
	}
	if err := o.findCreaterepo(); err != nil {
		return err
	}
	if o.InPlace {
		return o.inPlace(ctx, old, take)
	}
	return o.besides(ctx, old, take)
}

func (o *Options) dryRun(ctx context.Context, take func(rpmsign.Result) error) error {
	units, err := rpmsign.FindUnits([]string{o.Dir}, "")
	if err != nil {
		return err
	}
	return o.packages(ctx, units, o.Signing.Run, take)
}

func (o *Options) inPlace(ctx context.Context, old *repomd, take func(rpmsign.Result) error) error {
	o.warn("signing in place: until the metadata are made anew, clients find packages that differ from them and fail; -o NEWDIR --swap has no such moment")
	units, err := rpmsign.FindUnits([]string{o.Dir}, "")
	if err != nil {
		return err
	}
	failed := o.packages(ctx, units, o.Signing.Run, take)
	if failed != nil && !errors.Is(failed, ErrPackages) {
		return failed
	}
	// Also when some packages failed: metadata must describe what is there.
	if err := o.createrepo(ctx, o.Dir, old); err != nil {
		return errors.Join(failed, err)
	}
	return errors.Join(failed, o.signRepomd(o.Dir, o.Dir))
}

// besides writes a sibling of the repository.
func (o *Options) besides(ctx context.Context, old *repomd, take func(rpmsign.Result) error) error {
	partial, err := o.checkOutput()
	if err != nil {
		return err
	}
	if err := os.Mkdir(partial, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	unlock, err := lock(partial)
	if err != nil {
		return err
	}
	defer unlock()
	if err := prune(o.Dir, partial); err != nil {
		return err
	}
	units, err := o.sibling(ctx, partial)
	if err != nil {
		return err
	}
	if err := o.packages(ctx, units, o.Signing.Resume, take); err != nil {
		return err
	}
	if err := o.createrepo(ctx, partial, old); err != nil {
		return err
	}
	if err := o.signRepomd(o.Dir, partial); err != nil {
		return err
	}
	return o.publish(partial)
}

// checkOutput returns the path of the partial sibling.
func (o *Options) checkOutput() (string, error) {
	out := filepath.Clean(o.Output)
	switch _, err := os.Lstat(out); {
	case err == nil:
		return "", fmt.Errorf("write %s: %w; remove it (after --swap it is the old repository) or name another place", out, ErrExists)
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return "", err
	}
	target, err := filepath.Abs(out)
	if err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(dir, target); err == nil && filepath.IsLocal(rel) {
		return "", fmt.Errorf("write %s: it lies inside of the repository; name a place beside it", out)
	}
	if err := sameFileSystem(dir, filepath.Dir(target)); err != nil && o.Swap {
		return "", err
	}
	return out + ".partial", nil
}

func sameFileSystem(a, b string) error {
	var sa, sb unix.Stat_t
	if err := unix.Stat(a, &sa); err != nil {
		return &os.PathError{Op: "stat", Path: a, Err: err}
	}
	if err := unix.Stat(b, &sb); err != nil {
		return &os.PathError{Op: "stat", Path: b, Err: err}
	}
	if sa.Dev != sb.Dev {
		return fmt.Errorf("swap %s: %s lies on another file system, where it cannot be exchanged", a, b)
	}
	return nil
}

// lock keeps other runs away from the partial sibling.
func lock(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil || !isAt(d, dir) {
		_ = d.Close()
		return nil, fmt.Errorf("write %s: %w", dir, ErrBusy)
	}
	return func() { _ = d.Close() }, nil
}

// isAt reports whether an open directory still is the one at path: the run that
// had the lock may have published it in the meantime.
func isAt(d *os.File, path string) bool {
	a, err := d.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

// packages works on all units; their failures become ErrPackages.
func (o *Options) packages(ctx context.Context, units []rpmsign.Unit, work func(context.Context, rpmsign.Unit) rpmsign.Result, take func(rpmsign.Result) error) error {
	failed := 0
	err := rpmsign.Each(ctx, o.jobs(), units, work, func(r rpmsign.Result) error {
		if r.Err != nil {
			failed++
		}
		return take(r)
	})
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d of %d %w", failed, len(units), ErrPackages)
	}
	return err
}

// publish gives the complete sibling its name.
func (o *Options) publish(partial string) error {
	if err := flush(partial); err != nil {
		return err
	}
	out := filepath.Clean(o.Output)
	err := unix.Renameat2(unix.AT_FDCWD, partial, unix.AT_FDCWD, out, unix.RENAME_NOREPLACE)
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("write %s: %w since this run began; the signed repository is at %s", out, ErrExists, partial)
	case err != nil:
		return &os.LinkError{Op: "rename", Old: partial, New: out, Err: err}
	}
	if o.Swap {
		if err := unix.Renameat2(unix.AT_FDCWD, out, unix.AT_FDCWD, filepath.Clean(o.Dir), unix.RENAME_EXCHANGE); err != nil {
			return fmt.Errorf("exchange %s with %s: %w; the signed repository is at %s", out, o.Dir, err, out)
		}
	}
	return flush(filepath.Dir(out))
}
