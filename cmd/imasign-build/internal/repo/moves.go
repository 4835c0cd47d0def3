package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/imasign/imasign-build/internal/pipeline"
)

// move is what became of a package's checksum.
type move struct{ item, old, now string } // now is "" for a package that is gone

// moved returns what the checksums of packages were, of those that are others now.
func (m *making) moved(list []listed) []move {
	now := map[string]string{}
	for _, p := range list {
		now[path.Clean(p.href)] = p.pkgid
	}
	var moves []move
	for _, p := range m.all {
		if is := now[path.Clean(p.href)]; is != p.pkgid {
			moves = append(moves, move{m.units[p.href], p.pkgid, is})
		}
	}
	return moves
}

// checksums are those that metadata may have, of packages that have others now. The
// one that primary.xml states is known; for lengths of another kind in the metadata
// the packages are read.
func (m *making) checksums(ctx context.Context, kept []metadata, list []listed, moves []move) (checksums, error) {
	all := checksums{}
	for _, v := range moves {
		if all[v.old] == "" { // of two copies, one may be gone
			all[v.old] = v.now
		}
	}
	// A checksum that some package has by now is not stale.
	for _, p := range list {
		delete(all, p.pkgid)
	}
	if len(moves) == 0 {
		return all, nil
	}
	lengths, err := m.otherDigits(m.out, kept, len(moves[0].old))
	if err != nil || len(lengths) == 0 {
		return all, err
	}
	traced := false
	if !m.afresh {
		if traced, err = m.otherSums(ctx, moves, lengths, all); err != nil {
			return nil, err
		}
	}
	if !traced {
		err = m.warnAboutOthers(kept, len(moves[0].old))
	}
	return all, err
}

// otherDigits finds the lengths of what may be checksums in files of metadata, but for
// one length.
func (r *task) otherDigits(dir string, list []metadata, but int) (map[int]bool, error) {
	lengths := map[int]bool{}
	for _, d := range list {
		in, err := openMetadata(filepath.Join(dir, d.Location.Href))
		if errors.Is(err, ErrMetadata) || errors.Is(err, fs.ErrNotExist) {
			continue // which is told later
		}
		if err != nil {
			return nil, err
		}
		_ = digits(in, lengths) // the same
		if err := in.Close(); err != nil {
			return nil, err
		}
	}
	delete(lengths, but)
	return lengths, nil
}

// warnAboutOthers tells of checksums that cannot be traced back, as the packages that
// had them are gone.
func (m *making) warnAboutOthers(kept []metadata, but int) error {
	for _, d := range kept {
		lengths, err := m.otherDigits(m.out, []metadata{d}, but)
		if err != nil {
			return err
		}
		if len(lengths) > 0 && contentOf(d.Type) == byChecksum {
			m.warn(fmt.Sprintf("%s metadata have checksums of another kind than the packages' %s, which cannot be traced back and may be stale", d.Type, m.all[0].sumType))
		}
	}
	return nil
}

// remember keeps the checksums of packages that are about to be changed in place, of
// the kinds that metadata have beside the one in primary.xml.
func (r *task) remember(ctx context.Context, s *site) error {
	r.before = map[string]map[int]string{}
	for _, p := range s.repositories {
		if len(p.all) == 0 {
			continue
		}
		kept := slices.DeleteFunc(slices.Clone(p.old.Data), func(d metadata) bool { return remade(d.Type) || isDelta(d.Type) })
		lengths, err := r.otherDigits(filepath.Join(r.Dir, p.rel), kept, len(p.all[0].pkgid))
		if err != nil {
			return err
		}
		if len(lengths) == 0 {
			continue
		}
		lengths[len(p.all[0].pkgid)] = true
		for _, item := range p.units {
			if r.before[item], err = sums(ctx, filepath.Join(r.Dir, item), lengths); err != nil {
				return err
			}
		}
	}
	return nil
}

// otherSums adds checksums that primary.xml does not state. It reports false where a
// package was not any more, before this run, the one that primary.xml lists.
func (m *making) otherSums(ctx context.Context, moves []move, lengths map[int]bool, all checksums) (traced bool, err error) {
	var mu sync.Mutex
	traced = true
	lengths = maps.Clone(lengths)
	lengths[len(moves[0].old)] = true
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(pipeline.Jobs(m.Jobs))
	for _, v := range moves {
		if v.item == "" || v.now == "" {
			continue
		}
		g.Go(func() error {
			was, known := m.before[v.item]
			if !known {
				var err error
				if was, err = sums(ctx, filepath.Join(m.Dir, v.item), lengths); err != nil {
					return err
				}
			}
			is, err := sums(ctx, filepath.Join(m.to, v.item), lengths)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			traced = traced && was[len(v.old)] == v.old
			for n, sum := range was {
				if sum != is[n] {
					all[sum] = is[n]
				}
			}
			return nil
		})
	}
	err = g.Wait()
	return traced, err
}
