package main

import (
	"io/fs"
	"syscall"

	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/policy"
)

// fileCauses are those of files.
func fileCauses() []cause {
	return []cause{
		{err: input.ErrTooLarge, kind: "too_large", advice: "is it the right file?"},
		{err: certs.ErrTooLarge, kind: "too_large", advice: "is it the right file?"},
		{err: policy.ErrTooLarge, kind: "too_large", advice: "is it the right file?"},
		{err: input.ErrNotRegular, kind: "malformed"},
		{err: atomicfile.ErrExists, kind: "exists", advice: elsewhere},
		{err: atomicfile.ErrNotRegular, kind: "exists", advice: "name a file"},
		{err: fs.ErrNotExist, kind: "not_found"},
		{err: fs.ErrPermission, kind: "permission"},
		{err: syscall.EROFS, kind: "permission"},
		{err: fs.ErrExist, kind: "exists"},
		{err: errNotPreloaded, kind: "unsupported"},
	}
}
