// Package image opens finished images: files with a file system, or with a partition table
// and file systems in its partitions, compressed or not. It lists their files for the
// engine of pkg/signing, without mounting anything and without privileges.
//
// Package disk reads partition tables. Packages ext4, squashfs and erofs read file systems,
// and package filesystem walks them. This package recognises formats, finds the file
// systems that the user means, and says what is to be done about those that it cannot
// read. Verifying and printing are left to callers.
package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/disk"
	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/internal/tree"
)

// DefaultUnpackLimit is the usual value of Options.UnpackLimit, in bytes.
const DefaultUnpackLimit = 64 << 30

var (
	// ErrUnpackLimit means an image that unpacks to more than Options.UnpackLimit.
	ErrUnpackLimit = errors.New("more content than the limit")
	// ErrUnreadable means a format that this package recognises and cannot read, or does
	// not recognise.
	ErrUnreadable = errors.New("no file system that can be read")
	// ErrNothing means partitions none of which can be read. It wraps ErrUnreadable.
	ErrNothing = fmt.Errorf("%w in any partition", ErrUnreadable)
	// ErrCompression means compressed data that cannot be decompressed.
	ErrCompression = errors.New("decompress")
	// ErrDirectory means a directory where an image was expected. It wraps EISDIR.
	ErrDirectory = fmt.Errorf("%w", syscall.EISDIR)
)

// Options are options of Open.
type Options struct {
	// SectorSize is the number of bytes that a partition table counts in: 512 or 4096.
	// Zero means that Open finds it out.
	SectorSize int64
	// Reading, unless nil, wraps the input that is unpacked.
	Reading func(io.Reader) io.Reader
	// UnpackLimit limits the bytes that a compressed image, or a pipe, may unpack to.
	UnpackLimit int64
}

// Image is an open image.
type Image struct {
	name        string
	file        *os.File // the image, or its unpacked copy in a temporary file
	size        int64
	compression compress.Format
	stamp       *tree.Stamp // of a file that is read in place
	table       *disk.Table
	volumes     []Volume
}

// Open opens the image in a file. Compressed images, and what is not a regular file or a
// block device, are first unpacked into an unnamed temporary file. stdin is read for the
// name "-".
func Open(ctx context.Context, path string, stdin io.Reader, o Options) (*Image, error) {
	i := &Image{name: path}
	if path == "-" {
		i.name = "standard input"
	}
	err := i.load(ctx, path, stdin, &o)
	if err == nil {
		err = i.survey(o.SectorSize)
	}
	if err != nil {
		if i.file != nil {
			err = errors.Join(err, i.file.Close())
		}
		var opened *fs.PathError
		if errors.As(err, &opened) && opened.Path == path {
			return nil, err
		}
		return nil, fmt.Errorf("%s: %w", i.name, err)
	}
	return i, nil
}

// Close closes the image. Its file systems can no longer be read.
func (i *Image) Close() error { return i.file.Close() }

// Name returns the image's name in messages.
func (i *Image) Name() string { return i.name }

// Size returns the number of bytes, after decompression.
func (i *Image) Size() int64 { return i.size }

// Compression returns how the image is compressed.
func (i *Image) Compression() compress.Format { return i.compression }

// Table returns the partition table, or nil if there is none.
func (i *Image) Table() *disk.Table { return i.table }

// Volumes returns the partitions in the order of their numbers, or the whole image as one
// volume if it has no partition table.
func (i *Image) Volumes() []Volume { return i.volumes }

// File returns the file that has the image's content, not compressed. The caller does not
// close it.
func (i *Image) File() *os.File { return i.file }

// Of returns this image with the content of another file, a copy. The caller closes the
// file.
func (i *Image) Of(file *os.File) *Image {
	other := *i
	other.file, other.stamp = file, nil
	return &other
}

// Unchanged returns an error if the image was written to since it was opened.
func (i *Image) Unchanged() error {
	if i.stamp == nil {
		return nil
	}
	now, err := tree.StampOf(i.file)
	if err == nil {
		err = i.stamp.Check(now)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", i.name, err)
	}
	return nil
}

// survey reads the partition table and recognises the file systems.
func (i *Image) survey(sector int64) error {
	whole, table, err := Inspect(i.file, i.size, sector)
	if err != nil {
		return err
	}
	if i.table = table; table == nil {
		i.volumes = []Volume{{Partition: disk.Partition{Size: i.size}, Format: whole}}
		return nil
	}
	for _, p := range i.table.Partitions {
		if p.Extended {
			continue
		}
		v := Volume{Partition: p}
		if v.Format, err = Recognise(io.NewSectionReader(i.file, p.Start, p.Size), p.Size); err != nil {
			return fmt.Errorf("partition %d: %w", p.Number, err)
		}
		i.volumes = append(i.volumes, v)
	}
	return nil
}
