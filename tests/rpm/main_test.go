package rpm

import (
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

func TestMain(m *testing.M) {
	harness.Main(m, packages.Remove)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) *packages.File {
	t.Helper()
	f, err := packages.Read(path)
	check(t, err)
	return f
}
