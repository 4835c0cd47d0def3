package harness_test

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestExecutable runs new programs while other goroutines write and run theirs.
func TestExecutable(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 50 {
				program := filepath.Join(dir, strconv.Itoa(100*i+j))
				harness.Executable(t, program, []byte("#!/bin/sh\n"))
				if err := exec.Command(program).Run(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
