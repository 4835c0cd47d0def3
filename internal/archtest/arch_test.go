package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/imasign/imasign-build"

// listed is a package in the output of `go list -json`.
type listed struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
	GoFiles    []string
}

func list(t *testing.T, args ...string) map[string]listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Standard,Imports,Deps,GoFiles"}, args...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := map[string]listed{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
}

// below reports whether path is the package name of this module or below it.
func below(path, name string) bool {
	full := module + "/" + directory(name)
	return path == full || strings.HasPrefix(path, full+"/")
}

func TestArrows(t *testing.T) {
	packages := list(t, "./...")
	if len(packages) < 8 {
		t.Fatalf("only %d packages were listed", len(packages))
	}
	for _, a := range arrows() {
		for _, name := range slices.Concat(a.from, a.to) {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(packages)), func(path string) bool { return below(path, name) }) {
				t.Errorf("an arrow names %s, which does not exist", name)
			}
		}
		for _, from := range a.from {
			for path, p := range packages {
				if below(path, from) {
					a.check(t, path, from, p.Deps)
				}
			}
		}
	}
}

func TestIMAIsStandardLibraryOnly(t *testing.T) {
	all := list(t, "-deps", "./pkg/ima")
	for path, p := range all {
		if !p.Standard && path != module+"/pkg/ima" {
			t.Errorf("pkg/ima imports %s", path)
		}
	}
	if len(all) < 10 {
		t.Errorf("only %d packages were listed", len(all))
	}
}

func TestPackagesKnowNoCommandLineAndNoLogger(t *testing.T) {
	forbidden := []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "log", "log/slog", "testing"}
	for path, p := range list(t, "./pkg/...") {
		for _, imported := range p.Imports {
			if slices.Contains(forbidden, imported) {
				t.Errorf("%s imports %s", path, imported)
			}
		}
	}
}

// TestImagesTalkToNoRegistry checks that of go-containerregistry only the layout package and
// its dependencies are linked.
func TestImagesTalkToNoRegistry(t *testing.T) {
	const library = "github.com/google/go-containerregistry/pkg/"
	all := list(t, "-deps", "./cmd/imasign-build")
	if _, there := all[library+"v1/layout"]; !there {
		t.Error("the layout package is not linked: this test checks nothing")
	}
	for path, p := range all {
		if strings.HasPrefix(path, library+"v1/remote") || strings.HasPrefix(path, library+"v1/daemon") || strings.HasPrefix(path, library+"authn") {
			t.Errorf("%s is linked", path)
		}
		if !strings.HasPrefix(path, module) {
			continue
		}
		for _, imported := range p.Imports {
			if name, is := strings.CutPrefix(imported, library); is && !slices.Contains([]string{"v1", "v1/layout", "v1/types"}, name) {
				t.Errorf("%s imports %s", path, imported)
			}
		}
	}
}

// TestCgoStaysInItsPackages checks that only internal/libc, internal/libcrypto and
// internal/cryptoki contain C code.
func TestCgoStaysInItsPackages(t *testing.T) {
	for path, p := range list(t, "./...") {
		own := below(path, "internal/libc") || below(path, "internal/libcrypto") || below(path, "internal/cryptoki")
		if slices.Contains(p.Imports, "C") && !own {
			t.Errorf("%s uses cgo", path)
		}
	}
}

// TestProgramLinksNoTests checks that what tests share is not in the program.
func TestProgramLinksNoTests(t *testing.T) {
	for path := range list(t, "-deps", "./cmd/imasign-build") {
		if path == "testing" || strings.HasPrefix(path, module+"/tests/") || below(path, "image/imagetest") {
			t.Errorf("%s is linked", path)
		}
	}
}
