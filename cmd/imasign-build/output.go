package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/atomicfile"
)

// print prints a command's result: a JSON document with --json, which then holds the
// error that the command ends with, else text. It returns that error, or its own.
func (a *app) print(d report.Document, err error) error { return a.printTo(a.out, d, err) }

// printTo is print for text that goes elsewhere than standard output, where the result
// itself does.
func (a *app) printTo(text io.Writer, d report.Document, err error) error {
	if !a.json {
		return cmp.Or(err, report.Text(text, d, a.verbose))
	}
	if err != nil && !errors.Is(err, errWrong) {
		d.Fail(a.failure(err))
	}
	printed := report.JSON(a.out, d, a.verbose)
	if a.out.err != nil { // which exit says
		printed = nil
	}
	return cmp.Or(err, printed)
}

// printFile prints a file that is a command's whole result, and is text.
func (a *app) printFile(text []byte) error {
	_, err := a.out.Write(text)
	return err
}

// writeOutput writes a file whole or not at all; - stands for standard output.
func (a *app) writeOutput(file string, write func(io.Writer) error) error {
	commit, discard, err := a.prepareOutput(file, write)
	if err != nil {
		return err
	}
	defer discard()
	return commit()
}

// prepareOutput writes a file that appears with commit; discard after commit does
// nothing. Standard output (-) gets everything at commit as well.
func (a *app) prepareOutput(file string, write func(io.Writer) error) (commit func() error, discard func(), err error) {
	if file == "-" {
		return func() error { return write(a.out) }, func() {}, nil
	}
	f, err := atomicfile.Create(file, 0o644)
	if err != nil {
		return nil, nil, err
	}
	if err := write(f); err != nil {
		f.Abort()
		return nil, nil, fmt.Errorf("write %s: %w", file, err)
	}
	return f.Commit, f.Abort, nil
}
