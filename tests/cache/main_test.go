package cache

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

func TestMain(m *testing.M) { harness.Main(m, packages.Remove) }

const pin = "4711-is-the-pin"

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lab has a P-256 key in a token that counts its signatures. No two of its signatures of the
// same digest are equal.
type lab struct {
	testing.TB
	dir   string
	cache string // directory of the cache
	uri   string
	certs string // directory
	token *harness.SlowModule

	tokens  string   // directory of the tokens of SoftHSM2
	env     []string // for the program
	warning string   // the only line that the program must write to standard error contains it; "" for no line
}

func newLab(t testing.TB) *lab {
	t.Helper()
	harness.Root(t)
	h := harness.NewSoftHSM(t)
	h.InitToken(t, "build", pin)
	l := &lab{TB: t, dir: t.TempDir(), token: h.Slow(t, 0), tokens: h.Tokens}
	l.cache, l.certs = l.path("cache"), l.path("keys")
	l.uri = h.URI(t, "build", "x509_ima", pin)
	l.must("key", "init", "--algorithm", "p256", "--on", h.URI(t, "build", "", pin), l.certs)
	l.token.Calls(t)
	return l
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

// is returns the same lab for a subtest.
func (l *lab) is(t testing.TB) *lab {
	other := *l
	other.TB = t
	return &other
}

// warned returns the same lab in which the program must give a warning.
func (l *lab) warned(warning string) *lab {
	other := *l
	other.warning = warning
	return &other
}

// with returns the same lab with a cache of its own.
func (l *lab) with(cache string) *lab {
	other := *l
	other.cache = l.path(cache)
	return &other
}

// key returns the flags that name the key.
func (l *lab) key() []string { return []string{"--key", l.uri, "--cert", l.certs} }

// command returns a command of the program with the lab's cache.
func (l *lab) command(args ...string) *exec.Cmd {
	l.Helper()
	cmd := exec.Command(harness.Program(l), append(args, "--progress=none")...)
	cmd.Env = append(append(os.Environ(), "IMASIGN_CACHE="+l.cache), l.env...)
	return cmd
}

// run runs the program.
func (l *lab) run(args ...string) harness.Result {
	l.Helper()
	r := harness.RunCommand(l, l.command(args...))
	if strings.Contains(r.Out+r.Err, pin) {
		l.Errorf("the PIN is printed:\n%s%s", r.Out, r.Err)
	}
	return r
}

// must runs the program, which must do its work with no other warning than the lab's.
func (l *lab) must(args ...string) string {
	l.Helper()
	r := l.run(args...)
	if r.Code != 0 || !l.expected(r.Err) {
		l.Fatalf("imasign-build %s: exit %d\n%s%s", strings.Join(args, " "), r.Code, r.Out, r.Err)
	}
	return r.Out
}

// expected reports whether the program should have written what it wrote to standard error.
func (l *lab) expected(errors string) bool {
	if l.warning == "" {
		return errors == ""
	}
	return strings.Count(errors, "\n") == 1 && strings.HasPrefix(errors, "imasign-build: warning: ") && strings.Contains(errors, l.warning) &&
		strings.Contains(errors, l.cache)
}

// signed has the counts in the documents of commands that sign.
type signed struct{ Signed, Cached int }

// sign runs a command that signs, which must say nothing but its document, and returns its
// counts and how many signatures the token made for it.
func (l *lab) sign(args ...string) (s signed, calls int) {
	l.Helper()
	l.token.Calls(l)
	out := l.must(append(append(args, "--json"), l.key()...)...)
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		l.Fatalf("%v\n%s", err, out)
	}
	return s, l.token.Calls(l)
}

// tree makes a directory with n files whose contents differ from one another, but not from
// those of another tree. The times are those of every tree.
func tree(t testing.TB, dir string, n int) string {
	t.Helper()
	files(t, dir, "file", n)
	return dir
}

// files writes n files into a directory.
func files(t testing.TB, dir, name string, n int) {
	t.Helper()
	check(t, os.MkdirAll(dir, 0o755))
	at := time.Unix(1_700_000_000, 0)
	for i := range n {
		path := filepath.Join(dir, fmt.Sprintf("%s-%03d", name, i))
		check(t, os.WriteFile(path, fmt.Appendf(nil, "%s %d\n", name, i), 0o755))
		check(t, os.Chtimes(path, at, at))
	}
	check(t, os.Chtimes(dir, at, at))
}

// verified fails the test unless evmctl accepts the signatures of n files below dir.
func (l *lab) verified(dir string, n int) {
	l.Helper()
	all := harness.Files(l, dir)
	if bad := harness.Refused(l, filepath.Join(l.certs, "x509_ima.der"), all); len(bad) > 0 || len(all) != n {
		l.Errorf("evmctl refuses %d of %d files, %d are wanted: %q", len(bad), len(all), n, bad)
	}
}

// sqlite runs statements in the database of the cache.
func (l *lab) sqlite(statements string) string {
	l.Helper()
	return strings.TrimSpace(harness.Must(l, harness.Tool(l, "sqlite3"), filepath.Join(l.cache, "signatures.db"), statements))
}

// sound fails the test unless SQLite and the program find nothing wrong with the cache.
func (l *lab) sound() {
	l.Helper()
	if said := l.sqlite("PRAGMA integrity_check"); said != "ok" {
		l.Errorf("SQLite's integrity check: %s", said)
	}
	l.must("cache", "verify", "--cache", l.cache)
}

// count returns how many signatures are in the cache.
func (l *lab) count() int64 {
	l.Helper()
	n, err := strconv.ParseInt(l.sqlite("SELECT count(*) FROM signature"), 10, 64)
	check(l, err)
	return n
}

// poison gives each digest in the cache the signature of another one, and returns how many
// there are.
func (l *lab) poison() int64 {
	l.Helper()
	l.sqlite(`CREATE TEMP TABLE moved AS SELECT id, lead(signature, 1, (SELECT signature FROM signature ORDER BY id LIMIT 1)) OVER (ORDER BY id) AS value FROM signature;
		UPDATE signature SET signature = (SELECT value FROM moved WHERE moved.id = signature.id)`)
	return l.count()
}
