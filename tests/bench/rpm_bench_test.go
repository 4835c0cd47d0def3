package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// packageCount and filesEach describe the measured set: files of /usr in packages of
// ordinary size.
const (
	packageCount = 210
	filesEach    = 150
)

// BenchmarkPackages signs a directory of packages and compares with a floor: the time that
// OpenSSL takes to sign every distinct digest on all cores, plus that of sha256sum to read
// the packages on all cores, plus that of cp to copy them. We verify each signature that
// we make, which for P-256 takes three times as long as signing. times-verified compares
// with a floor that includes verification by OpenSSL.
func BenchmarkPackages(b *testing.B) {
	harness.Tool(b, "rpmbuild")
	program, packages := harness.Program(b), buildPackages(b)
	for _, k := range []struct{ algorithm, speed string }{{"rsa2048", "rsa2048"}, {"p256", "ecdsap256"}} {
		b.Run(k.algorithm, func(b *testing.B) {
			keys := harness.Keys(b, k.algorithm)
			digests := distinctDigests(b, packages)
			signs, verifies := opensslRates(b, k.speed)
			var ours, floor, verified float64
			var rss int64
			for b.Loop() {
				out := filepath.Join(b.TempDir(), "signed")
				copied := timed(func() { harness.Must(b, "cp", "-r", packages, b.TempDir()) })
				hashed := timed(func() {
					harness.Must(b, "sh", "-c", "find "+packages+" -name '*.rpm' -print0 | xargs -0 -P "+strconv.Itoa(cores())+" -n 16 sha256sum >/dev/null")
				})
				floor += copied + hashed + float64(digests)/signs
				verified += float64(digests) / verifies
				ours += timed(func() {
					r := harness.RunMeasured(b, program, "rpm", "sign", "--progress=none", "--output-dir", out,
						"--key", filepath.Join(keys, "x509_ima.key"), "--cert", filepath.Join(keys, "x509_ima.crt"), packages)
					if rss = max(rss, r.MaxRSS); r.Code != 0 {
						b.Fatal(r.Err)
					}
				})
			}
			b.ReportMetric(float64(digests), "digests")
			b.ReportMetric(ours/float64(b.N), "s")
			b.ReportMetric(floor/float64(b.N), "floor-s")
			b.ReportMetric(ours/floor, "times-floor")
			b.ReportMetric(ours/(floor+verified), "times-verified")
			b.ReportMetric(float64(rss)/1e6, "MB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func cores() int {
	n, err := strconv.Atoi(strings.TrimSpace(os.Getenv("NPROC")))
	if err != nil {
		out, _ := exec.Command("nproc").Output()
		n, _ = strconv.Atoi(strings.TrimSpace(string(out)))
	}
	return max(n, 1)
}

// opensslRates returns how many signatures OpenSSL makes and verifies per second on all
// cores.
func opensslRates(b *testing.B, algorithm string) (signs, verifies float64) {
	b.Helper()
	out := harness.Must(b, "openssl", "speed", "-seconds", "3", "-multi", strconv.Itoa(cores()), algorithm)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	// "… bits 0.000293s 0.000009s   3417.0 116107.0"
	fields := strings.Fields(lines[len(lines)-1])
	var err, failed error
	signs, err = strconv.ParseFloat(fields[len(fields)-2], 64)
	verifies, failed = strconv.ParseFloat(fields[len(fields)-1], 64)
	if err != nil || failed != nil {
		b.Fatalf("openssl speed: %q", lines)
	}
	return signs, verifies
}

func distinctDigests(b *testing.B, packages string) int {
	b.Helper()
	out := harness.Must(b, "sh", "-c", "find "+packages+" -name '*.rpm' -print0 | xargs -0 rpm -qp --nosignature --nodigest --qf '[%{FILEDIGESTS}\n]'")
	digests := regexp.MustCompile(`(?m)^[0-9a-f]{64}$`).FindAllString(out, -1)
	met := map[string]bool{}
	for _, d := range digests {
		met[d] = true
	}
	if len(digests) < 30_000 {
		b.Fatalf("only %d digests in the packages", len(digests))
	}
	return len(met)
}

// buildPackages makes all packages with one run of rpmbuild and returns their directory.
func buildPackages(b *testing.B) string {
	b.Helper()
	top := b.TempDir()
	source := filepath.Join(top, "source")
	harness.CopyOfUsr(b, source, packageCount*filesEach*21/20) // some are hard links
	files := harness.Inodes(b, source)
	if len(files) < packageCount*filesEach {
		b.Fatalf("only %d inodes", len(files))
	}
	var spec bytes.Buffer
	spec.WriteString("Name: bench\nVersion: 1\nRelease: 1\nSummary: Packages to be signed\nLicense: none\nBuildArch: noarch\nAutoReqProv: no\n%description\nx\n")
	for i := range packageCount {
		fmt.Fprintf(&spec, "%%package p%03d\nSummary: x\nAutoReqProv: no\n%%description p%03d\nx\n%%files p%03d -f %s\n", i, i, i, writeList(b, top, source, i, files))
	}
	spec.WriteString("%install\nmkdir -p %{buildroot}\ncp -al " + source + "/. %{buildroot}/\n")
	file := filepath.Join(top, "bench.spec")
	if err := os.WriteFile(file, spec.Bytes(), 0o644); err != nil {
		b.Fatal(err)
	}
	harness.Must(b, "rpmbuild", "-bb", "--quiet", "--define", "_topdir "+top, "--define", "__os_install_post %{nil}",
		"--define", "_unpackaged_files_terminate_build 0", "--define", "_binaries_in_noarch_packages_terminate_build 0", "--define", "_build_id_links none",
		"--define", "_binary_payload w1T0.zstdio", "--define", "_source_filedigest_algorithm 8", file)
	return filepath.Join(top, "RPMS", "noarch")
}

func writeList(b *testing.B, top, source string, i int, files []string) string {
	b.Helper()
	var list strings.Builder
	for _, f := range files[i*filesEach : (i+1)*filesEach] {
		fmt.Fprintf(&list, "%q\n", strings.TrimPrefix(f, source))
	}
	path := filepath.Join(top, fmt.Sprintf("list%03d", i))
	if err := os.WriteFile(path, []byte(list.String()), 0o644); err != nil {
		b.Fatal(err)
	}
	return path
}
