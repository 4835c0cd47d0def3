package main

import (
	"strings"
	"testing"
)

// TestPreloadWanted checks how the environment is interpreted. tests/pseudo uses the real
// libraries.
func TestPreloadWanted(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"nothing", nil, ""},
		{"pseudo", map[string]string{"LD_PRELOAD": "libpseudo.so", "PSEUDO_PREFIX": "/usr"}, "pseudo"},
		{"pseudo by path, not alone", map[string]string{"LD_PRELOAD": "libother.so:/b/usr/lib/pseudo/lib64/libpseudo.so"}, "pseudo"},
		{"fakeroot", map[string]string{"LD_PRELOAD": "libfakeroot-sysv.so", "FAKEROOTKEY": "7"}, "fakeroot"},
		{"spaces", map[string]string{"LD_PRELOAD": "libother.so libfakeroot-tcp.so"}, "fakeroot"},
		{"another library", map[string]string{"LD_PRELOAD": "libeatmydata.so"}, ""},
		{"a BitBake task outside of pseudo", map[string]string{"PSEUDO_PREFIX": "/usr", "PSEUDO_DISABLED": "1"}, ""},
		{"disabled", map[string]string{"LD_PRELOAD": "libpseudo.so", "PSEUDO_DISABLED": "1"}, ""},
		{"disabled by nothing", map[string]string{"LD_PRELOAD": "libpseudo.so", "PSEUDO_DISABLED": ""}, ""},
		{"not disabled", map[string]string{"LD_PRELOAD": "libpseudo.so", "PSEUDO_DISABLED": "no"}, "pseudo"},
		{"disabled, but fakeroot is there", map[string]string{"LD_PRELOAD": "libpseudo.so:libfakeroot.so", "PSEUDO_DISABLED": "1"}, "fakeroot"},
	} {
		a := newTestApp(c.env)
		if got := a.preloadWanted(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestPreloadNotLoaded runs commands in this process, where the library is not loaded.
func TestPreloadNotLoaded(t *testing.T) {
	for _, library := range []string{"libpseudo.so", "libfakeroot-sysv.so"} {
		var errs strings.Builder
		a := newTestApp(map[string]string{"LD_PRELOAD": library})
		a.err = &errs
		if code := run(a, []string{"rootfs", "verify", "--cert", "none", "none"}); code != exitFailed {
			t.Errorf("%s: exit code %d", library, code)
		}
		for _, word := range []string{"pseudo", "fakeroot"} {
			if named := strings.Contains(errs.String(), "asks for "+word); named != strings.Contains(library, word) {
				t.Errorf("%s: %s", library, errs.String())
			}
		}
		if !strings.Contains(errs.String(), "CGO_ENABLED=1") {
			t.Errorf("%s: it does not say what to do: %s", library, errs.String())
		}
	}
}

func newTestApp(env map[string]string) *app {
	a := newApp()
	a.getenv = func(name string) (string, bool) {
		value, set := env[name]
		return value, set
	}
	return a
}
