package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tarball"
)

// copyHelp is about IN and OUT of commands that copy an archive.
const copyHelp = `
IN may be compressed with gzip, zstd, xz, bzip2 or lz4. The name of OUT determines its
compression: .tar, .tar.gz, .tgz, .tar.zst, .tar.xz, .tar.bz2 or .tar.lz4. With other
names, and on standard output, OUT is compressed as IN is. --compression overrides this.
IN and OUT may be -, for standard input and output. OUT appears when it is complete, and
may be IN.
`

// tarInputFlags say how an archive is read.
type tarInputFlags struct {
	unpackLimit int64
	plain       bool
}

func (f *tarInputFlags) add(flags *pflag.FlagSet) {
	f.unpackLimit = tarball.DefaultUnpackLimit
	flags.Var(byteCount{&f.unpackLimit}, "unpack-limit", "fail if a pipe, a compressed archive or sparse files unpack to more than `BYTES`, such as 500M or 64G")
	flags.BoolVar(&f.plain, "plain", false, "treat the archive of a container image as any other archive")
}

// openArchive is an archive and its input.
type openArchive struct {
	*tarball.Archive

	closeInput func()
}

// Close closes both.
func (o *openArchive) Close() error {
	defer o.closeInput()
	return o.Archive.Close()
}

// open opens an archive, or standard input for "-".
func (f *tarInputFlags) open(ctx context.Context, a *app, file string, o tarball.Options) (*openArchive, error) {
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
		return nil, notAnArchive(err, file, name)
	}
	return &openArchive{archive, closeInput}, nil
}

// notAnArchive is the error for a file of another format. Many formats begin with zeros, as
// the end of an archive does, so what is wrong with it as an archive does not matter.
func notAnArchive(err error, file, name string) error {
	if !errors.Is(err, tarball.ErrFormat) && !errors.Is(err, tarball.ErrAmbiguous) && !errors.Is(err, tarball.ErrTruncated) {
		return err
	}
	if f := formatOf(file); f.Name == "" || f.Name == "tar" {
		return err
	}
	return fmt.Errorf("%s: %w", name, tarball.ErrFormat)
}

// openInput opens a file, or standard input for "-", and returns its name in messages.
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

// tarOutputFlags say how an archive is written.
type tarOutputFlags struct {
	file, compression string
	jobs              int
}

func (f *tarOutputFlags) add(flags *pflag.FlagSet) {
	flags.StringVarP(&f.file, "output", "o", "", "write the archive to `OUT`, or to standard output with -")
	choiceVar(flags, &f.compression, "compression", "auto", "how to compress the archive", append([]option{{"auto", "by its name"}}, words(compress.Archives().Words()...)...))
	once(flags, "output")
}

// check refuses impossible outputs before any work is done.
func (f *tarOutputFlags) check(a *app, dryRun, oci bool, in, manifest string) error {
	if manifest == "-" && (a.json || f.file == "-" && !dryRun) {
		return usagef("the manifest and other output would both go to standard output: give --manifest FILE")
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
		return usagef("no output was given: -o OUT, or -o - for standard output")
	}
	return a.checkOutput(f.file, "archive")
}

// choose returns the compression of the output. input is the compression of the input.
func (f *tarOutputFlags) choose(input compress.Format) (compress.Format, error) {
	if f.compression != "auto" {
		return compressionFlag(compress.Archives(), f.compression)
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

// create starts the output. input is the compression of the input.
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

// Commit completes the archive, which then appears.
func (f *archiveFile) Commit() error {
	if err := f.Close(); err != nil {
		return err
	}
	return f.file.Commit()
}

// Abort discards the archive. A file with its name stays as it was.
func (f *archiveFile) Abort() { f.file.Abort() }

// write calls write with the compressed output, and commits it.
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

// copyOf returns the unit of an archive and its copy.
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

// tarChange is common to the commands that write a copy of an archive, or of the images in
// it.
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
	flags.StringVar(&t.manifest, "manifest", "", "write a manifest of the files to `FILE`")
	flags.BoolVar(&t.dryRun, "dry-run", false, dryRun)
	once(flags, "manifest")
}

// run changes the archive or the images.
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
