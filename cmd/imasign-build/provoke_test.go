package main

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"
)

// provocation is a command that fails, everything that it prints on standard error, and
// its exit code. In a file it looks like this, after any number of comments:
//
//	$ imasign-build rootfs sign nowhere
//	imasign-build: …
//	[1]
//
// The text is literal. $WORK is the directory of the script, and variable gives words
// that stand for what is different each time.
type provocation struct {
	comments []string
	command  string
	stderr   []string
	code     int
}

// variable are the words in < > that stand for what differs between runs, what they stand
// for, and where a new text has them.
func variable() [][3]string {
	return [][3]string{
		{"<sha256>", `[0-9a-f]{64}`, `()\b[0-9a-f]{64}\b()`},
		{"<serial>", `[0-9a-f]{16}`, `(serial )[0-9a-f]{16}()`},
		{"<id>", `[0-9a-f]{8}`, `(key |key id |key: |would have |with key )[0-9a-f]{8}\b()`},
		{"<object>", `\S+`, `(?m)(;id=)\S+?(, |: |$)`},
	}
}

// provoke runs the commands in a file of the script, each with sh, and compares all of
// their standard error and the exit code. No output may have one of the secrets: provoke
// FILE [SECRET…]. UPDATE=1 writes what they print to the script. The program is an ordinary
// build in the directory bin, because a build with the race detector starts slowly.
func provoke(ts *testscript.TestScript, bin string, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: provoke FILE [SECRET…]")
	}
	all := parseProvocations(ts, ts.ReadFile(args[0]))
	work := ts.Getenv("WORK")
	for i := range all {
		p := &all[i]
		cmd := exec.Command("sh", "-c", p.command)
		cmd.Dir = work
		var out, diag bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &diag
		for _, name := range []string{"PACKAGES", "TMPDIR", "HOME", "IMASIGN_CACHE", "XDG_CACHE_HOME", "GORACE", "WORK", "SOFTHSM2_CONF", "MODULE", "C", "K"} {
			if value := ts.Getenv(name); value != "" {
				cmd.Env = append(cmd.Env, name+"="+value)
			}
		}
		cmd.Env = append(cmd.Env, "PATH="+bin+string(os.PathListSeparator)+ts.Getenv("PATH"))
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			ts.Fatalf("%s: %v", p.command, err)
		}
		for _, secret := range args[1:] {
			if strings.Contains(out.String()+diag.String(), secret) {
				ts.Fatalf("%s: a secret is in the output:\n%s%s", p.command, &out, &diag)
			}
		}
		got := strings.ReplaceAll(strings.TrimSuffix(diag.String(), "\n"), work, "$WORK")
		want, code := strings.Join(p.stderr, "\n"), cmd.ProcessState.ExitCode()
		switch right := matches(want, got) && code == p.code; {
		case right:
		case os.Getenv("UPDATE") != "":
			p.stderr, p.code = strings.Split(generalise(got), "\n"), code
		default:
			ts.Logf("%s: exit code %d, not %d:\n%s\nnot\n%s", p.command, code, p.code, got, want)
			defer ts.Fatalf("%s", p.command)
		}
	}
	if os.Getenv("UPDATE") != "" {
		update(ts, args[0], all)
	}
}

// generalise puts the words for what differs between runs into a text.
func generalise(text string) string {
	for _, v := range variable() {
		text = regexp.MustCompile(v[2]).ReplaceAllString(text, "${1}"+v[0]+"${2}")
	}
	return text
}

// matches reports whether text is what was wanted.
func matches(want, text string) bool {
	pattern := regexp.QuoteMeta(want)
	for _, v := range variable() {
		pattern = strings.ReplaceAll(pattern, regexp.QuoteMeta(v[0]), v[1])
	}
	return regexp.MustCompile("^" + pattern + "$").MatchString(text)
}

func parseProvocations(ts *testscript.TestScript, text string) []provocation {
	var all []provocation
	var comments []string
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		command, begins := strings.CutPrefix(line, "$ ")
		switch code, ends := strings.CutPrefix(line, "["); {
		case begins:
			all = append(all, provocation{comments: comments, command: command})
			comments = nil
		case strings.HasPrefix(line, "#") || line == "":
			comments = append(comments, line)
		case len(all) == 0:
			ts.Fatalf("%q: no command begins with $", line)
		case ends:
			n, err := strconv.Atoi(strings.TrimSuffix(code, "]"))
			ts.Check(err)
			all[len(all)-1].code = n
		default:
			all[len(all)-1].stderr = append(all[len(all)-1].stderr, line)
		}
	}
	return all
}

// update writes what was printed to the file of the script.
func update(ts *testscript.TestScript, name string, all []provocation) {
	path := filepath.Join(cmp.Or(os.Getenv("SCRIPTS"), "testdata/script"), ts.Name()+".txtar")
	archive, err := txtar.ParseFile(path)
	ts.Check(err)
	var b strings.Builder
	for _, p := range all {
		for _, line := range p.comments {
			b.WriteString(line + "\n")
		}
		b.WriteString("$ " + p.command + "\n")
		if text := strings.Join(p.stderr, "\n"); text != "" {
			b.WriteString(text + "\n")
		}
		b.WriteString("[" + strconv.Itoa(p.code) + "]\n")
	}
	for i := range archive.Files {
		if archive.Files[i].Name == name {
			archive.Files[i].Data = []byte(b.String())
		}
	}
	ts.Check(os.WriteFile(path, txtar.Format(archive), 0o644))
}
