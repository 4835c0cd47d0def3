package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// reuse takes over the signatures of the manifests of --from-manifest. Only the first call, before
// the first plan, does.
func (s *signer) reuse(ctx context.Context) error {
	s.reused.Do(func() {
		for _, path := range s.manifests {
			if s.refused = s.reusePath(ctx, path); s.refused != nil {
				return
			}
		}
	})
	return s.refused
}

// reusePath takes over the signatures of a manifest, or of all manifests in a directory.
func (s *signer) reusePath(ctx context.Context, path string) error {
	list, err := manifestsAt(path)
	if err != nil {
		return err
	}
	var ours int64
	var seen signers
	for _, file := range list {
		n, err := s.reuseFile(ctx, file, &seen)
		if err != nil {
			return err
		}
		ours += n
	}
	if ours == 0 {
		s.app.warn(fmt.Sprintf("--from-manifest %s: %s", path, seen.why()))
	}
	return nil
}

// manifestsAt returns the manifest at path, or the manifests in a directory in the order of
// their names.
func manifestsAt(path string) ([]string, error) {
	if !isDirectory(path) {
		return []string{path}, nil // opening it reports what is wrong
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, entry := range entries { // sorted
		if strings.HasSuffix(entry.Name(), ".jsonl") && !entry.IsDir() {
			list = append(list, filepath.Join(path, entry.Name()))
		}
	}
	if list == nil {
		return nil, fmt.Errorf("%s: %w", path, errNoManifests)
	}
	return list, nil
}

// errNoManifests means that a directory has no manifests.
var errNoManifests = errors.New("there is no *.jsonl file in it")

// reuseFile takes over the signatures of one manifest, and returns how many have the id of a
// key that signs.
func (s *signer) reuseFile(ctx context.Context, file string, seen *signers) (ours int64, err error) {
	f, err := input.Open(ctx, file)
	if err != nil {
		return 0, fmt.Errorf("open manifest: %w", err)
	}
	defer f.Close() //nolint:errcheck // opened for reading
	in := manifest.NewReader(f)
	for {
		if _, err := in.Next(); errors.Is(err, io.EOF) {
			return ours, nil
		} else if err != nil {
			return ours, fmt.Errorf("%s: %w", file, err)
		}
		n, err := s.Reuse(seen.watch(in.Lines()))
		ours += n
		if err != nil {
			return ours, fmt.Errorf("%s: %w", file, err)
		}
	}
}

// signers are the keys that made the signatures of manifests.
type signers struct {
	one  ima.KeyID // of the first signature; zero if there is none
	many bool
}

// watch returns lines, and takes the ids of their signatures.
func (s *signers) watch(lines iter.Seq2[manifest.Line, error]) iter.Seq2[manifest.Line, error] {
	return func(yield func(manifest.Line, error) bool) {
		for line, err := range lines {
			switch {
			case line.KeyID == 0 || line.KeyID == s.one:
			case s.one == 0:
				s.one = line.KeyID
			default:
				s.many = true
			}
			if !yield(line, err) {
				return
			}
		}
	}
}

// why says why no signature can be used again.
func (s *signers) why() string {
	switch {
	case s.one == 0:
		return "it has no signatures (a dry run without a key makes such manifests)"
	case s.many:
		return "its signatures are by other keys"
	}
	return fmt.Sprintf("its signatures are by another key, with the id %s", s.one)
}
