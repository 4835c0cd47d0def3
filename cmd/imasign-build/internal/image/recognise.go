package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/disk"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// Format is a format of an image or a partition. The zero value is one that is not known.
type Format struct {
	Name     string // short, for lists: a name as in /proc/filesystems, or a few words
	What     string // the same in a sentence: "a Debian package"
	Readable bool   // there is a reader for it
	Holds    bool   // it is a bundle of images, which have signatures of their own
	// Advice is what to do about a format that cannot be read, without our commands and
	// flags. It follows a colon.
	Advice string
	// Sealed is what follows the file system, or the end of a partition, and would no longer
	// match after a change: "a dm-verity hash tree". It is "" if nothing does.
	Sealed string
}

// headSize is how many bytes at the beginning most formats are recognised by. The
// superblock of btrfs is the last one.
const headSize = 68 << 10

// probe is content whose format is sought.
type probe struct {
	r    io.ReaderAt
	size int64
	head []byte // the first headSize bytes, or all
	err  error  // the first error of r
}

// at returns n bytes at an offset, or nil if the content ends before. Negative offsets
// count from the end.
func (p *probe) at(offset int64, n int) []byte {
	if offset < 0 {
		offset += p.size
	}
	switch {
	case offset < 0 || offset > p.size || int64(n) > p.size-offset:
		return nil
	case offset+int64(n) <= int64(len(p.head)):
		return p.head[offset : offset+int64(n)]
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(p.r, offset, int64(n)), b); err != nil {
		p.err = errors.Join(p.err, fmt.Errorf("read %d bytes at byte %d: %w", n, offset, err))
		return nil
	}
	return b
}

// has reports whether the content has magic at an offset.
func (p *probe) has(offset int64, magic string) bool {
	return string(p.at(offset, len(magic))) == magic
}

// Recognise returns the format of content of size bytes, without a table of partitions.
// The error wraps filesystem.ErrCorrupt if there are two file systems in the same place, or
// is one of r.
func Recognise(r io.ReaderAt, size int64) (Format, error) {
	p := &probe{r: r, size: size}
	p.head = p.at(0, int(min(size, headSize)))
	f, err := p.recognise()
	if p.err != nil {
		return Format{}, p.err
	}
	return f, err
}

func (p *probe) recognise() (Format, error) {
	for _, f := range wrappers() {
		if f.is(p) {
			return f.Format, nil
		}
	}
	if f, err := p.readable(); err != nil || f.Name != "" {
		return f, err
	}
	for _, f := range others() {
		if f.is(p) {
			return f.Format, nil
		}
	}
	return Format{}, nil
}

// readable finds a file system that there is a reader for.
func (p *probe) readable() (found Format, err error) {
	for _, f := range readables() {
		switch {
		case !f.is(p):
		case found.Name != "":
			return Format{}, filesystem.Corrupt("both %s and %s begin here", found.What, f.What)
		default:
			found = f.Format
			found.Name, found.What = p.version(found)
			found.Sealed = p.seal(f.end(p))
		}
	}
	return found, nil
}

// version tells ext2, ext3 and ext4 apart.
func (p *probe) version(f Format) (name, what string) {
	if f.Name != "ext4" {
		return f.Name, f.What
	}
	name = extVersion(p.at(superblock, superblock))
	return name, strings.Replace(f.What, "ext4", name, 1)
}

// Inspect returns the format of an image, or its table of partitions. A file system that is
// recognised wins over an MBR, because boot sectors of file systems look like one, but not
// if the MBR has partitions. sector is as in disk.Read.
func Inspect(r io.ReaderAt, size, sector int64) (Format, *disk.Table, error) {
	f, err := Recognise(r, size)
	if err != nil || f.exclusive() {
		return f, nil, err
	}
	t, err := readTable(r, size, sector)
	partitions := err == nil && len(t.Partitions) > 0
	switch {
	case f.Name == "" && errors.Is(err, disk.ErrNoTable):
		return f, nil, nil
	case f.Name == "":
		return f, t, err
	case partitions && f.Readable:
		return Format{}, nil, filesystem.Corrupt("both %s and partitions (%s) are in it", f.What, t.Kind)
	case partitions:
		return Format{}, t, nil
	}
	return f, nil, nil
}

// readTable reads a partition table. An MBR does not state the size of its sectors: if no
// partition has a format that is known, those of 4096 bytes are tried.
func readTable(r io.ReaderAt, size, sector int64) (*disk.Table, error) {
	t, err := disk.Read(r, size, sector)
	switch {
	case sector != 0, err != nil && !errors.Is(err, filesystem.ErrCorrupt):
		return t, err
	case err == nil && (t.Kind != disk.MBR || has(t, r, func(f Format) bool { return f.Name != "" })):
		return t, nil
	}
	large, failed := disk.Read(r, size, 4096)
	if failed == nil && large.Kind == disk.MBR && has(large, r, func(f Format) bool { return f.Readable }) {
		return large, nil
	}
	return t, err
}

// has reports whether a partition of a table has a format.
func has(t *disk.Table, r io.ReaderAt, wanted func(Format) bool) bool {
	return slices.ContainsFunc(t.Partitions, func(p disk.Partition) bool {
		f, err := Recognise(io.NewSectionReader(r, p.Start, p.Size), p.Size)
		return err == nil && !p.Extended && wanted(f)
	})
}

// exclusive reports whether what looks like a table of partitions is none: the boot sector
// of a file system, or a table that makes a CD image bootable from other media.
func (f Format) exclusive() bool {
	switch f.Name {
	case "vfat", "exfat", "ntfs", "iso9660", "kernel":
		return true
	}
	return false
}

// zeros reports whether all bytes are zero.
func zeros(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
