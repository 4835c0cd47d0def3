package main

import (
	"context"
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// imageInputFlags say how an image is read.
type imageInputFlags struct {
	sector      string
	unpackLimit int64
}

// filesLimited is what --unpack-limit limits, where files are read.
const filesLimited = "a pipe, a compressed image or the files of an image unpack"

// add adds the flags. limited is what --unpack-limit limits.
func (f *imageInputFlags) add(flags *pflag.FlagSet, limited string) {
	f.unpackLimit = image.DefaultUnpackLimit
	flags.Var(byteCount{&f.unpackLimit}, "unpack-limit", "fail if "+limited+" to more than `BYTES`, such as 500M or 64G")
	choiceVar(flags, &f.sector, "sector", "", "bytes in a sector of the partition table", words("512", "4096"))
	annotate(flags, "sector", noteDefault, "as the image shows")
	once(flags, "sector")
}

// open opens an image, or standard input for "-".
func (f *imageInputFlags) open(ctx context.Context, a *app, file string) (*image.Image, error) {
	sector, _ := strconv.ParseInt(f.sector, 10, 64) // 0 without the flag
	saveMemory()
	img, err := image.Open(ctx, file, a.stdin(ctx), image.Options{SectorSize: sector, UnpackLimit: f.unpackLimit, Reading: a.reading})
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, err
	}
	if table := img.Table(); table != nil {
		for _, text := range table.Warnings {
			a.note("warning: %s: %s", img.Name(), text)
		}
	}
	return img, nil
}

// partitionFlags choose the file systems of an image.
type partitionFlags struct{ names []string }

func (f *partitionFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.names, "partition", nil, "read the file system in `PARTITION`, a number or a label, with :DIR if it is mounted there")
	annotate(flags, "partition", noteDefault, "the only one that can be read")
}

// source returns the files of the chosen file systems. index is the manifest that they are
// compared with, nil for none.
func (f *partitionFlags) source(img *image.Image, limit int64, index *manifest.Index) (*image.Source, error) {
	mounts, err := img.Choose(f.names)
	if err != nil {
		return nil, err
	}
	o := filesystem.Options{MaxContent: limit}
	if index != nil {
		o.Lists = func(path string) bool { return index.Count(path) > 0 }
	}
	return img.Source(mounts, o)
}

// absences are paths of a manifest that an image may lack.
type absences struct{ paths []string }

func (f *absences) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.paths, "exclude-path", nil, "accept that what the manifest lists at or below `PATH` is missing; with a slash at the end, only what is below")
}

var errNoPath = errors.New("give a path below the root")

// rule returns what reports whether the image may lack a path, nil if it must have all.
func (f *absences) rule() (func(string) bool, error) {
	var at, below []string
	for _, text := range f.paths {
		name := strings.Trim(path.Clean("/"+text), "/")
		if name == "" || strings.Contains("/"+text+"/", "/../") {
			return nil, usagef("--exclude-path %s: %w", quote.Name(text), errNoPath)
		}
		if below = append(below, name+"/"); !strings.HasSuffix(text, "/") {
			at = append(at, name)
		}
	}
	if below == nil {
		return nil, nil
	}
	return func(name string) bool {
		return slices.Contains(at, name) || slices.ContainsFunc(below, func(dir string) bool { return strings.HasPrefix(name, dir) })
	}, nil
}
