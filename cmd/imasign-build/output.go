package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/internal/input"
)

// print prints the result of a command, as text or, with --json, as a JSON document. The
// document includes err, the error that the command ends with. print returns err, or else
// its own error.
func (a *app) print(d report.Document, err error) error { return a.printTo(a.out, d, err) }

// printTo is print with another destination for text, if standard output gets the result
// itself.
func (a *app) printTo(text io.Writer, d report.Document, err error) error {
	text = a.forPeople(text)
	switch {
	case a.json:
	case a.quiet:
		return cmp.Or(err, report.Quiet(text, d))
	default:
		return cmp.Or(err, report.Text(text, d, a.verbose))
	}
	if err != nil && !errors.Is(err, errWrong) {
		d.Fail(a.failure(err))
	}
	printed := report.JSON(a.out, d, a.verbose)
	if a.out.err != nil { // exit reports it
		printed = nil
	}
	return cmp.Or(err, printed)
}

// printFile prints a text file that is the whole result of a command.
func (a *app) printFile(text []byte) error {
	_, err := a.out.Write(text)
	return err
}

// writeOutput writes a file, complete or not at all, or standard output for "-".
func (a *app) writeOutput(file string, write func(io.Writer) error) error {
	f, err := a.create(file)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := write(f); err != nil {
		if file != "-" {
			err = fmt.Errorf("write %s: %w", file, err)
		}
		return err
	}
	return f.Commit()
}

// create starts a file that appears with Commit. For "-" it returns standard output, which
// gets everything immediately.
func (a *app) create(file string) (operate.File, error) {
	if file == "-" {
		return direct{a.out}, nil
	}
	f, err := atomicfile.Create(file, 0o644)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// direct is an output without Commit and Abort.
type direct struct{ io.Writer }

func (direct) Commit() error { return nil }
func (direct) Abort()        {}

// createLate is create, except that standard output also gets everything with Commit.
func (a *app) createLate(file string) (operate.File, error) {
	if file != "-" {
		return a.create(file)
	}
	f, err := input.Spool("")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", input.ErrSpool, err)
	}
	return late{f, a.out}, nil
}

// late is an unlinked temporary file and the destination of its content.
type late struct {
	*os.File

	to io.Writer
}

func (l late) Commit() error {
	_, err := l.Seek(0, io.SeekStart)
	if err == nil {
		_, err = io.Copy(l.to, l.File)
	}
	return err
}

func (l late) Abort() { _ = l.Close() } // it has no name

// checkOutput refuses a file that a command could not write its archive or image to.
// kind is "archive" or "image".
func (a *app) checkOutput(file, kind string) error {
	switch {
	case file == "-" && a.json:
		return usagef("--json and the %[1]s would both go to standard output: write the %[1]s to a file with -o OUT", kind)
	case file == "-" && a.terminal(a.out.Writer):
		return usagef("an %s is not written to a terminal: give -o OUT, or redirect standard output", kind)
	case file == "-":
		return nil
	}
	probe, err := atomicfile.Create(file, 0o644)
	if err != nil {
		return err
	}
	probe.Abort()
	return nil
}

// compressionFlag returns the format that --compression names.
func compressionFlag(p compress.Profile, word string) (compress.Format, error) {
	c, err := p.Parse(word)
	if err != nil {
		return "", usageError{fmt.Errorf("--compression: %w", err)}
	}
	return c, nil
}
