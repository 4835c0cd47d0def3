package image

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/disk"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/quote"
)

// Volume is a part of an image that can have a file system: a partition, or the whole
// image, which has the number 0.
type Volume struct {
	disk.Partition

	Format Format // of the content
}

// String names the volume in messages.
func (v *Volume) String() string {
	switch {
	case v.Number == 0:
		return "the image"
	case v.Name != "":
		return fmt.Sprintf("partition %d (%s)", v.Number, quote.Name(v.Name))
	}
	return fmt.Sprintf("partition %d", v.Number)
}

// FileSystem opens the file system of a volume. The error wraps ErrUnreadable if there is
// no reader for the format.
func (i *Image) FileSystem(v *Volume) (filesystem.Reader, error) {
	r, err := open(io.NewSectionReader(i.file, v.Start, v.Size), v)
	if err == nil {
		return r, nil
	}
	if v.Number != 0 {
		err = fmt.Errorf("%s: %w", v, err)
	}
	return nil, fmt.Errorf("%s: %w", i.name, err)
}

// UnreadableError is about a format that is recognised and cannot be read. It wraps
// ErrUnreadable.
type UnreadableError struct{ Format Format }

// Error names the format.
func (e *UnreadableError) Error() string {
	return fmt.Sprintf("%s cannot be read: %s", e.Format.What, e.Format.Advice)
}

// Unwrap returns ErrUnreadable.
func (e *UnreadableError) Unwrap() error { return ErrUnreadable }

var (
	// ErrSeveral means that several file systems can be read, and that none was chosen.
	ErrSeveral = errors.New("several file systems")
	// ErrNoPartition means that there is no such partition.
	ErrNoPartition = errors.New("no such partition")
	// ErrMountedTwice means two partitions for the same directory.
	ErrMountedTwice = errors.New("two partitions are mounted on the same directory")
	// ErrNoRoot means partitions none of which is the root.
	ErrNoRoot = errors.New("no partition is mounted on /")
)

// Mount is a volume and where its files are on the device.
type Mount struct {
	Volume *Volume
	At     string // relative to the root, slash-separated; "" for the root
}

// Choose finds the volumes that names say: each is a partition's number or label, and may
// end in a colon and the directory that the partition is mounted on, relative to the root
// of the device. Without names it returns the only volume that can be read.
func (i *Image) Choose(names []string) ([]Mount, error) {
	list, err := i.choose(names)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", i.name, err)
	}
	return list, nil
}

func (i *Image) choose(names []string) (list []Mount, err error) {
	if len(names) == 0 {
		v, err := i.only()
		return []Mount{{Volume: v}}, err
	}
	for _, name := range names {
		m, err := i.mount(name)
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

// mount finds what "2:/home" or "2:./home/" means. Labels may have colons: the first colon
// that ends the name of a volume counts.
func (i *Image) mount(text string) (Mount, error) {
	var failed error
	for end := 0; end <= len(text); end++ {
		if end < len(text) && text[end] != ':' {
			continue
		}
		v, err := i.find(text[:end])
		if err == nil {
			return Mount{v, directory(text[end:])}, nil
		}
		if failed = cmp.Or(failed, err); !errors.Is(err, ErrNoPartition) {
			return Mount{}, err
		}
	}
	return Mount{}, failed
}

// directory returns a path relative to the root. text begins with a colon, or is "".
func directory(text string) string {
	names := strings.Split(strings.TrimPrefix(text, ":"), "/")
	return strings.Join(slices.DeleteFunc(names, func(n string) bool { return n == "" || n == "." }), "/")
}

// only returns the only volume that can be read.
func (i *Image) only() (*Volume, error) {
	var readable []*Volume
	var names []string
	for k := range i.volumes {
		if v := &i.volumes[k]; v.Format.Readable {
			readable = append(readable, v)
			names = append(names, fmt.Sprintf("%s: %s", v, v.Format.Name))
		}
	}
	switch {
	case len(readable) == 1:
		return readable[0], nil
	case len(readable) > 1:
		return nil, fmt.Errorf("%w: %s", ErrSeveral, strings.Join(names, ", "))
	case len(i.volumes) == 1:
		return &i.volumes[0], nil // FileSystem says what it is
	}
	return nil, ErrNothing
}

// find returns the volume with a number, a name in the table, or else a label.
func (i *Image) find(name string) (*Volume, error) {
	number, err := strconv.Atoi(name)
	for k := range i.volumes {
		if v := &i.volumes[k]; err == nil && v.Number == number && v.Number > 0 {
			return v, nil
		}
	}
	for _, of := range []func(*Volume) string{func(v *Volume) string { return v.Name }, i.label} {
		var found []*Volume
		for k := range i.volumes {
			if v := &i.volumes[k]; name != "" && of(v) == name {
				found = append(found, v)
			}
		}
		switch len(found) {
		case 0:
			continue
		case 1:
			return found[0], nil
		}
		return nil, fmt.Errorf("%w have the label %s", ErrSeveral, quote.Name(name))
	}
	return nil, fmt.Errorf("%w: %s", ErrNoPartition, cmp.Or(quote.Name(name), `""`))
}

// label returns the label of a volume's file system, or "".
func (i *Image) label(v *Volume) string {
	if !v.Format.Readable {
		return ""
	}
	r, err := i.FileSystem(v)
	if err != nil {
		return ""
	}
	return r.Facts().Label
}
