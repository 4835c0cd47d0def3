package rpm

import (
	"os"
	"testing"

	"github.com/imasign/imasign-build/tests/rpm/packages"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := packages.Remove(); err != nil && code == 0 {
		os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
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
