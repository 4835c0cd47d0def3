package libc_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pkg/xattr"

	"github.com/imasign/imasign-build/internal/libc"
	"github.com/imasign/imasign-build/tests/harness"
)

// TestMain runs the tests, or is the child of TestFailures and TestClosedAtStart.
func TestMain(m *testing.M) {
	words := strings.Split(os.Getenv("LIBC_CHILD"), " ")
	if words[0] == "" {
		os.Exit(m.Run())
	}
	fmt.Print(child(words[0], words[1:]...))
	os.Exit(0)
}

// child makes one call and describes its result.
func child(call string, paths ...string) string {
	if call == "closed" {
		return fmt.Sprint(libc.ClosedAtStart(0), libc.ClosedAtStart(1), libc.ClosedAtStart(2), libc.ClosedAtStart(3))
	}
	path := paths[0]
	var st libc.Stat // by lstat64, like the check of a FIFO
	var err error
	if call != "lstat" {
		if st, err = libc.Lstat(path); err != nil {
			return "before: " + err.Error()
		}
	}
	made := 0
	switch call {
	case "lstat":
		_, err = libc.Lstat(path)
	case "create":
		err = libc.Create(path+".new", 0o600)
	case "read":
		var values map[string][]byte
		values, _, err = libc.Xattrs(path, &st, "user.")
		made = len(values)
	case "compare", "owner", "set":
		how := libc.How{Compare: call == "compare", KeepOwner: call == "owner"}
		made, _, err = libc.ChangeXattrs(path, &st, how, []libc.Change{{Name: "user.a", Value: []byte("new"), Old: []byte("a")}, {Name: "user.b", Value: []byte("new"), Old: []byte("b")}})
	}
	return fmt.Sprint(made, " ", err)
}

// inChild runs this test binary as child.
func inChild(t *testing.T, cmd *exec.Cmd, call string, env ...string) string {
	t.Helper()
	cmd.Env = append(append(os.Environ(), "LIBC_CHILD="+call), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", call, env, err, stderr.String())
	}
	return string(out)
}

