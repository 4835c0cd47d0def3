package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
)

const docs = "../../docs"

// writing reports whether the benchmarks write docs/benchmarks.md.
func writing() bool { return os.Getenv("IMASIGN_BENCH_DOCS") == "1" }

// onlyWriting skips a benchmark unless it writes its part of docs/benchmarks.md.
func onlyWriting(b *testing.B) {
	b.Helper()
	if !writing() {
		b.Skip("make bench-docs runs it: it writes docs/benchmarks.md")
	}
	harness.Root(b)
}

// record writes rows of a table to a part of docs/benchmarks.md, if the benchmarks write that.
func record(b *testing.B, name string, rows []string) {
	b.Helper()
	if writing() {
		writePart(b, "machine", machine(b))
		writePart(b, name, rows)
	}
}

// writePart replaces the text of docs/benchmarks.md between the comments "begin: NAME" and
// "end: NAME".
func writePart(b *testing.B, name string, lines []string) {
	b.Helper()
	file := filepath.Join(docs, "benchmarks.md")
	page, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	begin, end := fmt.Sprintf("<!-- begin: %s -->\n", name), fmt.Sprintf("<!-- end: %s -->", name)
	before, rest, found := strings.Cut(string(page), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		b.Fatalf("%s lacks the comments %q and %q", file, begin, end)
	}
	if err := os.WriteFile(file, []byte(before+begin+"\n"+strings.Join(lines, "\n")+"\n\n"+end+after), 0o644); err != nil {
		b.Fatal(err)
	}
}

// machine describes what the figures were measured with.
func machine(b *testing.B) []string {
	b.Helper()
	engine, err := builtRPMSign()
	if err == nil {
		engine, err = contents(filepath.Join(engine, "engine-version"))
	}
	if err != nil {
		b.Fatal(err)
	}
	ram, err := strconv.Atoi(field(b, "/proc/meminfo", `MemTotal:\s+(\d+) kB`))
	if err != nil {
		b.Fatal(err)
	}
	out := func(program string, args ...string) string {
		return strings.TrimSpace(harness.Must(b, program, args...))
	}
	rows := [][2]string{
		{"CPU", fmt.Sprintf("%s, %d cores", field(b, "/proc/cpuinfo", `model name\s+: (.+)`), cores())},
		{"memory", fmt.Sprintf("%.0f GB", float64(ram)*1024/1e9)},
		{"kernel", out("uname", "-r")},
		{"file system", out("findmnt", "-no", "FSTYPE", "-T", b.TempDir())},
		{"imasign-build", strings.TrimPrefix(out(harness.Program(b), "--version"), "imasign-build ")},
		{"Go", strings.TrimPrefix(out("go", "env", "GOVERSION"), "go")},
		{"OpenSSL", version(b, "libssl3")},
		{"SoftHSM2", version(b, "softhsm2")},
		{"rpm", version(b, "librpmsign9") + ", rpmsign built with IMA from its source"},
		{"libimaevm", version(b, "ima-evm-utils")},
		{"OpenSSL's engine pkcs11 (libp11)", engine},
	}
	lines := []string{fmt.Sprintf("| measured on | %s |", time.Now().UTC().Format(time.DateOnly)), "| --- | --- |"}
	for _, r := range rows {
		lines = append(lines, fmt.Sprintf("| %s | %s |", r[0], r[1]))
	}
	return lines
}

// keyName returns the name of an algorithm of keys as the docs have it.
func keyName(algorithm string) string {
	return map[string]string{"rsa2048": "RSA-2048", "p256": "P-256"}[algorithm]
}

// version returns the version of an installed Debian package.
func version(b *testing.B, name string) string {
	b.Helper()
	return harness.Must(b, "dpkg-query", "-W", "-f", "${Version}", name)
}

func contents(file string) (string, error) {
	text, err := os.ReadFile(file)
	return strings.TrimSpace(string(text)), err
}

func field(b *testing.B, file, pattern string) string {
	b.Helper()
	text, err := contents(file)
	if err != nil {
		b.Fatal(err)
	}
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		b.Fatalf("%s has no %s", file, pattern)
	}
	return found[1]
}

// thousands writes n with a comma between groups of digits.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// readable writes a duration with two or three digits.
func readable(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	d = d.Round(time.Second)
	return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
}
