package main

import (
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/finding"
)

// reported converts findings for a report.
func reported(findings []finding.Finding) []report.Finding {
	var list []report.Finding
	for _, f := range findings {
		r := report.Finding{
			Paths: f.Files, Severity: string(f.Severity), Rule: f.Rule, Line: f.Line, Lines: f.Lines, Column: f.Column, Detail: f.Detail, Also: f.Also(),
		}
		if f.File != "" {
			r.Path = report.PathOf(f.File)
		}
		list = append(list, r)
	}
	return list
}
