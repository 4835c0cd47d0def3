// Package evmctl compares signing and verification with evmctl of ima-evm-utils, in both
// directions.
package evmctl

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/pkg/xattr"

	"github.com/imasign/imasign-build/tests/harness"
)

const securityIMA = "security.ima"

// accepts reports whether evmctl accepts one file.
func accepts(t testing.TB, certificate, file string) bool {
	t.Helper()
	return harness.Run(t, "evmctl", "ima_verify", "--key", certificate, file).Code == 0
}

// refused verifies every file with evmctl and returns those that it does not accept. Each
// process verifies many files, because loading OpenSSL is what takes time. It prints a
// line per file, and its exit status must agree with the lines.
func refused(t testing.TB, certificate string, files []string) []string {
	t.Helper()
	var bad []string
	for chunk := range slices.Chunk(files, 500) {
		r := harness.Run(t, "evmctl", append([]string{"ima_verify", "--key", certificate}, chunk...)...)
		accepted := map[string]bool{}
		for line := range strings.Lines(r.Out + r.Err) {
			if file, ok := strings.CutSuffix(line, ": verification is OK\n"); ok {
				accepted[file] = true
			}
		}
		before := len(bad)
		for _, file := range chunk {
			if !accepted[file] {
				bad = append(bad, file)
			}
		}
		if r.Code != 0 != (len(bad) > before) || len(accepted)+len(bad)-before != len(chunk) {
			t.Fatalf("evmctl: exit %d, %d accepted and %d refused of %d\n%s%s", r.Code, len(accepted), len(bad)-before, len(chunk), r.Out, r.Err)
		}
	}
	return bad
}

