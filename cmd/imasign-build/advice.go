package main

import (
	"errors"
	"io/fs"
	"os"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
)

// failure is an error as JSON documents have it.
func failure(err error) report.Error {
	return report.Error{Message: advised(err).Error(), Kind: kindOf(err), Path: report.PathOf(pathOf(err))}
}

func kindOf(err error) string { return "failed" }

func advised(err error) error { return err }

// pathOf is the path that an error is about, "" for none that it tells.
func pathOf(err error) string {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Path
	case errors.As(err, &link):
		return link.New
	}
	return ""
}
