package harness

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Refused has evmctl verify files with the certificate, many a process, and
// returns those that it does not call OK.
func Refused(t testing.TB, certificate string, files []string) []string {
	t.Helper()
	var bad []string
	for part := range slices.Chunk(files, 500) {
		r := Run(t, Tool(t, "evmctl"), append([]string{"ima_verify", "--key", certificate}, part...)...)
		said := "\n" + r.Out + r.Err
		for _, file := range part { // a name may have a line's end in it
			if !strings.Contains(said, "\n"+file+": verification is OK\n") {
				bad = append(bad, file)
			}
		}
	}
	return bad
}

// Xattrs dumps all xattrs of what is below dir as getfattr sees them, sorted.
func Xattrs(t testing.TB, dir string) string {
	t.Helper()
	cmd := exec.Command(Tool(t, "getfattr"), "-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", ".")
	cmd.Dir = dir
	r := RunCommand(t, cmd)
	if r.Code != 0 {
		t.Fatalf("getfattr: exit %d\n%s", r.Code, r.Err)
	}
	blocks := strings.Split(r.Out, "\n\n") // in the order of the directory
	slices.Sort(blocks)
	return strings.Join(blocks, "\n\n")
}
