package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

func TestSignalWhilePlanning(t *testing.T) {
	harness.Root(t)
	keys, others := harness.Keys(t, "p256"), harness.Keys(t, "p256")
	for name, s := range map[string]syscall.Signal{"SIGINT": syscall.SIGINT, "SIGTERM": syscall.SIGTERM, "SIGHUP": syscall.SIGHUP} {
		t.Run(name, func(t *testing.T) {
			tree, out := t.TempDir(), t.TempDir()
			check(t, os.WriteFile(filepath.Join(tree, "a"), []byte("signed by another key"), 0o644))
			harness.Sign(t, others, tree)
			check(t, os.WriteFile(filepath.Join(tree, "b"), []byte("unsigned"), 0o644))
			huge := endless(t, tree)
			before := state(t, tree)
			r := start(t, nil, signArgs(keys, tree, "--force", "--manifest", filepath.Join(out, "manifest"))...)
			r.planning(t, huge)
			r.signal(t, s)
			r.end(t, 1)
			demand(t, r.err.String(), "interrupted while planning: "+tree+" is as it was")
			if state(t, tree) != before {
				t.Errorf("the tree was\n%s\nand is\n%s", before, state(t, tree))
			}
			if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
				t.Errorf("left beside the tree: %v %v", left, err)
			}
		})
	}
}

// rounds is how often a test tries to interrupt the program while it attaches.
const rounds = 20

// attaching returns the program, stopped after the first signatures and before the last.
// It returns nil if the program was too fast.
func attaching(t *testing.T, files []string, prepare func(*exec.Cmd), args []string) *running {
	t.Helper()
	first, watched, last := files[0], files[len(files)/10], files[len(files)-1]
	before := map[string]string{first: value(first), watched: value(watched), last: value(last)}
	changed := func(file string) bool { return value(file) != before[file] }
	r := start(t, prepare, args...)
	if !r.until(func() bool { return changed(watched) }) {
		return nil
	}
	r.signal(t, syscall.SIGSTOP)
	if !r.until(r.stopped) {
		return nil
	}
	if !changed(first) || changed(last) {
		r.signal(t, syscall.SIGCONT)
		<-r.ended
		return nil
	}
	return r
}

func (r *running) stopped() bool {
	stat, err := os.ReadFile(r.proc("stat"))
	return err == nil && regexp.MustCompile(`\) T `).Match(stat)
}

func TestOneSignalWhileAttaching(t *testing.T) {
	harness.Root(t)
	keys := harness.Keys(t, "p256")
	tree, files := manyFiles(t, 4_000)
	for range rounds {
		manifest := filepath.Join(t.TempDir(), "manifest")
		r := attaching(t, files, nil, signArgs(keys, tree, "--manifest", manifest))
		if r != nil {
			r.signal(t, syscall.SIGINT)
			r.signal(t, syscall.SIGCONT)
			r.end(t, 0)
			if strings.Contains(r.err.String(), "attaching has begun") {
				demand(t, r.err.String(), "interrupt again to undo it", tree+" is finished: everything is attached")
				demand(t, r.out.String(), "4,000 signed")
				harness.Must(t, harness.Program(t), "rootfs", "verify", "--cert", filepath.Join(keys, "x509_ima.crt"), "--manifest", manifest, tree)
				return
			}
		}
		// The program was faster than the signal.
		harness.Must(t, harness.Program(t), "rootfs", "strip", tree)
	}
	t.Fatalf("in none of %d rounds the signal came while attaching", rounds)
}

func TestTwoSignalsWhileAttaching(t *testing.T) {
	harness.Root(t)
	keys, others := harness.Keys(t, "p256"), harness.Keys(t, "rsa2048")
	tree, files := manyFiles(t, 4_000)
	for range rounds {
		// The previous state is restored, with or without signatures.
		harness.Must(t, harness.Program(t), "rootfs", "strip", tree)
		harness.Sign(t, others, tree, "--include", "*[02468]")
		before := values(t, tree)
		if signed := strings.Count(before, securityIMA); signed != 2_000 {
			t.Fatalf("%d files carry something before", signed)
		}
		manifest := filepath.Join(t.TempDir(), "manifest")
		r := attaching(t, files, nil, signArgs(keys, tree, "--force", "--manifest", manifest))
		if r == nil {
			continue
		}
		r.signal(t, syscall.SIGINT)
		r.signal(t, syscall.SIGCONT)
		if r.until(func() bool { return strings.Contains(r.err.String(), "interrupt again") }) {
			r.signal(t, syscall.SIGINT)
		}
		<-r.ended
		if r.ProcessState.ExitCode() == 0 { // it was faster: then everything must be attached, and the message must state it
			demand(t, r.err.String(), "everything is attached")
			harness.Must(t, harness.Program(t), "rootfs", "verify", "--cert", filepath.Join(keys, "x509_ima.crt"), tree)
			continue
		}
		r.end(t, 1)
		demand(t, r.err.String(), "interrupted", "the tree was restored: nothing is attached")
		if values(t, tree) != before {
			t.Error("the tree's xattrs are not what they were")
		}
		if _, err := os.Stat(manifest); err == nil {
			t.Error("there is a manifest of what was undone")
		}
		return
	}
	t.Fatalf("in none of %d rounds the second signal came in time", rounds)
}

// TestSignalWithoutAReader tests Ctrl-C in `imasign-build … 2>&1 | tee log`: tee has ended
// when the program writes its message.
func TestSignalWithoutAReader(t *testing.T) {
	harness.Root(t)
	keys := harness.Keys(t, "p256")
	tree, files := manyFiles(t, 4_000)
	for range rounds {
		reader, writer, err := os.Pipe()
		check(t, err)
		r := attaching(t, files, func(cmd *exec.Cmd) { cmd.Stdout, cmd.Stderr = writer, writer }, signArgs(keys, tree))
		check(t, writer.Close())
		check(t, reader.Close())
		if r != nil {
			r.signal(t, syscall.SIGINT)
			r.signal(t, syscall.SIGCONT)
			r.end(t, 1) // nobody read the result
			harness.Must(t, harness.Program(t), "rootfs", "verify", "--cert", filepath.Join(keys, "x509_ima.crt"), tree)
			return
		}
		harness.Must(t, harness.Program(t), "rootfs", "strip", tree)
	}
	t.Fatalf("in none of %d rounds the signal came while attaching", rounds)
}

// TestNohup checks that SIGHUP stays ignored if the caller ignored it.
func TestNohup(t *testing.T) {
	keys, tree := harness.Keys(t, "p256"), t.TempDir()
	huge := endless(t, tree)
	for _, nohup := range []bool{true, false} {
		r := start(t, func(cmd *exec.Cmd) {
			if nohup {
				cmd.Path, cmd.Args = harness.Tool(t, "nohup"), append([]string{"nohup"}, cmd.Args...)
			}
		}, signArgs(keys, tree, "--dry-run")...)
		r.planning(t, huge)
		if ignored := r.ignores(t, syscall.SIGHUP); ignored != nohup {
			t.Errorf("nohup %v, SIGHUP ignored: %v", nohup, ignored)
		}
		r.signal(t, syscall.SIGTERM)
		r.end(t, 1)
	}
}

func (r *running) ignores(t *testing.T, s syscall.Signal) bool {
	t.Helper()
	status, err := os.ReadFile(r.proc("status"))
	check(t, err)
	mask, err := strconv.ParseUint(regexp.MustCompile(`SigIgn:\s+(\w+)`).FindStringSubmatch(string(status))[1], 16, 64)
	check(t, err)
	return mask>>(s-1)&1 == 1
}
