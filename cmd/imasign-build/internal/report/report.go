// Package report has the results of commands as values, and renders them: as text for
// people, and as JSON documents for scripts, whose names docs/cli.md lists. A command
// fills a [Document] and hands it to [Text] or [JSON]; no other package formats results.
//
// A name means one thing in every document. Names and their meanings are in words.go, and
// a test compares them with the documents.
//
// How a run went (exit codes, warnings, progress) is not this package's business.
package report

import (
	"bytes"
	"encoding/json"
	"io"
	"unicode/utf8"

	"github.com/imasign/imasign-build/internal/quote"
)

// Document is the result of a command.
type Document interface {
	// Fail puts the error that ended the command into the document.
	Fail(e Error)

	prepare(verbose bool) error // what only JSON needs
	text(p *printer)
}

// Head begins every document.
type Head struct {
	Command string `json:"command"`
	Error   *Error `json:"error,omitempty"`
}

// Fail is that of [Document].
func (h *Head) Fail(e Error) { h.Error = &e }

func (h *Head) prepare(bool) error { return nil }

// Error is why a command failed.
type Error struct {
	Message string `json:"message"`
	Kind    string `json:"kind"`
	Path
}

// Failure is the document of a command that failed before it had a result.
type Failure struct{ Head }

func (f *Failure) text(*printer) {}

// Path is a path in a document. A path that is not UTF-8 is written to path_b64, as in a
// manifest.
type Path struct {
	Path    string `json:"path,omitempty"`
	PathB64 []byte `json:"path_b64,omitempty"`
	raw     string
}

// PathOf returns path as a part of a document.
func PathOf(path string) Path {
	if utf8.ValidString(path) {
		return Path{Path: path, raw: path}
	}
	return Path{PathB64: []byte(path), raw: path}
}

// name returns the path as it can be printed.
func (p Path) name() string { return quote.Name(p.raw) }

// JSON writes a document. Verbose ones have all their entries.
func JSON(w io.Writer, d Document, verbose bool) error {
	if err := d.prepare(verbose); err != nil {
		return err
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		return err
	}
	_, err := w.Write(quote.JSON(text.Bytes()))
	return err
}

// Text writes a document for people. Verbose ones have all their entries. The error is
// of reading entries; w must remember its own.
func Text(w io.Writer, d Document, verbose bool) error {
	p := printer{w: w, verbose: verbose}
	d.text(&p)
	return p.err
}

// Quiet writes what is left of a document for people if they only want to read what is
// wrong, or if the document is the very text that they asked for.
func Quiet(w io.Writer, d Document) error {
	p := printer{w: w, quiet: true}
	d.text(&p)
	return p.err
}
