package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Refresh makes a repository's metadata anew, of the packages that are there, and
// changes no package: for packages that were signed in place, or elsewhere. Nothing
// that the old metadata say of packages is taken over. The metadata are exchanged in
// one step, for each repository.
func Refresh(ctx context.Context, o Options) (Summary, error) {
	r, err := newTask(o)
	if err != nil {
		return Summary{}, err
	}
	r.afresh = true
	err = r.refresh(ctx)
	return r.summary, err
}

func (r *task) refresh(ctx context.Context) error {
	s, unlock, err := r.begin(ctx, true)
	if err != nil {
		return err
	}
	defer unlock()
	return r.again(ctx, s, func(s *site) error {
		if err := r.decide(s); err != nil {
			return err
		}
		return r.renew(ctx, s)
	})
}

// inPlace signs the packages where they are, and makes the metadata anew.
func (r *task) inPlace(ctx context.Context, s *site) error {
	if err := r.decide(s); err != nil {
		return err
	}
	if r.before == nil {
		if err := r.remember(ctx, s); err != nil {
			return err
		}
	}
	return r.packages(ctx, s, "", func(ctx context.Context, _ bool, failed error) error {
		// Also when some packages failed: metadata must describe what is there.
		return errors.Join(failed, r.renew(ctx, s))
	})
}

// renew makes the metadata of all repositories and exchanges them with the old ones.
func (r *task) renew(ctx context.Context, s *site) (err error) {
	if err := r.await(ctx, r.Dir); err != nil {
		return err
	}
	defer func() {
		for _, p := range s.repositories {
			err = errors.Join(err, removeWork(filepath.Join(r.Dir, p.rel)))
		}
	}()
	for _, p := range s.repositories {
		if err := r.renewOne(ctx, p); err != nil {
			return err
		}
	}
	r.tellRemovals()
	if err := r.warnAboutLists(s); err != nil {
		return err
	}
	if err := r.unchanged(ctx, s); err != nil {
		return err
	}
	for _, p := range s.repositories {
		dir := filepath.Join(r.Dir, p.rel)
		if err := flush(dir); err != nil {
			return err
		}
		if err := exchange(filepath.Join(dir, workDir, metadataDir), filepath.Join(dir, metadataDir)); err != nil {
			return err
		}
	}
	r.summary.Agree = true
	return flush(r.Dir)
}

// removeWork removes the directory of this package below dir. Where there is none, that
// is no error, also on a file system that is read-only.
func removeWork(dir string) error {
	work := filepath.Join(dir, workDir)
	if none, err := isNotThere(work); none || err != nil {
		return err
	}
	return os.RemoveAll(work)
}

func (r *task) renewOne(ctx context.Context, p *listing) error {
	dir := filepath.Join(r.Dir, p.rel)
	work := filepath.Join(dir, workDir)
	if err := removeWork(dir); err != nil {
		return err
	}
	if err := os.Mkdir(work, 0o700); err != nil {
		return err
	}
	if err := shareMetadata(dir, work); err != nil {
		return fmt.Errorf("copy the metadata of %s: %w", dir, err)
	}
	m := &making{task: r, listing: p, to: r.Dir, dir: dir, out: work}
	return m.make(ctx)
}

// tellRemovals names packages that are not listed any more.
func (r *task) tellRemovals() {
	if len(r.summary.Removed) > 0 {
		r.warn("listed so far, but not there, and not listed any more: " + some(r.summary.Removed))
	}
}
