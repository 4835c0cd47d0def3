// Package ext4sign makes copies of finished images in which files of an ext2, ext3 or ext4
// file system have the values of a plan.
//
// A [Copy] is a container for package operate. The program debugfs of e2fsprogs writes the
// values. It needs neither root nor a mount, but it works on any image that is not too
// broken for it, shortens values, and reports no error in its exit code. Therefore it runs
// only on images that package image has read completely, gets inode numbers instead of
// names, and is not believed: the copy is read again and compared with the original file
// by file, and e2fsck must find it clean. A copy that fails is discarded.
//
// The same image and the same plan give the same bytes: the file system keeps the time of
// its last change.
//
// Reading images, and finding the partitions that the user means, is left to package
// image.
package ext4sign

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/ext4"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/pkg/signing"
)

var (
	// ErrFormat means a file system that debugfs cannot change, or not without harm.
	ErrFormat = errors.New("its files cannot be signed")
	// ErrSquashfs means a file system that nothing can change.
	ErrSquashfs = errors.New("squashfs is read-only, so its files cannot be signed")
	// ErrEROFS means a file system that nothing can change.
	ErrEROFS = errors.New("erofs is read-only, so its files cannot be signed")
	// ErrRoom means that the file system has no room for the values.
	ErrRoom = errors.New("no room")
	// ErrSealed means that something has a checksum or a signature of the image, which
	// would no longer match.
	ErrSealed = errors.New("signing would invalidate checksums")
	// ErrDamaged means a file system that e2fsck does not find clean.
	ErrDamaged = errors.New("e2fsck does not find it clean")
	// ErrNoProgram means that e2fsprogs are not installed.
	ErrNoProgram = errors.New("not found: install e2fsprogs")
)

// errAttach means that debugfs did not do what it was told.
var errAttach = errors.New("debugfs failed")

// Options are options of Open.
type Options struct {
	Walk filesystem.Options // Mounts are set by Open
	// Output is the path of the copy, or "" if there will be none. What has checksums of
	// that file is refused too.
	Output string
	// Write calls write with an empty file, and keeps that as the copy only if write
	// returns nil.
	Write func(ctx context.Context, write func(*os.File) error) error
	// Environment is that of the child processes.
	Environment []string
	Jobs        int
	// Observe gets progress and warnings, from any goroutine.
	Observe signing.Observer
}

// Copy is an image and its copy.
type Copy struct {
	*image.Source

	o      Options
	image  *image.Image
	chosen []image.Mount
	mounts []mount
}

// mount is a file system to change.
type mount struct {
	image.Mount
	*ext4.FileSystem
}

// Open prepares to copy the chosen file systems of an image. It refuses what no plan could
// change. The Copy closes the image.
func Open(ctx context.Context, img *image.Image, chosen []image.Mount, o Options) (*Copy, error) {
	for _, m := range chosen {
		if err := formatted(m.Volume); err != nil {
			return nil, fmt.Errorf("%s: %w", img.Name(), err)
		}
	}
	source, err := img.Source(chosen, o.Walk)
	if err != nil {
		return nil, err
	}
	c := &Copy{Source: source, o: o, image: img, chosen: chosen}
	for k, r := range source.Readers() {
		fs, ok := r.(*ext4.FileSystem)
		if !ok {
			return nil, fmt.Errorf("%s: %w", img.Name(), ErrFormat)
		}
		c.mounts = append(c.mounts, mount{chosen[k], fs})
	}
	if err := c.check(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", img.Name(), err)
	}
	return c, nil
}

// Close closes the image.
func (c *Copy) Close() error { return c.image.Close() }

// formatted refuses what is not an ext file system.
func formatted(v *image.Volume) error {
	switch v.Format.Name {
	case "ext2", "ext3", "ext4":
		return nil
	case "squashfs":
		return ErrSquashfs
	case "erofs":
		return ErrEROFS
	case "":
		return fmt.Errorf("%w: %s has no ext2, ext3 or ext4 file system", ErrFormat, v)
	}
	return &image.UnreadableError{Format: v.Format}
}

// check refuses what can be refused without a plan.
func (c *Copy) check(ctx context.Context) error {
	for k := range c.mounts {
		if err := c.mounts[k].changeable(); err != nil {
			return err
		}
	}
	if err := c.sealed(); err != nil {
		return err
	}
	return c.inWorkshop(c.image.File(), func(w *workshop) error {
		if _, err := locate("debugfs"); err != nil {
			return err
		}
		for k := range c.mounts {
			if c.mounts[k].has("ea_inode") {
				continue // the copy is corrected
			}
			if err := w.fsck(ctx, &c.mounts[k]); errors.Is(err, ErrDamaged) {
				return fmt.Errorf("let e2fsck repair it first: %w", err)
			} else if err != nil {
				return err
			}
		}
		return nil
	})
}

// has reports whether the file system has a feature, by the name of e2fsprogs.
func (m *mount) has(feature string) bool { return slices.Contains(m.Facts().Features, feature) }

// changeable refuses file systems that debugfs would leave with errors, or different each
// time.
func (m *mount) changeable() error {
	switch {
	case !m.has("ext_attr"):
		return fmt.Errorf("%w: its feature ext_attr is off: tune2fs -O ext_attr turns it on", ErrFormat)
	case m.has("quota"), m.has("project"):
		return fmt.Errorf("%w: debugfs does not update quotas: make the image without the feature quota, and turn it on afterwards (tune2fs -O quota)", ErrFormat)
	case m.has("mmp"):
		return fmt.Errorf("%w: the feature mmp records who changes it: turn it off (tune2fs -O ^mmp)", ErrFormat)
	case m.has("shared_blocks"), m.has("read-only"):
		return fmt.Errorf("%w: it is marked as read-only (features shared_blocks, read-only)", ErrFormat)
	}
	return nil
}