// TestFailures makes each call of the C library fail, and checks the result.
func TestFailures(t *testing.T) {
	gcc := harness.Tool(t, "gcc")
	library := filepath.Join(t.TempDir(), "failing.so")
	if out, err := exec.Command(gcc, "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", library, "testdata/failing.c", "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const always = " 1 100"
	for _, c := range []struct{ call, failing, want string }{
		{"lstat", "", "0 <nil>"},
		{"lstat", "lstat64 5" + always, "0 input/output error"},
		{"lstat", "lstat64 0" + always, "0 operation not supported"}, // as pseudo fails
		{"create", "open64 4 1 3", "0 <nil>"},                        // EINTR
		{"create", "open64 0" + always, "0 operation not supported"},
		{"read", "", "2 <nil>"},
		{"read", "open64 4 1 3", "2 <nil>"},
		{"read", "open64 13" + always, "0 open: permission denied"},
		{"read", "open64 0" + always, "0 open: operation not supported"},
		{"read", "statx 38" + always, "2 <nil>"}, // ENOSYS: a kernel without statx
		{"read", "statx 38" + always + ";fstat64 5" + always, "0 stat: input/output error"},
		{"read", "flistxattr 5" + always, "0 list: input/output error"},
		{"read", "flistxattr 95" + always, "0 <nil>"},
		{"read", "flistxattr 0" + always, "0 <nil>"},
		{"read", "flistxattr 34 1 2", "2 <nil>"}, // ERANGE
		{"read", "flistxattr 34" + always, "0 list: numerical result out of range"},
		{"read", "fgetxattr 5 1 1", "0 get user.a: input/output error"},
		{"read", "fgetxattr 5 2 1", "0 get user.b: input/output error"},
		{"read", "fgetxattr 0 2 1", "0 get user.b: operation not supported"},
		{"read", "fgetxattr 61 1 1", "1 <nil>"}, // ENODATA: removed since it was listed
		{"read", "fgetxattr 34 2 1", "2 <nil>"},
		{"read", "fgetxattr 34" + always, "0 list: numerical result out of range"},
		{"set", "", "2 <nil>"},
		{"set", "fsetxattr 28 1 1", "0 set user.a: no space left on device"},
		{"set", "fsetxattr 28 2 1", "1 set user.b: no space left on device"},
		{"set", "fsetxattr 0 2 1", "1 set user.b: operation not supported"},
		{"set", "statx 38 2 1", "2 <nil>"},
		{"set", "statx 38 2 1;fstat64 5 1 1", "2 stat: input/output error"},
		{"compare", "", "2 <nil>"},
		{"compare", "fgetxattr 5 1 1", "0 set user.a: input/output error"},
		{"compare", "fgetxattr 5 2 1", "1 set user.b: input/output error"},
		{"owner", "", "2 <nil>"},
		{"owner", "fstat64 5 1 1", "0 stat: input/output error"},
		{"owner", "fstat64 5 2 1", "2 chown: input/output error"},
		{"owner", "fstat64 1000 2 1", "2 <nil>"}, // another owner after the change, who is replaced
		{"owner", "fstat64 1000 2 1;fchown 1 1 1", "2 chown: operation not permitted"},
		{"owner", "fstat64 1000 2 1;fsetxattr 28 2 1;fchown 1 1 1", "1 chown: operation not permitted"},
		{"owner", "fsetxattr 28 1 1;fstat64 5 2 1", "0 set user.a: no space left on device"}, // nothing changed, so the owner is not checked
	} {
		path := newFile(t)
		for _, name := range []string{"a", "b"} {
			check(t, xattr.LSet(path, "user."+name, []byte(name)))
		}
		if got := inChild(t, exec.Command(os.Args[0]), c.call+" "+path, "LD_PRELOAD="+library, "FAILING="+c.failing); got != c.want {
			t.Errorf("%s, %s: %q, want %q", c.call, c.failing, got, c.want)
		}
	}
}

// TestClosedAtStart checks each of the standard streams, and that /dev/null is not closed.
func TestClosedAtStart(t *testing.T) {
	for redirect, want := range map[string]string{
		"": "false false false false", "</dev/null 2>/dev/null": "false false false false",
		"<&-": "true false false false", "2>&-": "false false true false", "<&- 2>&-": "true false true false",
	} {
		if got := inChild(t, exec.Command("sh", "-c", `exec "$0" `+redirect, os.Args[0]), "closed"); got != want {
			t.Errorf("%s: %s, want %s", redirect, got, want)
		}
	}
}

// TestBuffers reads xattrs that end just before, at and behind the end of the first
// buffer, in the names and in the values.
func TestBuffers(t *testing.T) {
	path := tmpfs(t)
	set := func(name string, size int) {
		t.Helper()
		check(t, xattr.LSet(path, name, bytes.Repeat([]byte{'v'}, size)))
	}
	read := func() {
		t.Helper()
		values, _, err := libc.Xattrs(path, lstat(t, path), "trusted.")
		check(t, err)
		names, err := xattr.LList(path)
		check(t, err)
		if len(values) != len(slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, "trusted.") })) {
			t.Fatalf("%d of the xattrs %q", len(values), names)
		}
		for name, value := range values {
			if want, err := xattr.LGet(path, name); err != nil || !bytes.Equal(value, want) {
				t.Fatalf("%s: %d bytes of %d, %v", name, len(value), len(want), err)
			}
		}
	}
	const values = 3 << 10 // of the first buffer
	set("trusted.b", 1)
	for size := values - 60; size <= values; size++ {
		set("trusted.a", size)
		read()
	}
	check(t, xattr.LRemove(path, "trusted.a"))
	const names = 1 << 10
	for i := range names/64 - 1 {
		set(fmt.Sprintf("trusted.%055d", i), 0) // 64 bytes in the list
	}
	for size := range 64 {
		name := "trusted.c" + strings.Repeat("c", size)
		set(name, 0)
		read()
		check(t, xattr.LRemove(path, name))
	}
}
