// Package packages makes the packages and repositories of the RPM tests with the real tools:
// packages by rpmbuild, OpenPGP keys by gpg, signatures by rpmsign, installations by rpm with
// its IMA plugin, repositories by createrepo_c and dnf. No tool of this machine makes packages
// of rpm 3 and el5 any more, so these are rewritten from a real package, as their code says.
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

// Names returns the sorted names of the packages that Path makes.
func Names() []string {
	names := make([]string, 0, len(made))
	for name := range made {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Path returns the package called name, which is made once for each test binary. Tests share it:
// a test that changes it uses Copy.
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

// Copy copies the package called name below dir, with the file name by rpmbuild, and returns the
// path of the copy.
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

// Remove deletes everything that was made. TestMain calls it at the end. The gpg agent ends when
// its directory goes.
func Remove() error {
	dir, err := scratch()
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// made has one builder for each package. Each runs at most once.
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

// scratch is in memory if possible: a disk takes a minute for 20,000 small files.
var scratch = sync.OnceValues(func() (string, error) {
	for _, parent := range []string{"/dev/shm", os.TempDir()} {
		if dir, err := os.MkdirTemp(parent, "imatest-*"); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no directory for packages in /dev/shm or %s", os.TempDir())
})

// directory makes a directory for the thing called name.
func directory(name string) (string, error) {
	dir, err := scratch()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, name)
	return dir, os.MkdirAll(dir, 0o755)
}
