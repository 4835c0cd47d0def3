package bitbake

import (
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
