package harness

import (
	"bytes"
	_ "embed"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/slowmodule.c
var slowModule string

// SlowModule is a PKCS#11 module in front of SoftHSM2 whose signatures take a minimum time,
// as with an HSM in a network. It counts them. Its sessions wait in parallel.
type SlowModule struct{ calls string }

// Slow puts a module in front of h, so that h.URI names it. A signature takes at least delay
// in this process and its children; making tokens and keys takes as long as before.
func (h *SoftHSM) Slow(t testing.TB, delay time.Duration) *SlowModule {
	t.Helper()
	dir := t.TempDir()
	module := filepath.Join(dir, "slowmodule.so")
	compileModule(t, slowModule, module)
	s := &SlowModule{filepath.Join(dir, "calls")}
	t.Setenv("SLOWMODULE_MODULE", h.Module)
	t.Setenv("SLOWMODULE_CALLS", s.calls)
	h.Module = module
	s.Delay(t, delay)
	return s
}

func compileModule(t testing.TB, source, module string) {
	t.Helper()
	c := strings.TrimSuffix(module, ".so") + ".c"
	if err := os.WriteFile(c, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	Must(t, Tool(t, "gcc"), "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden", "-o", module, c)
}

// Delay sets how long a signature takes, at least, in processes that start from now on.
func (s *SlowModule) Delay(t testing.TB, delay time.Duration) {
	t.Helper()
	t.Setenv("SLOWMODULE_DELAY_US", strconv.FormatInt(delay.Microseconds(), 10))
}

// FailAfter has the token fail with CKR_DEVICE_ERROR in each process that starts from now on,
// once that process has made n signatures. A negative n is never.
func (s *SlowModule) FailAfter(t testing.TB, n int) {
	t.Helper()
	t.Setenv("SLOWMODULE_FAIL_AFTER", strconv.Itoa(n))
}

// Every sets whether each other call of a session takes as long as a signature, in processes
// that start from now on: to find a key, to read an attribute, to choose a mechanism.
func (s *SlowModule) Every(t testing.TB, every bool) {
	t.Helper()
	t.Setenv("SLOWMODULE_EVERY", map[bool]string{true: "1"}[every])
}

// Calls returns how many signatures all processes have made since Slow or the last Calls.
func (s *SlowModule) Calls(t testing.TB) int {
	t.Helper()
	signatures, _ := s.AllCalls(t)
	return signatures
}

// AllCalls is Calls, and also returns how many other calls the sessions have made.
func (s *SlowModule) AllCalls(t testing.TB) (signatures, others int) {
	t.Helper()
	made := s.take(t)
	others = bytes.Count(made, []byte("c"))
	return len(made) - others, others
}

// Together is Calls, and also returns how many signatures were made at the same time: when the
// signatures began, on average, and at most (26 stands for any larger number).
func (s *SlowModule) Together(t testing.TB) (signatures int, average float64, most int) {
	t.Helper()
	sum := 0
	for _, call := range s.take(t) {
		if call != 'c' {
			now := int(call-'A') + 1
			signatures, sum, most = signatures+1, sum+now, max(most, now)
		}
	}
	return signatures, float64(sum) / float64(max(signatures, 1)), most
}

// take returns what the module has written of its calls, and begins anew.
func (s *SlowModule) take(t testing.TB) []byte {
	t.Helper()
	made, err := os.ReadFile(s.calls)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.Truncate(s.calls, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return made
}
