package harness

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Refused verifies files with evmctl, many files per process, and returns those that
// evmctl does not accept.
func Refused(t testing.TB, certificate string, files []string) []string {
	t.Helper()
	var bad []string
	for part := range slices.Chunk(files, 500) {
		r := Run(t, Tool(t, "evmctl"), append([]string{"ima_verify", "--key", certificate}, part...)...)
		said := "\n" + r.Out + r.Err
		for _, file := range part { // a name may contain a newline
			if !strings.Contains(said, "\n"+file+": verification is OK\n") {
				bad = append(bad, file)
			}
		}
	}
	return bad
}

// Xattrs returns all xattrs below dir, as printed by getfattr, sorted by file.
func Xattrs(t testing.TB, dir string) string {
	t.Helper()
	cmd := exec.Command(Tool(t, "getfattr"), "-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", ".")
	cmd.Dir = dir
	r := RunCommand(t, cmd)
	if r.Code != 0 {
		t.Fatalf("getfattr: exit %d\n%s", r.Code, r.Err)
	}
	blocks := strings.Split(r.Out, "\n\n") // getfattr prints in directory order
	slices.Sort(blocks)
	return strings.Join(blocks, "\n\n")
}
