package rootfs

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/harness"
)

// TestWriteRestore restores the file with setfattr(1). It sets the same values as
// attaching the plan, including unchanged ones, with unusual names.
func TestWriteRestore(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir()
	names := []string{
		"plain", "new\nline", "\n", "cr\rx", `back\slash`, `\012`, `end\`, " lead", "trail ", "tab\t", "\v\f", "a=b", "# file: x", "#x", "quote\"'",
		"\xff\xfe", "é", "-", "d i r/\\\n/f", strings.Repeat("n", 255), "\x01\x7f", "hashed", "0x", "security.ima=0x00",
	}
	write(t, dir, names...)
	link(t, dir, "plain", "z link")
	write(t, dir, "signed already")
	sign(t, dir, Options{}, without(slices.Concat(names, []string{"f", "z link"})...))
	write(t, dir, "excluded")
	but := []choice{without("excluded"), hashed("hashed")}
	plan := planFor(t, openTree(t, dir, Options{}), but...)
	var b bytes.Buffer
	ok(t, WriteRestore(&b, plan))
	if n := bytes.Count(b.Bytes(), []byte("# file: ")); n != len(names)+3 { // one name contains it
		t.Errorf("%d files of %d\n%s", n, len(names), b.Bytes())
	}

	was := snapshot(t, dir, false)
	cmd := exec.Command("setfattr", "-h", "--restore=-")
	cmd.Dir, cmd.Stdin = dir, &b
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("setfattr: %v\n%s", err, out)
	}
	restored := snapshot(t, dir, false)
	if n := verify(t, dir, Options{}, but...); n != len(names)+2 {
		t.Errorf("%d files are valid", n)
	}
	// The values are those of the plan, so there is nothing left to sign.
	if n := sign(t, dir, Options{}, but...).Counts(); n.Pending() != 0 || n.Unchanged != int64(len(names)+1) {
		t.Errorf("%+v", n)
	}
	for path, line := range restored {
		restored[path], _, _ = strings.Cut(line, " security.ima=")
	}
	for path, line := range was {
		was[path], _, _ = strings.Cut(line, " security.ima=")
	}
	same(t, "the rest", was, restored)
}

func TestWriteRestoreNeedsSignatures(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a")
	e, err := signing.New(signing.Options{})
	ok(t, err)
	plan, err := e.Plan(t.Context(), openTree(t, dir, Options{}))
	ok(t, err)
	defer plan.Close()
	if err := WriteRestore(&bytes.Buffer{}, plan); !errors.Is(err, signing.ErrUnsignedPlan) {
		t.Errorf("got %v", err)
	}
	tr := openTree(t, dir, Options{})
	if err := attach(t.Context(), tr, plan); !errors.Is(err, signing.ErrUnsignedPlan) {
		t.Errorf("got %v", err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	ok(t, err)
	defer full.Close()
	if err := WriteRestore(full, planFor(t, tr)); err == nil {
		t.Error("no error for a full disk")
	}
}

// TestWriteRestoreAsGetfattr compares the dump by getfattr(1) of a signed tree with the
// output of WriteRestore.
func TestWriteRestoreAsGetfattr(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir()
	write(t, dir, "a", `b\`, "c\nd", "e\rf", " g ")
	tr := openTree(t, dir, Options{})
	plan := planFor(t, tr)
	var b bytes.Buffer
	ok(t, WriteRestore(&b, plan))
	ok(t, attach(t.Context(), tr, plan))
	args := []string{"-d", "-m", "^" + ima.XattrIMA + "$", "-e", "hex", "--"}
	for r, err := range plan.Records() {
		ok(t, err)
		args = append(args, r.Path)
	}
	cmd := exec.Command("getfattr", args...)
	cmd.Dir = filepath.Clean(dir)
	out, err := cmd.Output()
	ok(t, err)
	theirs, ours := strings.Split(string(out), "\n\n"), strings.Split(b.String(), "\n\n")
	slices.Sort(theirs)
	slices.Sort(ours)
	if !slices.Equal(theirs, ours) {
		t.Errorf("getfattr writes\n%s\nand this package\n%s", out, b.Bytes())
	}
}
