package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/manifest"
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

// openArchive is an archive with what it is read from.
type openArchive struct {
	*tarball.Archive

	closeInput func()
}

// Close closes both.
func (o *openArchive) Close() error {
	defer o.closeInput()
	return o.Archive.Close()
}

// open opens an archive, - for standard input.
func (f *tarInputFlags) open(ctx context.Context, a *app, file string, o tarball.Options) (*openArchive, error) {
	if f.unpackLimit <= 0 {
		return nil, usagef("--unpack-limit %d: at least 1", f.unpackLimit)
	}
	o.UnpackLimit = f.unpackLimit
	in, name, closeInput, err := a.openInput(ctx, file)
	if err != nil {
		return nil, err
	}
	archive, err := tarball.Open(ctx, a.reading(in), name, o)
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
		return nil, err
	}
	return &openArchive{archive, closeInput}, nil
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

// archiveFile is an archive being written, compressed on its way to a file.
type archiveFile struct {
	io.WriteCloser

	file operate.File
}

// create begins the output, where input is how the input was compressed.
func (f *tarOutputFlags) create(ctx context.Context, a *app, input compress.Format) (*archiveFile, error) {
	compression, err := f.choose(input)
	if err != nil {
		return nil, err
	}
	file, err := a.create(f.file)
	if err != nil {
		return nil, err
	}
	z, err := compress.Archives().Writer(ctx, file, compression, f.jobs)
	if err != nil {
		file.Abort()
		return nil, err
	}
	return &archiveFile{z, file}, nil
}

// Commit has the archive appear.
func (f *archiveFile) Commit() error {
	if err := f.Close(); err != nil {
		return err
	}
	return f.file.Commit()
}

// Abort leaves what was there.
func (f *archiveFile) Abort() { f.file.Abort() }

// write has the archive written, compressed, to the output.
func (f *tarOutputFlags) write(ctx context.Context, a *app, input compress.Format, write func(io.Writer) error) error {
	out, err := f.create(ctx, a, input)
	if err != nil {
		return err
	}
	defer out.Abort()
	if err := write(out); err != nil {
		return err
	}
	return out.Commit()
}

// copyOf is the unit of an archive and its copy.
func (f *tarOutputFlags) copyOf(a *app, in *tarInputFlags, file string, observe signing.Observer) operate.Unit {
	return operate.Unit{Kind: manifest.Archive, Open: func(ctx context.Context) (operate.Opened, error) {
		archive, err := in.open(ctx, a, file, tarball.Options{Observe: observe})
		if err != nil {
			return operate.Opened{}, err
		}
		output := func(ctx context.Context, write func(io.Writer) error) error {
			return f.write(ctx, a, compress.Format(archive.Compression()), write)
		}
		return operate.Opened{Container: archiveCopy{&tarball.Copy{Archive: archive.Archive, Output: output}, archive}, Name: nameOf(file)}, nil
	}}
}

// archiveCopy closes the input with the archive.
type archiveCopy struct {
	*tarball.Copy

	opened *openArchive
}

// Close closes both.
func (c archiveCopy) Close() error { return c.opened.Close() }

// tarChange is what the commands that write a copy of an archive, or of the images in it,
// have in common.
type tarChange struct {
	choice   selectFlags
	input    tarInputFlags
	oci      bool
	output   tarOutputFlags
	manifest string
	dryRun   bool
}

func (t *tarChange) add(flags *pflag.FlagSet, verb, dryRun string) {
	t.choice.add(flags)
	t.choice.addSelect(flags, verb)
	t.input.add(flags)
	t.output.add(flags)
	addOCI(flags, &t.oci)
	flags.StringVar(&t.manifest, "manifest", "", "write the manifest to this `file`")
	flags.BoolVar(&t.dryRun, "dry-run", false, dryRun)
	once(flags, "manifest")
}

// run works on the file with what was opened to plan.
func (t *tarChange) run(ctx context.Context, o *operation, jobs int) error {
	t.output.jobs = jobs
	o.Select = t.choice.wrap
	o.writes(t.output.file)
	if err := o.lists(t.manifest); err != nil {
		return err
	}
	if t.oci {
		return t.runImages(ctx, o)
	}
	return o.run(ctx, t.output.copyOf(o.app, &t.input, o.result.Of, o.progress.observer))
}
