package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/internal/input"
)

// imageOutputFlags say where and how an image is written.
type imageOutputFlags struct{ file, compression string }

func (f *imageOutputFlags) add(flags *pflag.FlagSet) {
	flags.StringVarP(&f.file, "output", "o", "", "write the image to `OUT`, or to standard output with -")
	choiceVar(flags, &f.compression, "compression", "auto", "how to compress the image", append([]option{{"auto", "by its name"}}, words(compress.Images().Words()...)...))
	once(flags, "output")
}

// check refuses impossible outputs before any work is done.
func (f *imageOutputFlags) check(a *app, dryRun bool, manifest string) error {
	switch {
	case manifest == "-" && (a.json || f.file == "-" && !dryRun):
		return usagef("the manifest and other output would both go to standard output: give --manifest FILE")
	case dryRun:
		return nil
	case f.file == "":
		return usagef("no output was given: -o OUT")
	}
	return a.checkOutput(f.file, "image")
}

// choose returns the compression of the output. of is that of the input.
func (f *imageOutputFlags) choose(of compress.Format) (compress.Format, error) {
	switch {
	case f.compression != "auto":
		return compressionFlag(compress.Images(), f.compression)
	case f.file == "-":
		return of, nil
	}
	c, _ := compress.Images().ByName(strings.ToLower(f.file))
	return c, nil
}

// write calls write with an empty file, which becomes the output. An output that is
// compressed, or not a file, is made of a temporary file.
func (f *imageOutputFlags) write(ctx context.Context, a *app, of compress.Format, jobs int, write func(*os.File) error) error {
	c, err := f.choose(of)
	if err != nil {
		return err
	}
	if c == compress.None && f.file != "-" {
		out, err := atomicfile.Create(f.file, 0o644)
		if err != nil {
			return err
		}
		defer out.Abort()
		if err := write(out.Raw()); err != nil {
			return fmt.Errorf("write %s: %w", f.file, err)
		}
		return out.Commit()
	}
	spool, err := input.Spool("")
	if err != nil {
		return err
	}
	defer spool.Close() //nolint:errcheck // it has no name
	if err := write(spool); err != nil {
		return fmt.Errorf("write a temporary file: %w", err)
	}
	return f.pack(ctx, a, c, jobs, spool)
}

// pack writes the output from a temporary file.
func (f *imageOutputFlags) pack(ctx context.Context, a *app, c compress.Format, jobs int, spool *os.File) error {
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	file, err := a.create(f.file)
	if err != nil {
		return err
	}
	z, err := compress.Images().Writer(ctx, file, c, jobs)
	if err != nil {
		file.Abort()
		return err
	}
	out := archiveFile{z, file}
	defer out.Abort()
	if _, err := io.Copy(out, input.Stream(ctx, spool, "a temporary file")); err != nil {
		return err
	}
	return out.Commit()
}
