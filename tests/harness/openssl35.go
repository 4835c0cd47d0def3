package harness

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// OpenSSL35 returns a command of OpenSSL 3.5, which has ML-DSA. It is Debian 13's, unpacked
// in the cache by tests/suites.sh and run by its own dynamic loader, beside the libraries
// of the machine.
func OpenSSL35(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it needs OpenSSL 3.5")
	}
	root, err := openSSL35()
	if err != nil {
		t.Fatalf("OpenSSL 3.5: %v", err)
	}
	libs := filepath.Join(root, "usr/lib/x86_64-linux-gnu")
	run := []string{"--library-path", libs, filepath.Join(root, "usr/bin/openssl")}
	cmd := exec.Command(filepath.Join(libs, "ld-linux-x86-64.so.2"), append(run, args...)...)
	cmd.Env = append(os.Environ(), "OPENSSL_MODULES="+filepath.Join(libs, "ossl-modules"), "OPENSSL_CONF="+filepath.Join(root, "etc/ssl/openssl.cnf"))
	return cmd
}

var openSSL35 = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir() // as suites.sh: XDG_CACHE_HOME or ~/.cache
	if err != nil {
		return "", err
	}
	root := filepath.Join(cache, "imasign-build", "openssl-3.5")
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	script, err := suites()
	if err != nil {
		return "", err
	}
	cmd := exec.Command(script, "unpack", "openssl/trixie", "libssl3t64/trixie", "libc6/trixie", "zlib1g/trixie", "libzstd1/trixie", root)
	cmd.Stderr = os.Stderr
	return root, cmd.Run()
})

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
