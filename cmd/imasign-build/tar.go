package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tarball"
)

const compressionHelp = `
Compression (gzip, zstd, xz, bzip2, lz4) is recognised by content. The output is
compressed as its name says (.tar, .tar.gz, .tgz, .tar.zst, .tar.xz, .tar.bz2,
.tar.lz4), where that says nothing, and on standard output, as the input was;
--compression decides otherwise.`

// tarInputFlags read an archive.
type tarInputFlags struct {
	unpackLimit int64
	plain       bool
}

func (f *tarInputFlags) add(flags *pflag.FlagSet) {
	flags.Int64Var(&f.unpackLimit, "unpack-limit", tarball.DefaultUnpackLimit, "how many `bytes` a pipe, a compressed archive (in TMPDIR) or holes in sparse files may unpack to")
	flags.BoolVar(&f.plain, "plain", false, "treat an archive of a container image as a plain archive of files")
}

// open opens an archive, - for standard input.
func (f *tarInputFlags) open(ctx context.Context, a *app, file string, o tarball.Options) (*tarball.Archive, func(), error) {
	if f.unpackLimit <= 0 {
		return nil, nil, usagef("--unpack-limit %d: at least 1", f.unpackLimit)
	}
	o.UnpackLimit = f.unpackLimit
	in, name, closeInput, err := a.openInput(ctx, file)
	if err != nil {
		return nil, nil, err
	}
	archive, err := tarball.Open(ctx, in, name, o)
	if err == nil && !f.plain {
		if err = f.refuseImage(archive, name); err != nil {
			_ = archive.Close()
		}
	}
	if err != nil {
		closeInput()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, nil, err
	}
	return archive, func() { _ = archive.Close(); closeInput() }, nil
}

// openInput opens a file, - for standard input, and returns what it is called.
func (a *app) openInput(ctx context.Context, file string) (in io.Reader, name string, closeInput func(), err error) {
	if file == "-" {
		return a.stdin(ctx), "standard input", func() {}, nil
	}
	opened, err := input.Open(ctx, file)
	if err != nil {
		return nil, "", nil, err
	}
	return opened, file, func() { _ = opened.Close() }, nil
}

// tarOutputFlags write an archive.
type tarOutputFlags struct {
	file, compression string
	jobs              int
}

func (f *tarOutputFlags) add(flags *pflag.FlagSet) {
	flags.StringVarP(&f.file, "output", "o", "", "write the archive to this `file`, - for standard output")
	flags.StringVar(&f.compression, "compression", "auto", "`auto` (by the output's name), none, gzip, zstd, xz, bzip2 or lz4")
	once(flags, "output")
}

// check refuses what cannot become an output, before any work is done for it.
func (f *tarOutputFlags) check(a *app, dryRun, oci bool, in, manifest string) error {
	if manifest == "-" && (a.json || f.file == "-" && !dryRun) {
		return usagef("--manifest - is not alone on standard output: name a file")
	}
	if oci {
		return f.checkOCI(a, dryRun, in)
	}
	return f.checkArchive(a, dryRun)
}

func (f *tarOutputFlags) checkArchive(a *app, dryRun bool) error {
	if _, err := f.choose(compress.None); err != nil {
		return err
	}
	switch {
	case dryRun:
		return nil
	case f.file == "":
		return usagef("where to? -o FILE, or -o - for standard output")
	case f.file == "-" && a.json:
		return usagef("--json and -o - both write to standard output: give -o a file")
	case f.file == "-" && a.terminal(a.out.Writer):
		return usagef("an archive is not written to a terminal: name a file with -o, or redirect the output")
	case f.file == "-":
		return nil
	}
	probe, err := atomicfile.Create(f.file, 0o644)
	if err != nil {
		return err
	}
	probe.Abort()
	return nil
}

// choose is how the output is compressed, where input is how the input was.
func (f *tarOutputFlags) choose(input compress.Format) (compress.Format, error) {
	if f.compression != "auto" {
		c, err := compress.Archives().Parse(f.compression)
		if err != nil {
			return "", usageError{fmt.Errorf("--compression: %w", err)}
		}
		return c, nil
	}
	if c, ok := compress.Archives().ByName(strings.ToLower(f.file)); ok {
		return c, nil
	}
	return input, nil
}

// write has the archive written, compressed, to the output.
func (f *tarOutputFlags) write(ctx context.Context, a *app, input compress.Format, write func(io.Writer) error) error {
	compression, err := f.choose(input)
	if err != nil {
		return err
	}
	return a.writeOutput(f.file, func(w io.Writer) error {
		z, err := compress.Archives().Writer(ctx, w, compression, f.jobs)
		if err == nil {
			err = write(z)
		}
		if err != nil {
			return err
		}
		return z.Close()
	})
}

// rewrite is the attaching of a plan to a copy of the archive.
func (f *tarOutputFlags) rewrite(a *app, archive *tarball.Archive) func(context.Context, *signing.Plan) error {
	return func(ctx context.Context, plan *signing.Plan) error {
		return f.write(ctx, a, compress.Format(archive.Compression()), func(w io.Writer) error { return archive.Rewrite(ctx, plan, w) })
	}
}
