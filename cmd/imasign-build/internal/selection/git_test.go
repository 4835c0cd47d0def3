package selection

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// ignored returns the keys of paths that git ignores if pattern i is the .gitignore
// of the directory i. A key is "i/path".
func ignored(t *testing.T, patterns, paths []string) map[string]bool {
	t.Helper()
	git, dir := harness.Tool(t, "git"), t.TempDir()
	run := func(stdin string, args ...string) string {
		cmd := exec.Command(git, append([]string{"-c", "core.excludesFile=/dev/null"}, args...)...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null"}
		out, err := cmd.Output()
		var none *exec.ExitError
		if err != nil && (!errors.As(err, &none) || none.ExitCode() != 1) { // 1: it ignores none
			t.Fatalf("git %v: %v", args, err)
		}
		return string(out)
	}
	run("", "init", "-q")
	var in strings.Builder
	for i, pattern := range patterns {
		sub := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sub, ".gitignore"), []byte(pattern+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			fmt.Fprintf(&in, "%d/%s\x00", i, p)
		}
	}
	all := map[string]bool{}
	for p := range strings.SplitSeq(run(in.String(), "check-ignore", "--no-index", "-z", "--stdin"), "\x00") {
		all[p] = true
	}
	return all
}

// pathsOver returns all paths of at most depth names.
func pathsOver(names []string, depth int) (paths []string) {
	above := []string{""}
	for range depth {
		var level []string
		for _, dir := range above {
			for _, name := range names {
				level = append(level, dir+name)
				paths = append(paths, dir+name)
			}
		}
		above = nil
		for _, p := range level {
			above = append(above, p+"/")
		}
	}
	return paths
}

// quirk matches patterns that git treats differently from its manual: several asterisks
// beside other characters count as "**" or not, depending on what precedes them.
var quirk = regexp.MustCompile(`\*\*\*|[^/]\*\*/`)

// TestPatternsAreThoseOfGit compares single patterns without braces, which git does not
// have. Patterns that both accept match the same paths. Lists differ on purpose: git does
// not look for exceptions below a directory that it ignores.
func TestPatternsAreThoseOfGit(t *testing.T) {
	paths := pathsOver([]string{"a", "b", "ab", "*", "a-b", "!a"}, 3)
	r := rand.New(rand.NewPCG(3, 4))
	parts := []string{"a", "b", "ab", "*", "?", "/", "/", "**", "**/", "/**", "/**/", "[ab]", "[!a]", "[^b]", "[a-b]", `\a`, `\*`, `[\]a]`, "-", `\!`}
	patterns := []string{"*.conf", "/a", "a/*.b", "/a/b/**", "a/", `\!a`, "**", "/**", "a/**/b", "a**b", "*/", "/*/", "**/a/**", "[*]"}
	for range 1000 {
		var b strings.Builder
		for range 1 + r.IntN(5) {
			b.WriteString(parts[r.IntN(len(parts))])
		}
		patterns = append(patterns, b.String())
	}
	git := ignored(t, patterns, paths)
	compared, left := 0, 0
	for i, pattern := range patterns {
		list, err := compile(Include, []string{pattern})
		if err != nil || quirk.MatchString(pattern) {
			left++
			continue
		}
		compared++
		tr := newTrail(list)
		for _, p := range paths {
			tr.follow(p)
			if got, want := list.decide(tr) != nil, git[fmt.Sprintf("%d/%s", i, p)]; got != want {
				t.Errorf("%q on %q: %v, git %v", pattern, p, got, want)
				break
			}
		}
	}
	t.Logf("%d patterns on %d paths; %d are left out: refused, or a quirk of git's", compared, len(paths), left)
}
