package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// follow brings the metadata up to date that createrepo_c kept, or warns about them.
func (m *making) follow(ctx context.Context, now *repomd) error {
	list, err := now.readPrimary(m.out)
	if err != nil {
		return err
	}
	moved := m.moved(list)
	if err := m.dropDeltas(ctx, now, moved); err != nil {
		return err
	}
	kept := slices.DeleteFunc(slices.Clone(now.Data), func(d metadata) bool { return remade(d.Type) || isDelta(d.Type) })
	old, err := m.checksums(ctx, kept, list, moved)
	if err != nil {
		return err
	}
	for was, is := range old {
		m.addStale(was, is)
	}
	for _, d := range kept {
		if err := m.followOne(ctx, kept, d, old); err != nil {
			return err
		}
	}
	return nil
}

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
	g.SetLimit(m.jobs())
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

// followOne brings one file of metadata up to date, or warns about it.
func (m *making) followOne(ctx context.Context, kept []metadata, d metadata, old checksums) error {
	kind := contentOf(d.Type)
	has, err := m.searchMetadata(d, old)
	switch {
	case (errors.Is(err, errZchunk) || errors.Is(err, fs.ErrNotExist)) && m.old.hasOriginal(d.Type):
		return nil // it goes with the other one
	case errors.Is(err, ErrMetadata):
		if kind != without && len(old) > 0 {
			m.warn(fmt.Sprintf("%s metadata may name packages by their old checksums: %v", d.Type, err))
		}
		return nil
	case err != nil:
		return err
	}
	if len(has.gone) > 0 {
		m.warn(fmt.Sprintf("%s metadata still name %d packages that are gone", d.Type, len(has.gone)))
	}
	switch {
	case kind == byChecksum && len(has.old) > 0:
		return m.rewrite(ctx, d, copyOf(kept, d), old)
	case len(has.old) > 0:
		m.warn(fmt.Sprintf("%s metadata name %d packages by their old checksums and stay as they are: what they are is not known; make them anew", d.Type, len(has.old)))
	case kind == unknown:
		m.warn(fmt.Sprintf("%s metadata are of a type that is not known, and stay as they are; no old checksum of a package was found in them", d.Type))
	}
	return nil
}

// copyOf returns the copy in zchunk of a file of metadata, nil where there is none.
func copyOf(kept []metadata, d metadata) *metadata {
	for _, c := range kept {
		if c.Type == d.Type+"_zck" {
			return &c
		}
	}
	return nil
}

func (m *making) searchMetadata(d metadata, old checksums) (found, error) {
	in, err := openMetadata(filepath.Join(m.out, d.Location.Href))
	if err != nil {
		return found{}, err
	}
	defer in.Close() //nolint:errcheck // opened for reading
	has, err := old.search(in)
	if err != nil {
		return found{}, fmt.Errorf("%s: %w: %w", d.Location.Href, ErrMetadata, err)
	}
	return has, nil
}

// byName is the name of a metadata file, without its checksum and compression.
var byName = regexp.MustCompile(`^(?:[0-9a-f]{32,128}-)?(.+?)(?:\.(?:gz|bz2|xz|zst))?$`)

// rewrite puts new checksums in place of old ones, changes no other byte of the
// unpacked file, and lists the result by modifyrepo_c: in the same compression, and in
// zchunk as well where there was such a copy.
func (m *making) rewrite(ctx context.Context, d metadata, zchunk *metadata, old checksums) error {
	dir := filepath.Join(m.work(), "metadata")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file := filepath.Join(dir, byName.FindStringSubmatch(path.Base(d.Location.Href))[1])
	if err := m.writeReplaced(d, old, file); err != nil {
		return err
	}
	defer remove(file) //nolint:errcheck // its directory is removed as a whole
	args := []string{"--mdtype=" + d.Type}
	if d.Checksum.Type != "" {
		args = append(args, "--checksum="+d.Checksum.Type)
	}
	if m.old.simpleNames() {
		args = append(args, "--simple-md-filenames")
	}
	compression, suffix := "--no-compress", ""
	if c := compressionOf(d.Location.Href); c != "" {
		compression, suffix = "--compress-type="+c, path.Ext(d.Location.Href)
	}
	// modifyrepo_c writes into what it finds, which the old repository may share.
	name := filepath.Join(metadataDir, filepath.Base(file))
	shared := []string{d.Location.Href, name + suffix}
	if zchunk != nil {
		shared = append(shared, zchunk.Location.Href, name+".zck")
	}
	for _, name := range shared {
		if err := remove(filepath.Join(m.out, name)); err != nil {
			return err
		}
	}
	args = append(args, compression, file, filepath.Join(m.out, metadataDir))
	if zchunk != nil {
		if err := m.execute(ctx, "modifyrepo_c", append([]string{"--zck"}, args...)...); err == nil || ctx.Err() != nil {
			return err
		}
		m.warn(fmt.Sprintf("%s is left out: modifyrepo_c makes no zchunk, and it names packages by their old checksums; %s is up to date", zchunk.Type, d.Type))
		if err := m.drop(ctx, zchunk.Type); err != nil {
			return err
		}
	}
	return m.execute(ctx, "modifyrepo_c", args...)
}

func (m *making) writeReplaced(d metadata, old checksums, file string) error {
	in, err := openMetadata(filepath.Join(m.out, d.Location.Href))
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // opened for reading
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(old.replace(in, out), out.Close())
}

// dropDeltas removes the metadata of delta packages, once packages have changed.
func (m *making) dropDeltas(ctx context.Context, now *repomd, moves []move) error {
	changed := slices.ContainsFunc(moves, func(v move) bool { return v.now != "" })
	dropped := false
	for _, d := range now.Data {
		if !isDelta(d.Type) || !changed {
			continue
		}
		dropped = true
		if err := m.drop(ctx, d.Type); err != nil {
			return err
		}
	}
	if dropped {
		m.warn(aboutDeltas)
	}
	return nil
}

const aboutDeltas = "delta packages lead to packages as they were: their metadata are left out"

func (m *making) drop(ctx context.Context, kind string) error {
	return m.execute(ctx, "modifyrepo_c", "--remove", kind, filepath.Join(m.out, metadataDir))
}
