package harness

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Evmctl15 returns a command of evmctl 1.5, which signs fs-verity digests: Debian sid's.
func Evmctl15(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd, _ := newer(t, evmctl15, "evmctl", args)
	return cmd
}

// OpenSSL35 returns a command of OpenSSL 3.5, which has ML-DSA: Debian 13's.
func OpenSSL35(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd, root := newer(t, openSSL35, "openssl", args)
	cmd.Env = append(os.Environ(), "OPENSSL_MODULES="+filepath.Join(root, libraries, "ossl-modules"), "OPENSSL_CONF="+filepath.Join(root, "etc/ssl/openssl.cnf"))
	return cmd
}

var (
	evmctl15  = unpacked("evmctl-1.5", "ima-evm-utils/sid", "libimaevm4/sid", "libssl3t64/sid", "libc6/sid", "libkeyutils1/sid", "zlib1g/sid", "libzstd1/sid")
	openSSL35 = unpacked("openssl-3.5", "openssl/trixie", "libssl3t64/trixie", "libc6/trixie", "zlib1g/trixie", "libzstd1/trixie")
)

// libraries is where Debian's packages have them.
const libraries = "usr/lib/x86_64-linux-gnu"

// newer returns a command of a program of a newer suite, which is run by its own dynamic
// loader beside the libraries of the machine, and the directory that it is unpacked in.
func newer(t testing.TB, unpack func() (string, error), program string, args []string) (*exec.Cmd, string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("-short: it needs the %s of a newer suite", program)
	}
	root, err := unpack()
	if err != nil {
		t.Fatalf("%s of a newer suite: %v", program, err)
	}
	libs := filepath.Join(root, libraries)
	run := []string{"--library-path", libs, filepath.Join(root, "usr/bin", program)}
	return exec.Command(filepath.Join(libs, "ld-linux-x86-64.so.2"), append(run, args...)...), root
}

// unpacked returns a function that has tests/suites.sh unpack packages into the directory
// name of the cache, unless they are there, and returns the directory.
func unpacked(name string, packages ...string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		cache, err := os.UserCacheDir() // as suites.sh: XDG_CACHE_HOME or ~/.cache
		if err != nil {
			return "", err
		}
		root := filepath.Join(cache, "imasign-build", name)
		if _, err := os.Stat(root); err == nil {
			return root, nil
		}
		script, err := suites()
		if err != nil {
			return "", err
		}
		cmd := exec.Command(script, append(append([]string{"unpack"}, packages...), root)...)
		cmd.Stderr = os.Stderr
		return root, cmd.Run()
	})
}

// suites finds tests/suites.sh above the package that is tested.
func suites() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil && dir != "/"; dir = filepath.Dir(dir) {
		script := filepath.Join(dir, "tests", "suites.sh")
		if _, err := os.Stat(script); err == nil {
			return script, nil
		}
	}
	return "", errors.Join(err, errors.New("tests/suites.sh is not above the working directory"))
}
