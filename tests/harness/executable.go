package harness

import (
	"os"
	"syscall"
	"testing"
)

// Executable writes a file that is executed later, with mode 0755. A test must not write such
// a file in another way: a child that is forked while the file is open for writing has the
// descriptor until its own execve, and if the file is executed in that time, execve(2) fails
// with ETXTBSY (go.dev/issue/22315). Under the lock, no goroutine of this process forks.
//
// Files that another process writes (cp, install, a compiler, imasign-build) do not need it,
// because that process has ended, and with it all who had the descriptor.
func Executable(t testing.TB, path string, content []byte) {
	t.Helper()
	syscall.ForkLock.RLock()
	err := os.WriteFile(path, content, 0o755)
	syscall.ForkLock.RUnlock()
	if err == nil {
		err = os.Chmod(path, 0o755) // of an older file
	}
	if err != nil {
		t.Fatal(err)
	}
}
