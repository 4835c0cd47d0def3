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

// move is the change of a package's checksum.
type move struct{ item, old, now string } // now is "" for a package that is gone

// moved returns the packages whose checksums changed.
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

// checksums returns the old checksums that metadata can have of changed packages, with the
// new ones. primary.xml states one kind. If the metadata has checksums of other lengths, the
// packages are read for them.
func (m *making) checksums(ctx context.Context, kept []metadata, list []listed, moves []move) (checksums, error) {
	all := checksums{}
	for _, v := range moves {
		if all[v.old] == "" { // one of two copies may be gone
			all[v.old] = v.now
		}
	}
	// A checksum that some package has now is not stale.
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

// otherDigits returns the lengths, in hex digits, of possible checksums in metadata files,
// except one length.
func (r *task) otherDigits(dir string, list []metadata, but int) (map[int]bool, error) {
	lengths := map[int]bool{}
	for _, d := range list {
		in, err := openMetadata(filepath.Join(dir, d.Location.Href))
		if errors.Is(err, ErrMetadata) || errors.Is(err, fs.ErrNotExist) {
			continue // followOne warns about it
		}
		if err != nil {
			return nil, err
		}
		_ = digits(in, lengths) // followOne warns about errors
		if err := in.Close(); err != nil {
			return nil, err
		}
	}
	delete(lengths, but)
	return lengths, nil
}

// warnAboutOthers warns about checksums that cannot be replaced, because the packages that
// had them no longer exist.
func (m *making) warnAboutOthers(kept []metadata, but int) error {
	for _, d := range kept {
		lengths, err := m.otherDigits(m.out, []metadata{d}, but)
		if err != nil {
			return err
		}
		if len(lengths) > 0 && contentOf(d.Type) == byChecksum {
			m.warn(fmt.Sprintf("%s metadata has checksums of another kind than %s, which may be old and cannot be replaced", d.Type, m.all[0].sumType))
		}
	}
	return nil
}

// remember computes the checksums of packages that will be changed in place, of the kinds that
// metadata has in addition to that of primary.xml.
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

// otherSums adds checksums that primary.xml does not state. It reports false if a package
// had changed before this run, so it was no longer the one that primary.xml lists.
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
