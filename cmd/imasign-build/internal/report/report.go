// Package report defines the results of commands, and renders them as text for people and
// as JSON documents for scripts. docs/cli.md lists the names in the documents. A command
// fills a [Document] and passes it to [Text] or [JSON]. No other package formats results.
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

// Fail implements [Document].
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

// JSON writes a document, with all its entries if verbose.
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

// Text writes a document for people, with all its entries if verbose. It returns errors
// of reading entries. It ignores errors of w, which must remember them.
func Text(w io.Writer, d Document, verbose bool) error {
	p := printer{w: w, verbose: verbose}
	d.text(&p)
	return p.err
}

// Quiet writes the parts of a document that report something wrong, or all of it if the
// user asked for exactly this text.
func Quiet(w io.Writer, d Document) error {
	p := printer{w: w, quiet: true}
	d.text(&p)
	return p.err
}
