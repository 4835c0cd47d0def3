package certs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/atomicfile"
)

// newFile is a file to be written.
type newFile struct {
	path string
	data []byte
	perm fs.FileMode
}

// checkAbsent returns an error that lists all files that exist.
func checkAbsent(pairs []KeyPair) error {
	var there []string
	for _, p := range pairs {
		for _, path := range p.Files() {
			_, err := os.Lstat(path)
			switch {
			case err == nil:
				there = append(there, path)
			case !errors.Is(err, fs.ErrNotExist):
				return err
			}
		}
	}
	if len(there) > 0 {
		return fmt.Errorf("%w: %s", ErrExists, strings.Join(there, ", "))
	}
	return nil
}

// writeAll writes all files. If that fails, it removes the files and directories that it made.
func writeAll(ctx context.Context, dir string, files []newFile) (err error) {
	made, err := makeDirs(dir)
	defer func() {
		if err == nil {
			return
		}
		for _, path := range slices.Backward(made) {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	if err != nil {
		return err
	}
	for _, f := range files {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := atomicfile.WriteNewFile(f.path, f.data, f.perm)
		if err == nil || errors.Is(err, atomicfile.ErrUnsynced) {
			made = append(made, f.path)
		}
		switch {
		case errors.Is(err, atomicfile.ErrExists): // since checkAbsent
			return fmt.Errorf("%w: %s", ErrExists, f.path)
		case err != nil:
			return err
		}
	}
	return nil
}

// makeDirs makes dir and returns what it made, outermost first.
func makeDirs(dir string) (made []string, err error) {
	var missing []string
	for path := filepath.Clean(dir); ; path = filepath.Dir(path) {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, path)
	}
	for _, path := range slices.Backward(missing) {
		if err := os.Mkdir(path, 0o755); err != nil {
			return made, fmt.Errorf("make the directory of the keys: %w", err)
		}
		made = append(made, path)
	}
	return made, nil
}
