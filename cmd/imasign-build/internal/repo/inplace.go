package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Refresh regenerates the metadata of repositories from the packages that exist, for example
// after they were signed in place or elsewhere. It changes no package, and reuses nothing
// that the old metadata says about packages. The metadata of each repository is exchanged
// in one step.
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

// inPlace signs the packages in place and regenerates the metadata.
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
		// Also if some packages failed: the metadata must describe those that changed.
		return errors.Join(failed, r.renew(ctx, s))
	})
}

// renew makes the metadata of all repositories and exchanges it with the old metadata.
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

// removeWork removes workDir in dir, if it exists. Without it, a read-only file system is no
// error.
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

// tellRemovals warns about packages that are no longer listed.
func (r *task) tellRemovals() {
	if len(r.summary.Removed) > 0 {
		r.warn("no longer listed, because they do not exist: " + some(r.summary.Removed))
	}
}
