package bitbake

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// noSecrets searches all built files, compressed or not, for the passphrase and the other
// secrets. The search must find the control word.
func (l *lab) noSecrets(t *testing.T) {
	secrets := append([]string{passphrase, pin, tpmValue}, l.secrets...)
	control := map[string]int{}
	searched := 0
	for _, file := range l.files(t, "build") {
		content, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) { // BitBake's server ends a little later and removes files
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		if bytes.HasPrefix(content, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
			r := harness.Run(t, "zstd", "-dcq", file)
			// A Go module contains damaged archives for its tests.
			if r.Code != 0 && !strings.Contains(file, "/pkg/mod/") {
				t.Errorf("zstd: %s: %s", file, r.Err)
			}
			content = append(content, r.Out...)
		}
		searched++
		for _, secret := range secrets {
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("%s holds %q", file, secret)
			}
		}
		if bytes.Contains(content, []byte(controlWord)) {
			control[kind(file)]++
		}
	}
	t.Logf("%d files searched; the control word is in %v", searched, control)
	for _, where := range []string{"sigdata", "log"} {
		if control[where] == 0 {
			t.Errorf("the control word was not found in any %s: the search is broken", where)
		}
	}
}

// noComplaints checks pseudo's logs. They would name a file that the program, the key's
// PKCS#11 module or anything else changed without pseudo.
func (l *lab) noComplaints(t *testing.T) {
	logs := 0
	for _, file := range l.files(t, "build/tmp/work") {
		if filepath.Base(file) != "pseudo.log" {
			continue
		}
		logs++
		for line := range strings.Lines(read(t, file)) {
			if regexp.MustCompile(`(?i)mismatch|abort|replaces existing|err :`).MatchString(line) {
				t.Errorf("%s: %s", file, line)
			}
		}
	}
	if logs == 0 {
		t.Error("pseudo wrote no log")
	}
}

func kind(file string) string {
	base := filepath.Base(file)
	switch {
	case strings.Contains(base, ".sigdata."):
		return "sigdata"
	case strings.HasSuffix(base, ".siginfo"):
		return "siginfo"
	case strings.HasPrefix(base, "log."):
		return "log"
	}
	return "other"
}
