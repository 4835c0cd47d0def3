// Package scan searches the files of directory trees for private keys. What a private key
// looks like is left to package keyscan, and printing the result to the caller.
package scan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/keyscan"
	"github.com/imasign/imasign-build/internal/pipeline"
	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Options of a search.
type Options struct {
	Own      []keyscan.Own    // the keys that sign, which are never allowed
	Allowed  Allowed          // the files that may hold another private key
	Jobs     int              // files to search at a time; 0 for one a core
	Observer signing.Observer // is told of each file
}

// Key is a private key in a file.
type Key struct {
	keyscan.Finding

	Path    string // from the root of the tree, behind the tree's own path if several are searched
	Inside  string // what Offset counts in: a phrase, or a name in a zip archive; "" for the file
	SHA256  string // of the file, in hexadecimal; "" where it could be read only once
	Allowed bool
}

// Result is what a search found.
type Result struct {
	Files, Bytes int64
	Keys         []Key    // sorted by path and offset
	Unused       []string // the paths that are allowed, and hold no private key
	Errors       []error  // the first files and directories that could not be read
}

// maxErrors bounds how many files that cannot be read are named.
const maxErrors = 100

// Paths searches every regular file below paths, and the files among them. It fails only
// when ctx ends.
func Paths(ctx context.Context, paths []string, o Options) (*Result, error) {
	s := &scanner{Options: o, content: keyscan.New(o.Own...), result: &Result{}}
	s.Jobs = pipeline.Jobs(s.Jobs)
	s.run(ctx, paths)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	slices.SortFunc(s.result.Keys, func(x, y Key) int {
		if c := strings.Compare(x.Path, y.Path); c != 0 {
			return c
		}
		return int(x.Offset - y.Offset)
	})
	s.result.Unused = o.Allowed.unused(s.result.Keys)
	return s.result, nil
}

type scanner struct {
	Options

	content *keyscan.Scanner
	mu      sync.Mutex
	result  *Result // under mu
}

// job is a file to be searched.
type job struct {
	path string // as it is reported and allowed
	open func() (*os.File, error)
}

func (s *scanner) run(ctx context.Context, paths []string) {
	jobs := make(chan job, 4*s.Jobs)
	var workers sync.WaitGroup
	for range s.Jobs {
		workers.Go(func() {
			for j := range jobs {
				if ctx.Err() == nil {
					s.file(ctx, j)
				}
			}
		})
	}
	for _, name := range paths {
		closeTree, err := s.list(ctx, name, len(paths) > 1, jobs)
		if closeTree != nil {
			defer closeTree() //nolint:errcheck // opened for reading
		}
		if err != nil {
			s.fail(err)
		}
	}
	close(jobs)
	workers.Wait()
}

// maxPipe is how many bytes of a pipe are searched.
const maxPipe = 4 << 30

// list sends the files below name, or name itself. The tree stays open until closeTree.
func (s *scanner) list(ctx context.Context, name string, several bool, jobs chan<- job) (closeTree func() error, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		jobs <- job{name, func() (*os.File, error) { return input.Seekable(ctx, name, maxPipe) }}
		return nil, nil
	}
	t, err := tree.Open(name, tree.Options{})
	if err != nil {
		return nil, err
	}
	for node, err := range t.Walk(ctx) {
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			s.fail(err)
			continue
		}
		if !node.Mode.IsRegular() {
			continue
		}
		shown := node.Path
		if several {
			shown = t.Name(node.Path)
		}
		jobs <- job{shown, func() (*os.File, error) { return t.Open(node.Path) }}
	}
	return t.Close, nil
}

func (s *scanner) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.result.Errors) < maxErrors {
		s.result.Errors = append(s.result.Errors, err)
	}
}

// file searches one file.
func (s *scanner) file(ctx context.Context, j job) {
	f, err := j.open()
	if err != nil {
		s.fail(err)
		return
	}
	defer f.Close() //nolint:errcheck // opened for reading
	found, size, err := s.search(ctx, f)
	s.Observer.Tell(signing.Event{Kind: signing.Checked, Path: j.path, Entries: 1, Bytes: size})
	if err != nil {
		s.fail(fmt.Errorf("search %s: %w", j.path, err))
	}
	sum := ""
	if len(found) > 0 {
		if sum, err = sumOf(f); err != nil {
			s.fail(fmt.Errorf("search %s: %w", j.path, err))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Files++
	s.result.Bytes += size
	for _, one := range found {
		allowed := !one.Own && sum != "" && s.Allowed[j.path] == sum
		s.result.Keys = append(s.result.Keys, Key{one.Finding, j.path, one.inside, sum, allowed})
	}
}

func sumOf(f *os.File) (string, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", nil //nolint:nilerr // a pipe, which nothing allows
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
