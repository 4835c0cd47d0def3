package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUTF8(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, true},
		{map[string]string{"LANG": "de_DE.UTF-8"}, true},
		{map[string]string{"LANG": "de_DE.UTF-8", "LC_CTYPE": "POSIX"}, false},
		{map[string]string{"LANG": "C", "LC_ALL": "C.utf8"}, true},
		{map[string]string{"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, false},
		{map[string]string{"LANG": "de_DE.ISO-8859-1", "LC_ALL": ""}, false},
	} {
		if got := newTestApp(c.env).utf8(); got != c.want {
			t.Errorf("%v: %v", c.env, got)
		}
	}
}

// TestOnlyASCII runs commands in the C locale: help, usage errors, results and warnings.
func TestOnlyASCII(t *testing.T) {
	tree := filepath.Join(t.TempDir(), "größe")
	check(t, os.Mkdir(tree, 0o755))
	check(t, os.WriteFile(filepath.Join(tree, "ungültig.key"), []byte("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIP////////////////////////////////////////8=\n-----END PRIVATE KEY-----\n"), 0o600))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"rpm", "sign", "--help"}, "PATH..."},
		{[]string{"rpm", "sign", "fehlt", "--schlüssel"}, `--schl\u00fcssel`},
		{[]string{"rootfs", "scan", tree}, `ung\u00fcltig.key`},
		{[]string{"rootfs", "scan", filepath.Join(tree, "fehlt€")}, `fehlt\u20ac`},
	} {
		for locale, ascii := range map[string]bool{"C": true, "C.UTF-8": false} {
			var said bytes.Buffer
			a := newTestApp(map[string]string{"LC_ALL": locale})
			a.out, a.err = &results{Writer: &said}, &said
			run(a, c.args)
			if strings.Contains(said.String(), c.want) != ascii || ascii && strings.ContainsFunc(said.String(), func(r rune) bool { return r >= 0x80 }) {
				t.Errorf("%s: %q: %s", locale, c.args, &said)
			}
		}
	}
}

// TestCompletionsKeepNames checks that completions have the bytes of names in any locale.
func TestCompletionsKeepNames(t *testing.T) {
	t.Chdir(t.TempDir())
	check(t, os.Mkdir("schlüssel…", 0o755))
	var out bytes.Buffer
	a := newTestApp(map[string]string{"LC_ALL": "C"})
	a.out, a.err = &results{Writer: &out}, &bytes.Buffer{}
	if code := run(a, []string{"__complete", "rootfs", "sign", "--key", ""}); code != exitDone || !strings.Contains(out.String(), "schlüssel…/\n") {
		t.Errorf("exit code %d: %s", code, &out)
	}
}
