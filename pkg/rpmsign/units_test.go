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

func TestMakeOutputDirs(t *testing.T) {
	dir := t.TempDir()
	check(t, MakeOutputDirs([]Unit{{Path: "a", Output: dir + "/x/y/a"}, {Path: "b", Output: dir + "/x/b"}, {Path: "c"}}))
	if got := names(t, dir+"/x"); got != "y" {
		t.Error(got)
	}
	check(t, os.WriteFile(dir+"/file", nil, 0o644))
	if err := MakeOutputDirs([]Unit{{Path: "a", Output: dir + "/file/a"}}); err == nil {
		t.Error("a directory below a file")
	}
}

// TestMany signs packages one after the other, some of which are none.
func TestMany(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"zstd", "xz", "rich", "source", "empty"} {
		packages.Copy(t, name, dir)
	}
	check(t, os.WriteFile(filepath.Join(dir, "zz.rpm"), []byte("text"), 0o644))
	check(t, os.Truncate(filepath.Join(dir, filepath.Base(packages.Path(t, "xz"))), 5000))
	units, err := FindUnits([]string{dir}, "")
	check(t, err)
	var said []string
	l := signer(t, "p256")
	for _, u := range units {
		r := l.Run(t.Context(), u)
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

// TestUnsignedPlan: what a plan that was made without a key would change can be told, and
// cannot be written.
func TestUnsignedPlan(t *testing.T) {
	e, err := signing.New(signing.Options{})
	check(t, err)
	path := packages.Copy(t, "zstd", t.TempDir())
	before := content(t, path)
	l := loop{Plan: func(ctx context.Context, p *Package) (*signing.Plan, error) { return e.Plan(ctx, p) }}
	for _, dry := range []bool{true, false} {
		l.DryRun = dry
		if r := l.Run(t.Context(), Unit{Path: path}); !r.Changed || r.Counts.Signed != 4 || errors.Is(r.Err, signing.ErrUnsignedPlan) == dry {
			t.Errorf("dry run %t: %+v", dry, r)
		}
		if r := l.Run(t.Context(), Unit{Path: path, Outside: "elsewhere"}); !errors.Is(r.Err, ErrOutside) || r.Changed {
			t.Errorf("dry run %t, outside: %+v", dry, r)
		}
	}
	if string(before) != string(content(t, path)) {
		t.Error("the package changed")
	}
}
