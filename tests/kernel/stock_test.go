package kernel

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	versions "github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/tests/harness"
)

const stockScript = "../policy/stock.sh"

// addStock adds Debian's unmodified kernels after 6.1, by their releases. The mirror drops old
// ones, but must have the newest that policy check knows.
func addStock(t *testing.T, kernels map[string]func(*testing.T) kernel) {
	t.Helper()
	releases := strings.Fields(harness.Must(t, stockScript, "newer"))
	if newest := versions.Newest().String(); !slices.Contains(releases, newest) {
		t.Errorf("the mirror has Linux %v, and not %s", releases, newest)
	}
	for _, release := range append(releases, "6.12") {
		kernels["debian-"+release] = func(t *testing.T) kernel { return stock(t, release) }
	}
}

// stock downloads Debian's unmodified kernel of a release. It has no modules.
func stock(t *testing.T, release string) kernel {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "stock")
	harness.Must(t, stockScript, release, dir)
	return kernel{dir, filepath.Join(dir, "vmlinuz"), "", release}
}
