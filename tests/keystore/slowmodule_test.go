package keystore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestSlowModule checks the module that other tests and benchmarks measure with: it signs,
// takes its time, counts, and fails when it should.
func TestSlowModule(t *testing.T) {
	h := harness.NewSoftHSM(t)
	h.InitToken(t, "build", pin)
	slow := h.Slow(t, 20*time.Millisecond)
	keys := filepath.Join(t.TempDir(), "keys")
	uri, _ := initIn(t, keys, "--on", h.URI(t, "build", "", pin))
	slow.Calls(t) // the certificate's signature
	cert := filepath.Join(keys, "x509_ima.crt")
	dir := t.TempDir()
	for i := range 40 {
		check(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte{byte(i)}, 0o644))
	}
	sign := []string{"rootfs", "sign", "--key", uri, "--cert", cert, dir}
	start := time.Now()
	program(t, 0, sign...)
	// 40 signatures in at most 16 sessions are three in one of them, at least.
	if took := time.Since(start); took < 3*20*time.Millisecond {
		t.Errorf("40 signatures took %v", took)
	}
	if n := slow.Calls(t); n != 40 {
		t.Errorf("the module counts %d signatures, not 40", n)
	}
	program(t, 0, "rootfs", "verify", "--cert", cert, dir)

	slow.FailAfter(t, 10)
	program(t, 0, "rootfs", "strip", dir)
	if r := program(t, 1, sign...); !strings.Contains(r.Err, "CKR_DEVICE_ERROR") {
		t.Errorf("a token that fails: %s", r.Err)
	}
	if n := slow.Calls(t); n != 10 {
		t.Errorf("the module made %d signatures before it failed, not 10", n)
	}
}
