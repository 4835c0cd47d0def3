package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pkg/xattr"

	"github.com/imasign/imasign-build/tests/harness"
)

// goldenFile has the digests of outputs that must not change. documentsFile has those of
// JSON documents, whose names and messages may change; docs/cli.md describes them.
const (
	goldenFile      = "testdata/golden/digests.txt"
	goldenHeader    = "# SHA-256 of what the program writes, by commit 1596775, before the restructure; golden_test.go says how it is made.\n"
	documentsFile   = "testdata/golden/documents.txt"
	documentsHeader = "# SHA-256 of the JSON documents that the program prints; golden_test.go says how it is made.\n"
)

// TestGolden checks that the program writes the same bytes as before from fixed inputs, with
// any number of jobs. Compressed outputs also change with the compression libraries. To
// write the digests again, with this program or another one:
//
//	UPDATE=1 [GOLDEN_PROGRAM=/a/program] go test -count=1 -run TestGolden ./cmd/imasign-build
//
// GOLDEN_DIR=DIR keeps the outputs in DIR, to compare the outputs of two programs.
func TestGolden(t *testing.T) {
	goldenCompare(t, "tar", "oci", "rpm", "initramfs")
}

// TestGoldenTree is the part of TestGolden that needs root.
func TestGoldenTree(t *testing.T) {
	harness.Root(t)
	goldenCompare(t, "tree", "xattrs")
}

// goldenCompare reports outputs of parts that differ from the committed ones.
func goldenCompare(t *testing.T, parts ...string) {
	got := goldenRun(t, parts)
	want := goldenCommitted(t)
	ofParts := func(name, _ string) bool {
		part, _, _ := strings.Cut(name, "/")
		return slices.Contains(parts, part)
	}
	if os.Getenv("UPDATE") != "" {
		maps.DeleteFunc(want, ofParts)
		maps.Copy(want, got)
		goldenWrite(t, want)
	}
	for name, digest := range got {
		if want[name] != digest {
			t.Errorf("%s has changed (GOLDEN_DIR=DIR keeps the outputs)", name)
		}
		delete(want, name)
	}
	for name := range want {
		if ofParts(name, "") {
			t.Errorf("%s is no longer written", name)
		}
	}
}

// goldenRun returns the digests of the outputs of parts, by part/key/file. It fails if they
// depend on the number of jobs.
func goldenRun(t *testing.T, parts []string) map[string]string {
	t.Helper()
	program := cmp.Or(os.Getenv("GOLDEN_PROGRAM"), "imasign-build")
	top := cmp.Or(os.Getenv("GOLDEN_DIR"), t.TempDir())
	digests := map[string]string{}
	for _, part := range parts {
		for key, other := range map[string]string{"rsa2048": "p256", "p256": "rsa2048"} {
			for _, jobs := range []string{"1", "4"} {
				g := &golden{t, program, filepath.Join(top, part, key+"-jobs"+jobs), key, other, jobs}
				g.run(goldenSteps[part])
				for name, digest := range g.digests() {
					name = part + "/" + key + "/" + name
					if first, there := digests[name]; there && first != digest {
						t.Errorf("%s differs between one job and %s jobs", name, jobs)
					}
					digests[name] = digest
				}
			}
		}
	}
	return digests
}

// golden is a run of one part in its own directory.
type golden struct {
	t                             *testing.T
	program, dir, key, other, job string
}

func (g *golden) run(steps string) {
	goldenInputs(g.t, g.dir)
	archives, err := filepath.Abs("../../pkg/tarball/testdata")
	must(g.t, err)
	expand := strings.NewReplacer(
		"{sign}", fmt.Sprintf("--key %s.key --cert %[1]s.crt", g.key), "{trust}", "--cert "+g.key+".crt",
		"{sign-other}", fmt.Sprintf("--key %s.key --cert %[1]s.crt", g.other), "{archives}", archives)
	for step := range strings.Lines(strings.TrimSpace(steps)) {
		line, output, _ := strings.Cut(expand.Replace(step), ">")
		stdout := g.step(strings.Fields(line))
		if output = strings.TrimSpace(output); output != "" {
			must(g.t, os.WriteFile(filepath.Join(g.dir, output), stdout, 0o644))
		}
	}
}

func (g *golden) step(args []string) (stdout []byte) {
	if args[0] == "xattrs" {
		return goldenXattrs(g.t, filepath.Join(g.dir, args[1]))
	}
	code, err := strconv.Atoi(args[0])
	if err == nil {
		args = args[1:]
	}
	if !slices.Contains([]string{"diff", "show", "bundle"}, args[1]) {
		args = append(args, "--jobs", g.job)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(context.Background(), g.program, args...)
	cmd.Dir, cmd.Stderr = g.dir, &stderr
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000", "GORACE=atexit_sleep_ms=0", "TMPDIR="+g.dir)
	stdout, err = cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		g.t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		g.t.Fatalf("%s: %q: exit code %d, not %d\n%s%s", g.dir, args, got, code, stdout, &stderr)
	}
	return stdout
}

// goldenVolatile matches the version of the program and the duration of the run.
var goldenVolatile = regexp.MustCompile(`"tool":"imasign-build [^"]*",|(?m:^ *"seconds": [0-9.e-]+,?\n)`)

// digests returns the digests of the files below out, by their names.
func (g *golden) digests() map[string]string {
	found := map[string]string{}
	out := filepath.Join(g.dir, "out")
	must(g.t, filepath.WalkDir(out, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if ext := filepath.Ext(path); ext == ".json" || ext == ".jsonl" {
			content = goldenVolatile.ReplaceAll(content, nil)
		}
		name, err := filepath.Rel(out, path)
		found[name] = fmt.Sprintf("%x", sha256.Sum256(content))
		return err
	}))
	return found
}

// goldenXattrs returns the modes and xattrs of the files in a tree, without security.selinux.
func goldenXattrs(t *testing.T, tree string) []byte {
	var b bytes.Buffer
	must(t, filepath.WalkDir(tree, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%q %s\n", strings.TrimPrefix(path, tree), info.Mode())
		names, err := xattr.LList(path)
		slices.Sort(names)
		for _, name := range names {
			if name != "security.selinux" {
				value, err := xattr.LGet(path, name)
				must(t, err)
				fmt.Fprintf(&b, "%s=%x\n", name, value)
			}
		}
		return err
	}))
	return b.Bytes()
}

func goldenCommitted(t *testing.T) map[string]string {
	digests := map[string]string{}
	for _, file := range []string{goldenFile, documentsFile} {
		content, err := os.ReadFile(file)
		must(t, err)
		for line := range strings.Lines(string(content)) {
			if digest, name, found := strings.Cut(strings.TrimSuffix(line, "\n"), "  "); found {
				digests[name] = digest
			}
		}
	}
	return digests
}

func goldenWrite(t *testing.T, digests map[string]string) {
	kept, documents := bytes.NewBufferString(goldenHeader), bytes.NewBufferString(documentsHeader)
	for _, name := range slices.Sorted(maps.Keys(digests)) {
		b := kept
		if filepath.Ext(name) == ".json" {
			b = documents
		}
		fmt.Fprintf(b, "%s  %s\n", digests[name], name)
	}
	must(t, os.WriteFile(goldenFile, kept.Bytes(), 0o644))
	must(t, os.WriteFile(documentsFile, documents.Bytes(), 0o644))
}
