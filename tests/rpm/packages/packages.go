// Package packages makes what the RPM tests work on, with the real tools: packages
// by rpmbuild, OpenPGP keys by gpg and signatures by rpmsign, installations by rpm
// with its IMA plugin, repositories by createrepo_c and dnf. What no tool of this
// machine makes any more, the packages of rpm 3 and of el5, is rewritten from a real
// package and says so.
package packages

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// Names lists the packages that Path makes, sorted.
func Names() []string {
	names := make([]string, 0, len(made))
	for name := range made {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Path returns the package called name, made once a test binary. It is shared:
// a test that changes it takes a Copy.
func Path(t testing.TB, name string) string {
	t.Helper()
	build, known := made[name]
	if !known {
		t.Fatalf("no package is called %q; there are %q", name, Names())
	}
	harness.Tool(t, "rpmbuild")
	path, err := build()
	if err != nil {
		t.Fatalf("make package %s: %v", name, err)
	}
	return path
}

// Copy copies the package called name below dir, under the file name that rpmbuild
// gave it, and returns the copy's path.
func Copy(t testing.TB, name, dir string) string {
	t.Helper()
	path := Path(t, name)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, filepath.Base(path))
	if err := os.WriteFile(to, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return to
}

// Remove deletes everything that was made. TestMain calls it at the end; the gpg
// agent ends when its directory goes.
func Remove() error {
	dir, err := scratch()
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// made has one builder a package. Each runs at most once.
var made = builders()

func builders() map[string]func() (string, error) {
	all := map[string]func() (string, error){}
	for name, r := range recipes() {
		all[name] = sync.OnceValues(func() (string, error) { return r.build(name) })
	}
	for name, l := range legacies() {
		all[name] = sync.OnceValues(func() (string, error) { return l.build(name, all[l.from]) })
	}
	for name, s := range signeds() {
		all[name] = sync.OnceValues(func() (string, error) { return s.build(name, all[s.from]) })
	}
	return all
}

// scratch is memory where there is some: 20,000 small files take a disk a minute.
var scratch = sync.OnceValues(func() (string, error) {
	for _, parent := range []string{"/dev/shm", os.TempDir()} {
		if dir, err := os.MkdirTemp(parent, "imatest-*"); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no directory for packages in /dev/shm or %s", os.TempDir())
})

// directory makes a directory for what is called name.
func directory(name string) (string, error) {
	dir, err := scratch()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, name)
	return dir, os.MkdirAll(dir, 0o755)
}