// refusedAlone verifies every step-th file in a process of its own and goes by the exit
// status.
func refusedAlone(t testing.TB, certificate string, files []string, step int) []string {
	t.Helper()
	var (
		mu   sync.Mutex
		bad  []string
		next atomic.Int64
		wg   sync.WaitGroup
	)
	for range 2 * runtime.NumCPU() {
		wg.Go(func() {
			for i := next.Add(int64(step)) - 1; i < int64(len(files)); i = next.Add(int64(step)) - 1 {
				if exec.Command("evmctl", "ima_verify", "--key", certificate, files[i]).Run() != nil {
					mu.Lock()
					bad = append(bad, files[i])
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return bad
}

// realTree is a copy of a part of /usr with a few special files.
type realTree struct {
	dir           string
	names, inodes int // that are signed
}

func newRealTree(t *testing.T, names int) *realTree {
	t.Helper()
	r := &realTree{dir: t.TempDir()}
	r.names = harness.CopyOfUsr(t, r.dir, names) + 4
	r.inodes = len(harness.Inodes(t, r.dir)) + 3
	special(t, r.dir)
	return r
}

// TestEveryInodeOfARealTree signs copies of /usr with each type of key: large ones with
// RSA-2048 and P-256, small ones with slower keys. evmctl verifies every inode each time,
// with a line for each. It also verifies some in a process of their own: every tenth with
// the first key, every fiftieth with the others. With IMASIGN_NIGHTLY=1 these are all and
// every tenth, of large trees. Forty thousand processes take six minutes.
func TestEveryInodeOfARealTree(t *testing.T) {
	harness.Root(t)
	harness.Tool(t, "evmctl")
	files, first, others := 10_000, 1, 10
	if !harness.Nightly() {
		files, first, others = 2500, 10, 50
	}
	large := newRealTree(t, files)
	small := large
	if !harness.Nightly() {
		small = newRealTree(t, 800)
	}
	for _, c := range []struct {
		algorithm, hash string
		tree            *realTree
		each            int
	}{{"rsa2048", "sha256", large, first}, {"p256", "sha256", large, others}, {"p384", "sha384", small, others}, {"rsa4096", "sha512", small, others}} {
		t.Run(c.algorithm+"-"+c.hash, func(t *testing.T) {
			c.tree.check(t, c.algorithm, c.hash, c.each)
		})
	}
}

// check signs the tree. evmctl verifies it.
func (r *realTree) check(t *testing.T, algorithm, hash string, each int) {
	t.Helper()
	keys := harness.Keys(t, algorithm)
	der := filepath.Join(keys, "x509_ima.der")
	var report struct{ Signed, Links int }
	if err := json.Unmarshal([]byte(harness.Sign(t, keys, r.dir, "--hash", hash, "--force", "--json")), &report); err != nil {
		t.Fatal(err)
	}
	if report.Signed != r.inodes || report.Signed+report.Links != r.names {
		t.Errorf("signed %d inodes with %d further names, find counts %d and %d names", report.Signed, report.Links, r.inodes, r.names)
	}
	all := harness.Inodes(t, r.dir)
	if bad := refused(t, der, all); len(bad) > 0 {
		t.Errorf("evmctl refuses %d of %d, first %q", len(bad), len(all), bad[0])
	}
	if bad := refusedAlone(t, der, all, each); len(bad) > 0 {
		t.Errorf("evmctl, asked about each alone, refuses %d, first %q", len(bad), bad[0])
	}
	harness.Must(t, harness.Program(t), "rootfs", "verify", "--cert", filepath.Join(keys, "x509_ima.crt"), r.dir)
	control := filepath.Join(r.dir, "empty")
	if !accepts(t, der, control) {
		t.Fatal("evmctl refuses the control before it is tampered with")
	}
	write(t, control, "no longer empty")
	if accepts(t, der, control) {
		t.Error("evmctl accepts a tampered file: its word proves nothing")
	}
	if bad := refused(t, der, append(all[:100:100], control)); !slices.Equal(bad, []string{control}) {
		t.Errorf("of a hundred files and a tampered one evmctl refuses %q", bad)
	}
	write(t, control, "")
}

// special adds files that /usr may lack: an empty file, a setuid program and a hard link.
// These are three inodes with four names.
func special(t *testing.T, tree string) {
	t.Helper()
	write(t, filepath.Join(tree, "empty"), "")
	write(t, filepath.Join(tree, "setuid"), "#!/bin/sh\n")
	write(t, filepath.Join(tree, "linked"), "one inode, two names")
	for _, err := range []error{
		os.Chmod(filepath.Join(tree, "setuid"), 0o4755|os.ModeSetuid),
		os.Link(filepath.Join(tree, "linked"), filepath.Join(tree, "zlinked")),
		os.Symlink("empty", filepath.Join(tree, "symlink")),
		syscall.Mkfifo(filepath.Join(tree, "fifo"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestWhatEvmctlSigned verifies a tree that evmctl signed.
func TestWhatEvmctlSigned(t *testing.T) {
	harness.Root(t)
	harness.Tool(t, "evmctl")
	for _, algorithm := range []string{"rsa2048", "p256", "rsa4096"} {
		t.Run(algorithm, func(t *testing.T) {
			keys, tree := harness.Keys(t, algorithm), t.TempDir()
			harness.Must(t, "cp", "-a", "/usr/share/doc/libc6", "/usr/bin/env", "/usr/bin/true", tree)
			harness.Must(t, "evmctl", "ima_sign", "-r", "--key", filepath.Join(keys, "x509_ima.key"), tree)
			out := harness.Must(t, harness.Program(t), "rootfs", "verify", "--json", "--cert", filepath.Join(keys, "x509_ima.crt"), tree)
			var report struct{ OK int }
			if err := json.Unmarshal([]byte(out), &report); err != nil {
				t.Fatal(err)
			}
			if files := len(harness.Files(t, tree)); report.OK != files || files < 3 {
				t.Errorf("%d files verify, there are %d", report.OK, files)
			}
			// RSA signatures are deterministic, so that nothing is left to sign.
			if out := harness.Sign(t, keys, tree, "--json"); !strings.Contains(out, `"signed": 0,`) {
				t.Errorf("signing again what evmctl signed: %s", out)
			}
		})
	}
}

// TestEachRefusalIsNamed damages one file in each of several ways. Both programs must
// refuse it, and ours must name the file and the reason.
func TestEachRefusalIsNamed(t *testing.T) {
	harness.Root(t)
	harness.Tool(t, "evmctl")
	keys, others := harness.Keys(t, "rsa2048"), harness.Keys(t, "p256")
	certificate, der := filepath.Join(keys, "x509_ima.crt"), filepath.Join(keys, "x509_ima.der")
	for _, c := range []struct {
		name, says string
		damage     func(t *testing.T, file, other string)
	}{
		{"tampered content", "bad .*file", func(t *testing.T, file, _ string) { overwrite(t, file, "tampered") }},
		{"flipped bit", "bad .*file", func(t *testing.T, file, _ string) {
			value, err := xattr.Get(file, securityIMA)
			if err != nil {
				t.Fatal(err)
			}
			value[len(value)-1] ^= 1
			set(t, file, value)
		}},
		{"swapped xattr", "bad .*file", func(t *testing.T, file, other string) {
			value, err := xattr.Get(other, securityIMA)
			if err != nil {
				t.Fatal(err)
			}
			set(t, file, value)
		}},
		{"other key", "bad .*file", func(t *testing.T, file, _ string) {
			harness.Must(t, "evmctl", "ima_sign", "--key", filepath.Join(others, "x509_ima.key"), file)
		}},
		{"hash only", "bad .*file", func(t *testing.T, file, _ string) {
			harness.Must(t, "evmctl", "ima_hash", "-a", "sha256", file)
		}},
		{"missing xattr", "unsigned .*file", func(t *testing.T, file, _ string) {
			if err := xattr.Remove(file, securityIMA); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := t.TempDir()
			file, other := filepath.Join(tree, "file"), filepath.Join(tree, "other")
			write(t, file, "content of the file")
			write(t, other, "content of the other")
			harness.Sign(t, keys, tree)
			c.damage(t, file, other)
			r := harness.Run(t, harness.Program(t), "rootfs", "verify", "--cert", certificate, tree)
			status, _, _ := strings.Cut(c.says, " ")
			if r.Code != 3 || !strings.Contains(r.Out, status) || !strings.Contains(r.Out, "file") || strings.Contains(r.Out, "other:") {
				t.Errorf("exit %d\n%s%s", r.Code, r.Out, r.Err)
			}
			t.Log(strings.TrimSpace(r.Out))
			if c.name != "hash only" && accepts(t, der, file) {
				t.Error("evmctl accepts it")
			}
			if !accepts(t, der, other) {
				t.Error("evmctl refuses the file that was left alone")
			}
		})
	}
}

func overwrite(t *testing.T, file, text string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func set(t *testing.T, file string, value []byte) {
	t.Helper()
	if err := xattr.Set(file, securityIMA, value); err != nil {
		t.Fatal(err)
	}
}

// TestSameBytesAtAnyJobs signs equal trees with different numbers of jobs, and a
// signed tree once more.
func TestSameBytesAtAnyJobs(t *testing.T) {
	harness.Root(t)
	keys, original := evmKeys(t, "p256"), t.TempDir() // with RFC 6979 nonces
	more := "/usr/include/linux"
	if harness.Nightly() {
		more = "/usr/include"
	}
	harness.Must(t, "cp", "-a", "/usr/sbin", more, original)
	var first string
	for i, jobs := range []string{"1", "2", "7"} {
		tree := filepath.Join(t.TempDir(), "tree")
		harness.Must(t, "cp", "-a", original, tree)
		manifest := filepath.Join(t.TempDir(), "manifest")
		harness.Sign(t, keys, tree, append([]string{"--jobs", jobs, "--manifest", manifest}, evmFlags...)...)
		lines, err := os.ReadFile(manifest)
		if err != nil {
			t.Fatal(err)
		}
		dump := harness.RunCommand(t, &exec.Cmd{Path: harness.Tool(t, "getfattr"), Args: []string{"getfattr", "-R", "-P", "-d", "-m", "^security", "-e", "hex", "."}, Dir: tree})
		if dump.Code != 0 || strings.Count(dump.Out, "security.ima=") < 100 || strings.Count(dump.Out, "security.evm=") < 100 {
			t.Fatalf("getfattr: exit %d, %d signatures", dump.Code, strings.Count(dump.Out, "security.ima="))
		}
		if all := string(lines) + sortedBlocks(dump.Out); i == 0 {
			first = all
		} else if all != first {
			t.Errorf("--jobs %s gives other bytes than --jobs 1", jobs)
		}
		if i == 0 {
			signedAgain(t, keys, tree, string(lines))
		}
	}
}

// sortedBlocks sorts the blocks that getfattr prints in directory order.
func sortedBlocks(dump string) string {
	blocks := strings.Split(dump, "\n\n")
	slices.Sort(blocks)
	return strings.Join(blocks, "\n\n")
}

func signedAgain(t *testing.T, keys, tree, lines string) {
	t.Helper()
	times := func() string { return harness.Must(t, "find", tree, "-printf", `%p %C@ %T@ %A@\n`) }
	manifest := filepath.Join(t.TempDir(), "again")
	before := times()
	out := harness.Sign(t, keys, tree, append([]string{"--json", "--manifest", manifest}, evmFlags...)...)
	if !strings.Contains(out, `"signed": 0,`) || strings.Contains(out, `"unchanged": 0,`) {
		t.Errorf("signing again: %s", out)
	}
	if times() != before {
		t.Error("signing again touched a file: its ctime, mtime or atime moved")
	}
	if again, err := os.ReadFile(manifest); err != nil || string(again) != lines {
		t.Errorf("signing again gives another manifest (%v)", err)
	}
}

// evmFlags make `rootfs sign` sign security.evm, too.
var evmFlags = []string{"--evm", "portable", "--evm-target", "64le"}

// evmKeys makes a key set with a key for EVM and returns its directory.
func evmKeys(t *testing.T, algorithm string) string {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys")
	harness.Must(t, harness.Program(t), "key", "init", "--algorithm", algorithm, "--with", "evm", keys)
	return keys
}

// TestKilled kills the signer at different moments, and then runs it to its end.
// IMASIGN_NIGHTLY=1 does it more often.
func TestKilled(t *testing.T) {
	harness.Root(t)
	rounds := 8
	if harness.Nightly() {
		rounds = 60
	}
	keys, tree := evmKeys(t, "p256"), t.TempDir()
	const files = 1600
	for i := range files {
		write(t, filepath.Join(tree, fmt.Sprintf("%04d", i)), fmt.Sprint("content ", i))
	}
	contents := harness.Must(t, "sh", "-c", "cd "+tree+" && sha256sum *")
	program := harness.Program(t)
	between := 0
	for round := range rounds {
		harness.Must(t, program, "rootfs", "strip", tree)
		killWhileAttaching(t, keys, tree, round)
		signed := 0
		for i := range files {
			if _, err := xattr.Get(filepath.Join(tree, fmt.Sprintf("%04d", i)), securityIMA); err == nil {
				signed++
			}
		}
		if 0 < signed && signed < files {
			between++
		}
		harness.Sign(t, keys, tree, evmFlags...)
		harness.Must(t, program, "rootfs", "verify", "--cert", keys, "--evm-cert", keys, "--require-evm", "--evm-target", "64le", tree)
	}
	t.Logf("%d of %d kills fell between the first and the last signature", between, rounds)
	if between < rounds*2/5 {
		t.Errorf("only %d of %d kills fell between the first and the last signature", between, rounds)
	}
	if harness.Must(t, "sh", "-c", "cd "+tree+" && sha256sum *") != contents {
		t.Error("a file's content is not what it was")
	}
	if bad := refused(t, filepath.Join(keys, "x509_ima.der"), harness.Files(t, tree)); len(bad) > 0 {
		t.Errorf("evmctl refuses %d, first %s", len(bad), bad[0])
	}
}

// killWhileAttaching starts a signer and kills it as soon as a certain file has its
// signature, a later file each round.
func killWhileAttaching(t *testing.T, keys, tree string, round int) {
	t.Helper()
	cmd := exec.Command(harness.Program(t), append([]string{"rootfs", "sign", "--progress=none", "--key", keys, tree}, evmFlags...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	watched := filepath.Join(tree, fmt.Sprintf("%04d", round*20))
	for {
		select {
		case <-done:
			return
		default:
		}
		if _, err := xattr.Get(watched, securityIMA); err == nil {
			_ = cmd.Process.Kill()
			<-done
			return
		}
	}
}
