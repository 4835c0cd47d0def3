package rpmsign

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// memory makes a directory in memory, because thousands of packages are synced there.
func memory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "rpmsign-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// mutant changes one byte of b, or cuts b off, and returns where.
func mutant(r *rand.Rand, b []byte) (mutated []byte, at int) {
	at = r.IntN(len(b))
	if r.IntN(2) == 0 && r.IntN(3) > 0 {
		at = r.IntN(min(len(b), 2000)) // the signature header and its index matter most
	}
	if r.IntN(10) == 0 {
		return b[:at], at
	}
	mutated = bytes.Clone(b)
	for mutated[at] == b[at] {
		switch r.IntN(3) {
		case 0:
			mutated[at] ^= 1 << r.IntN(8)
		case 1:
			mutated[at] = byte(r.Uint32())
		default:
			mutated[at] = []byte{0, 1, 0x7f, 0x80, 0xff, '0', 'f'}[r.IntN(7)]
		}
	}
	return mutated, at
}

// refused reports whether a damaged package can cause the error.
func refused(err error) bool {
	return slices.ContainsFunc([]error{ErrNotRPM, ErrTruncated, ErrOversized, ErrMalformed, ErrDigest}, func(e error) bool { return errors.Is(err, e) })
}

// TestMutants signs 10,000 damaged packages. A package is signed if no digest covers the
// damage, and then rpm accepts it. Otherwise it is unchanged. The second reader agrees about
// each package that the first one reads. None of it takes much memory.
func TestMutants(t *testing.T) {
	r, s, dir := rand.New(rand.NewPCG(3, 4)), signer(t, "p256"), memory(t)
	var signed []string
	failures, mutants := 0, 500
	if harness.Nightly() {
		mutants = 2000
	}
	for _, name := range []string{"zstd", "no-reserve", "openpgp-rsa", "rich", "signed"} {
		whole := base(t, s, name)
		p := mustParse(t, whole)
		path := filepath.Join(dir, name+".rpm")
		for i := range mutants {
			b, where := mutant(r, whole)
			check(t, os.WriteFile(path, b, 0o644))
			what := fmt.Sprintf("%s, mutant %d, byte %d of %d", name, i, where, len(b))
			if m, err := parsed(b); err == nil { // most are never signed, because their digests differ
				check(t, lean(t, what, func() error { return rereads(t, m, b) }))
			}
			err := lean(t, what, func() error { return s.Run(t.Context(), unit{Path: path}).Err })
			now := content(t, path)
			switch {
			case err != nil && !refused(err):
				t.Errorf("%s: %v", what, err)
			case err != nil && !bytes.Equal(now, b):
				t.Errorf("%s: not signed (%v), but changed", what, err)
			case err == nil && (int64(where) >= p.mainAt || len(b) < len(whole)):
				t.Errorf("%s: signed", what)
			case err == nil:
				to := filepath.Join(dir, fmt.Sprintf("%s-%d.rpm", name, i))
				check(t, os.Rename(path, to))
				signed = append(signed, to)
				continue
			}
			failures++
		}
	}
	if bad, said := rpmRefuses(t, signed); len(bad) > 0 {
		t.Errorf("rpm refuses %d of %d: %s\n%.3000s", len(bad), len(signed), bad, said)
	}
	t.Logf("%d refused, %d signed", failures, len(signed))
	if failures < 5*mutants/2 || len(signed) < mutants/4 {
		t.Errorf("%d refused, %d signed", failures, len(signed))
	}
}

func base(t *testing.T, s *loop, name string) []byte {
	t.Helper()
	if name != "signed" {
		return content(t, packages.Path(t, name))
	}
	path := packages.Copy(t, "zstd", t.TempDir())
	run(t, s, path)
	return content(t, path)
}

// lean calls f and checks that it allocates less than 64 MiB.
func lean(t *testing.T, what string, f func() error) error {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := f()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
		t.Errorf("%s: allocated %d bytes", what, n)
	}
	return err
}

// TestMutantsOfPayload checks that a digest finds every changed byte of a payload, and that
// unpacking such a payload does not panic.
func TestMutantsOfPayload(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, name := range []string{"zstd", "xz", "gzip", "bzip2", "lzma", "uncompressed"} {
		whole := content(t, packages.Path(t, name))
		p := mustParse(t, whole)
		for i := range 100 {
			b := bytes.Clone(whole)
			where := int(p.payload) + r.IntN(len(b)-int(p.payload))
			b[where] ^= byte(1 + r.IntN(255))
			m := mustParse(t, b)
			what := fmt.Sprintf("%s, mutant %d, byte %d of %d", name, i, where, len(b))
			if err := m.Check(t.Context(), CheckPayload); !errors.Is(err, ErrDigest) {
				t.Errorf("%s: %v", what, err)
			}
			// Some bytes of a compressed payload have no meaning.
			_ = m.checkFiles(t.Context())
		}
	}
}
