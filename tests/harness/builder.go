package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// builderID is the user id and group id of a Builder. No account with it has to exist.
const builderID = 4711

// Builder is an unprivileged user who builds images under pseudo or fakeroot, with a
// directory and keys of their own.
type Builder struct {
	t testing.TB
	// Dir is where scripts run. It contains bin/imasign-build, and PATH includes that bin.
	Dir string
}

// NewBuilder makes a Builder, whose pseudo server ends with the test. The test must run
// as root, because it checks the builder's files outside of pseudo.
func NewBuilder(t testing.TB) *Builder {
	t.Helper()
	Root(t)
	for _, tool := range []string{"pseudo", "fakeroot", "evmctl", "getfattr"} {
		Tool(t, tool)
	}
	// Not t.TempDir, because other users cannot enter its parent.
	dir, err := os.MkdirTemp("", "builder-*")
	if err != nil {
		t.Fatal(err)
	}
	b := &Builder{t, dir}
	t.Cleanup(func() {
		b.StopPseudo()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	for _, sub := range []string{"", "bin", "pseudo"} {
		sub = filepath.Join(dir, sub)
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(sub, builderID, builderID); err != nil {
			t.Fatal(err)
		}
	}
	Must(t, "install", "-m", "0755", Program(t), filepath.Join(dir, "bin", "imasign-build"))
	return b
}

// Run runs a shell script as the builder. The script ends at the first command that fails.
func (b *Builder) Run(script string) Result {
	b.t.Helper()
	return b.run("sh", "-euc", script)
}

// Pseudo is Run under pseudo. Its server runs until StopPseudo.
func (b *Builder) Pseudo(script string) Result {
	b.t.Helper()
	return b.run("pseudo", "sh", "-euc", script)
}

// Fakeroot is Run under fakeroot, which keeps no state between calls.
func (b *Builder) Fakeroot(script string) Result {
	b.t.Helper()
	return b.run("fakeroot", "sh", "-euc", script)
}

// StopPseudo ends the server, which then writes its database. It fails the test if the
// server logged that files were changed without it.
func (b *Builder) StopPseudo() {
	b.t.Helper()
	b.run("pseudo", "-S")
	log, err := os.ReadFile(filepath.Join(b.Dir, "pseudo", "pseudo.log"))
	if err != nil && !os.IsNotExist(err) {
		b.t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		if complaint.MatchString(line) {
			b.t.Errorf("pseudo complains: %s", line)
		}
	}
}

// complaint matches pseudo's log lines about a database that disagrees with the file
// system.
var complaint = regexp.MustCompile(`(?i)mismatch|abort|replaces existing|ignored for existing|err :|error`)

func (b *Builder) run(program string, args ...string) Result {
	b.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = b.Dir
	cmd.Env = []string{
		"PATH=" + filepath.Join(b.Dir, "bin") + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + b.Dir, "LC_ALL=C",
		"PSEUDO_PREFIX=/usr", "PSEUDO_LOCALSTATEDIR=" + filepath.Join(b.Dir, "pseudo"),
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: builderID, Gid: builderID}}
	return RunCommand(b.t, cmd)
}

// OK fails the test unless the command exited with 0, and returns its output.
func (b *Builder) OK(r Result) string {
	b.t.Helper()
	if r.Code != 0 {
		b.t.Fatalf("exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	return r.Out
}

// Path returns a path in the builder's directory.
func (b *Builder) Path(name string) string { return filepath.Join(b.Dir, name) }
