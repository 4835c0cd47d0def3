package rpmsign

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// rpmChecksig checks the digests of packages with rpm. Its error is what rpm prints.
func rpmChecksig(t testing.TB, paths ...string) error {
	t.Helper()
	bad, out := rpmRefuses(t, paths)
	if len(bad) > 0 {
		return errors.New(out)
	}
	return nil
}

// rpmRefuses returns the packages that rpm -K refuses, in one process.
func rpmRefuses(t testing.TB, paths []string) (bad []string, said string) {
	t.Helper()
	harness.Tool(t, "rpm")
	cmd := exec.Command("rpm", append([]string{"-K", "--nosignature"}, paths...)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", "LC_ALL=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	good := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if path, verdict, ok := strings.Cut(line, ": "); ok && strings.HasSuffix(strings.TrimSpace(verdict), "OK") {
			good[path] = true
		}
	}
	for _, path := range paths {
		if !good[path] {
			bad = append(bad, path)
		}
	}
	if err != nil && len(bad) == 0 {
		t.Fatalf("rpm -K: %v\n%s", err, out)
	}
	return bad, strings.Join(slices.DeleteFunc(strings.Split(string(out), "\n"), func(line string) bool { return strings.HasSuffix(line, "OK") }), "\n")
}
