package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/quote"
)

// jsonPath is a path in a JSON document; one that is not UTF-8 goes into
// path_b64, as in a manifest.
type jsonPath struct {
	Path    string `json:"path,omitempty"`
	PathB64 []byte `json:"path_b64,omitempty"`
	raw     string
}

func pathJSON(path string) jsonPath {
	if utf8.ValidString(path) {
		return jsonPath{Path: path, raw: path}
	}
	return jsonPath{PathB64: []byte(path), raw: path}
}

func (a *app) printJSON(document any) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(document); err != nil {
		return err
	}
	_, err := a.out.Write(quote.JSON(text.Bytes()))
	return err
}

// printText prints lines that are quoted already.
func (a *app) printText(lines string) error {
	_, err := io.WriteString(a.out, lines)
	return err
}

func printEntry(w io.Writer, status, path, reason string) {
	if reason != "" {
		reason = ": " + reason
	}
	quote.Fprintf(w, "%-9s %s%s\n", status, printable(path), reason)
}

// printable shows a path so that its beginning and end are seen, whatever a file is
// called.
func printable(path string) string {
	return quote.Name(path)
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

// count writes a number with thousands separated.
func count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func packages(n int) string {
	if n == 1 {
		return "1 package"
	}
	return count(int64(n)) + " packages"
}

// size writes bytes as a person reads them.
func size(n int64) string {
	units := []string{"kB", "MB", "GB", "TB"}
	if n < 1000 {
		return fmt.Sprintf("%d bytes", n)
	}
	value := float64(n) / 1000
	for len(units) > 1 && value >= 1000 {
		value, units = value/1000, units[1:]
	}
	return fmt.Sprintf("%.1f %s", value, units[0])
}

// growth says how much larger something became, or smaller.
func growth(n int64) string {
	switch {
	case n == 0:
		return "as large as before"
	case n < 0:
		return size(-n) + " smaller"
	}
	return size(n) + " larger"
}

func join(parts []string, otherwise string) string {
	if len(parts) == 0 {
		return otherwise
	}
	return strings.Join(parts, ", ")
}
