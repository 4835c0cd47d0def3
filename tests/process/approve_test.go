package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestApproveAsks answers the question on a terminal. Nothing is written without a yes.
func TestApproveAsks(t *testing.T) {
	keys, alice, dir := harness.Keys(t, "p256"), harness.Keys(t, "p256"), t.TempDir()
	tree := filepath.Join(dir, "tree")
	check(t, os.Mkdir(tree, 0o755))
	check(t, os.WriteFile(filepath.Join(tree, "a"), []byte("content"), 0o644))
	list, out := filepath.Join(dir, "m.jsonl"), filepath.Join(dir, "approvals")
	harness.Must(t, harness.Program(t), "rootfs", "sign", "--dry-run", "--manifest", list, tree)
	command := strings.Join([]string{harness.Program(t), "approve", list, "--key", alice, "--for-key", keys, "--form", "v2", "--origin", "o", "-o", out}, " ")
	for _, c := range []struct {
		answer string
		code   int
		says   string
	}{{"", 1, "not confirmed: nothing was done"}, {"no", 1, "not confirmed"}, {"yes and no", 1, "not confirmed"}, {"Y", 0, "wrote "}} {
		r, typed := onTerminal(t, command)
		if !r.until(func() bool { return strings.Contains(r.out.String(), "Approve this? [y/N] ") }) {
			t.Fatalf("it did not ask: %s%s", &r.out, &r.err)
		}
		demand(t, r.out.String(), "covers    1 file", "no earlier manifest")
		_, err := typed.Write([]byte(c.answer + "\n"))
		check(t, err)
		r.end(t, c.code)
		demand(t, r.out.String(), c.says)
		if files, _ := filepath.Glob(out + "/*"); (len(files) == 2) != (c.code == 0) {
			t.Errorf("%q: files %q", c.answer, files)
		}
	}
}
