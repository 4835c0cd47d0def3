package bench

import (
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

func TestMain(m *testing.M) { harness.Main(m, packages.Remove) }
