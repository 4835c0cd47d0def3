package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Evmctl15 returns a command of evmctl 1.5, which signs fs-verity digests. It is Debian
// sid's, unpacked in the cache by tests/suites.sh and run by its own dynamic loader, beside
// the libraries of the machine.
func Evmctl15(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it needs evmctl 1.5")
	}
	root, err := evmctl15()
	if err != nil {
		t.Fatalf("evmctl 1.5: %v", err)
	}
	libs := filepath.Join(root, "usr/lib/x86_64-linux-gnu")
	run := []string{"--library-path", libs, filepath.Join(root, "usr/bin/evmctl")}
	return exec.Command(filepath.Join(libs, "ld-linux-x86-64.so.2"), append(run, args...)...)
}

var evmctl15 = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir() // as suites.sh: XDG_CACHE_HOME or ~/.cache
	if err != nil {
		return "", err
	}
	root := filepath.Join(cache, "imasign-build", "evmctl-1.5")
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	script, err := suites()
	if err != nil {
		return "", err
	}
	cmd := exec.Command(script, "unpack", "ima-evm-utils/sid", "libimaevm4/sid", "libssl3t64/sid", "libc6/sid", "libkeyutils1/sid", "zlib1g/sid", "libzstd1/sid", root)
	cmd.Stderr = os.Stderr
	return root, cmd.Run()
})
