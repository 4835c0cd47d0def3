package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
)

// follow updates the metadata that createrepo_c kept, or warns about it.
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

// followOne updates one metadata file, or warns about it.
func (m *making) followOne(ctx context.Context, kept []metadata, d metadata, old checksums) error {
	kind := contentOf(d.Type)
	has, err := m.searchMetadata(d, old)
	switch {
	case (errors.Is(err, errZchunk) || errors.Is(err, fs.ErrNotExist)) && m.old.hasOriginal(d.Type):
		return nil // the original is updated with it
	case errors.Is(err, ErrMetadata):
		if kind != without && len(old) > 0 {
			m.warn(fmt.Sprintf("%s metadata may have old checksums of packages: %v", d.Type, err))
		}
		return nil
	case err != nil:
		return err
	}
	if len(has.gone) > 0 {
		m.warn(fmt.Sprintf("%s metadata has checksums of packages that are gone (%d)", d.Type, len(has.gone)))
	}
	switch {
	case kind == byChecksum && len(has.old) > 0:
		return m.rewrite(ctx, d, copyOf(kept, d), old)
	case len(has.old) > 0:
		m.warn(fmt.Sprintf("%s metadata has old checksums of packages (%d) and is kept unchanged, because this program does not know this type: regenerate it", d.Type, len(has.old)))
	case kind == unknown:
		m.warn(fmt.Sprintf("%s metadata is kept unchanged, because this program does not know this type; it has no old checksum of a package", d.Type))
	}
	return nil
}

// copyOf returns the zchunk copy of a metadata file, or nil if there is none.
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

// byName matches the name of a metadata file. Its group is the name without checksum and
// compression.
var byName = regexp.MustCompile(`^(?:[0-9a-f]{32,128}-)?(.+?)(?:\.(?:gz|bz2|xz|zst))?$`)

// rewrite replaces old checksums in a metadata file and changes no other byte of its
// unpacked content. modifyrepo_c lists the result with the same compression, and with a
// zchunk copy if there was one.
func (m *making) rewrite(ctx context.Context, d metadata, zchunk *metadata, old checksums) error {
	dir := filepath.Join(m.work(), "metadata")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file := filepath.Join(dir, byName.FindStringSubmatch(path.Base(d.Location.Href))[1])
	if err := m.writeReplaced(d, old, file); err != nil {
		return err
	}
	defer remove(file) //nolint:errcheck // its whole directory is removed later
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
	// modifyrepo_c writes into existing files, which the old repository may share.
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
		m.warn(fmt.Sprintf("%s is left out: it has old checksums of packages, and modifyrepo_c does not make zchunk; %s is up to date", zchunk.Type, d.Type))
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

// dropDeltas removes the metadata of delta packages if packages changed.
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

const aboutDeltas = "delta packages rebuild the packages from before this run: their metadata is left out"

func (m *making) drop(ctx context.Context, kind string) error {
	return m.execute(ctx, "modifyrepo_c", "--remove", kind, filepath.Join(m.out, metadataDir))
}
