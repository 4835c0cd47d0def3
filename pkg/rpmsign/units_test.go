package rpmsign

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// TestMany signs files one after the other, some of which are not packages.
func TestMany(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"zstd", "xz", "rich", "source", "empty"} {
		packages.Copy(t, name, dir)
	}
	check(t, os.WriteFile(filepath.Join(dir, "zz.rpm"), []byte("text"), 0o644))
	check(t, os.Truncate(filepath.Join(dir, filepath.Base(packages.Path(t, "xz"))), 5000))
	paths, err := filepath.Glob(dir + "/*.rpm")
	check(t, err)
	var said []string
	l := signer(t, "p256")
	for _, path := range paths {
		r := l.Run(t.Context(), unit{Path: path})
		said = append(said, fmt.Sprintf("%s changed=%t source=%t truncated=%t other=%t", r.Name, r.Changed, r.Source, errors.Is(r.Err, ErrTruncated), errors.Is(r.Err, ErrNotRPM)))
	}
	want := []string{
		"imatest-empty-1.0-1.noarch changed=false source=false truncated=false other=false",
		"imatest-rich-2.0-1.x86_64 changed=true source=false truncated=false other=false",
		"imatest-source-1.0-1.src changed=false source=true truncated=false other=false",
		" changed=false source=false truncated=true other=false",
		"imatest-zstd-1.0-1.x86_64 changed=true source=false truncated=false other=false",
		" changed=false source=false truncated=false other=true",
	}
	if !slices.Equal(said, want) {
		t.Errorf("%s", strings.Join(said, "\n"))
	}
}

// TestUnsignedPlan checks that a plan made without a key tells what would change, but cannot
// be written.
func TestUnsignedPlan(t *testing.T) {
	e, err := signing.New(signing.Options{})
	check(t, err)
	path := packages.Copy(t, "zstd", t.TempDir())
	before := content(t, path)
	l := loop{Plan: func(ctx context.Context, p *Package) (*signing.Plan, error) { return e.Plan(ctx, p) }}
	for _, dry := range []bool{true, false} {
		l.DryRun = dry
		if r := l.Run(t.Context(), unit{Path: path}); !r.Changed || r.Counts.Signed != 4 || errors.Is(r.Err, signing.ErrUnsignedPlan) == dry {
			t.Errorf("dry run %t: %+v", dry, r)
		}
		if r := l.Run(t.Context(), unit{Path: path, Outside: "elsewhere"}); !errors.Is(r.Err, ErrOutside) || r.Changed {
			t.Errorf("dry run %t, outside: %+v", dry, r)
		}
	}
	if string(before) != string(content(t, path)) {
		t.Error("the package changed")
	}
}

// TestRunLeavesOutsideAlone checks that nothing is written in place through a link out of the
// directory, and that a package there that needs no change is no error.
func TestRunLeavesOutsideAlone(t *testing.T) {
	pool, dir := t.TempDir(), t.TempDir()
	path := packages.Copy(t, "zstd", pool)
	link := unit{Path: filepath.Join(dir, "p.rpm"), Outside: path}
	check(t, os.Symlink(path, link.Path))
	before := content(t, path)
	s := signer(t, "p256")
	for _, dry := range []bool{true, false} {
		s.DryRun = dry
		if r := s.Run(t.Context(), link); !errors.Is(r.Err, ErrOutside) || r.Changed || !slices.Equal(content(t, path), before) {
			t.Errorf("dry run %t: %+v", dry, r)
		}
	}
	run(t, s, path)
	if r := s.Run(context.Background(), link); r.Err != nil || r.Changed {
		t.Errorf("%+v", r)
	}
	if r := stripper(t).Run(t.Context(), link); !errors.Is(r.Err, ErrOutside) {
		t.Errorf("%+v", r)
	}
	out := unit{Path: link.Path, Output: filepath.Join(dir, "out.rpm")}
	if r := stripper(t).Run(t.Context(), out); r.Err != nil || !slices.Equal(content(t, out.Output), before) {
		t.Errorf("%+v", r)
	}
}
