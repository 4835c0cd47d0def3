package main

import (
	"fmt"
	"strings"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/scan"
	"github.com/imasign/imasign-build/internal/quote"
)

// scanReport is the JSON document of a scan.
type scanReport struct {
	Command string      `json:"command"`
	Files   int64       `json:"files"`
	Bytes   int64       `json:"bytes"`
	Found   int         `json:"found"`
	Allowed int         `json:"allowed"`
	Seconds float64     `json:"seconds"`
	Entries []scanEntry `json:"entries"`
}

type scanEntry struct {
	jsonPath
	Status     string `json:"status"` // "found", "allowed"
	Kind       string `json:"kind"`
	Offset     int64  `json:"offset"`           // bytes
	Inside     string `json:"inside,omitempty"` // what the offset counts in: "unpacked", or a name in a zip archive
	SHA256     string `json:"sha256"`           // of the file
	SigningKey bool   `json:"signing_key,omitempty"`
}

// newScanReport returns the report of a result; keys that are allowed are entries only of
// a verbose one.
func newScanReport(result *scan.Result, verbose bool) *scanReport {
	r := &scanReport{Command: "rootfs scan", Files: result.Files, Bytes: result.Bytes, Entries: []scanEntry{}}
	for _, key := range result.Keys {
		e := scanEntry{jsonPath: pathJSON(key.Path), Status: "found", Kind: key.Kind, Offset: key.Offset, Inside: key.Inside, SHA256: key.SHA256, SigningKey: key.Own}
		if key.Allowed {
			e.Status = "allowed"
			r.Allowed++
		} else {
			r.Found++
		}
		if !key.Allowed || verbose {
			r.Entries = append(r.Entries, e)
		}
	}
	return r
}

func (r *scanReport) print(a *app, paths []string, allowed scan.Allowed) error {
	if a.json {
		return a.printJSON(r)
	}
	for _, e := range r.Entries {
		printEntry(a.out, e.Status, e.raw, e.reason(allowed))
	}
	quote.Fprintf(a.out, "%s: private keys: %s found, %s allowed; files searched: %s, %s in %.1f s\n", strings.Join(paths, " "),
		count(int64(r.Found)), count(int64(r.Allowed)), count(r.Files), size(r.Bytes), r.Seconds)
	return nil
}

// reason says what was found, and what --allow-key needs.
func (e *scanEntry) reason(allowed scan.Allowed) string {
	where := fmt.Sprintf("%s at byte %s", e.Kind, count(e.Offset))
	if e.Inside != "" {
		where += " of " + e.Inside
	}
	_, listed := allowed[e.raw]
	switch {
	case e.SigningKey:
		return "the signing key itself, " + where
	case listed && e.Status == "found":
		return where + "; what is allowed there is another file: this one has SHA-256 " + e.SHA256
	}
	return where + ", SHA-256 " + e.SHA256
}
