package kernel

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/tests/harness"
)

// simulate compares the verdicts of policy simulate, and their causes, with the results of the
// steps that depend only on the disk: first without EVM, then with EVM in each of the modes.
func (b *bench) simulate(fs, policy string) {
	b.t.Helper()
	compared := b.compare(fs, policy, func(path string) bool { return !strings.HasPrefix(path, "/evm-") })
	for _, mode := range modes {
		if b.kernel.release == "6.12" { // the disk has no such files
			break
		}
		var flags []string
		for _, s := range b.signers {
			flags = append(flags, "--evm-cert", s.set.file("crt"))
		}
		if mode != modes[0] {
			flags = append(flags, "--evm-v3")
		}
		compared += b.compare(fs, policy, func(path string) bool { return strings.HasPrefix(path, "/evm-"+mode+"/") }, append(flags, "--evm-target", "64le")...)
	}
	b.t.Logf("policy simulate agrees on %d files", compared)
}

// elsewhere are files whose verdict depends on more than the disk: on whether, and how,
// fs-verity is enabled.
var elsewhere = []string{"/verity/disabled", "/verity/otherhash"}

// compare runs policy simulate once, and compares the files of a part of the disk. It returns
// their number. Under a rule that another rule's demand stays with, the verdict depends on what
// happened before.
func (b *bench) compare(fs, policy string, part func(path string) bool, flags ...string) (compared int) {
	b.t.Helper()
	said := b.simulated(fs, policy, flags...)
	funcs := map[string]string{"exec": "BPRM_CHECK", "module": "MODULE_CHECK", "firmware": "FIRMWARE_CHECK"}
	for _, s := range b.steps {
		word, _, _ := strings.Cut(s.do, "\t")
		path := strings.TrimPrefix(strings.TrimSuffix(s.path(), "\tstay"), "/mnt")
		if funcs[word] == "" || !part(path) || slices.Contains(elsewhere, path) {
			continue
		}
		f, refused := said[funcs[word]+" "+path]
		depends := strings.HasPrefix(path, "/sticky/") && refused
		switch {
		case refused != (s.after != "ok") && !depends:
			b.t.Errorf("policy simulate, %s: refused is %v, the kernel said %s", s.do, refused, s.after)
		case s.cause != "" && f.Cause != s.cause:
			b.t.Errorf("policy simulate, %s: the cause is %q, the kernel said %s", s.do, f.Cause, s.cause)
		case refused && f.Certain == depends:
			b.t.Errorf("policy simulate, %s: certain is %v", s.do, f.Certain)
		}
		compared++
	}
	return compared
}

// simulated returns the refusals of policy simulate, by func and path.
func (b *bench) simulated(fs, policy string, flags ...string) map[string]simulatedFile {
	b.t.Helper()
	file := filepath.Join(b.t.TempDir(), "policy")
	write(b.t, file, policy)
	args := append([]string{"policy", "simulate", file, "--rootfs", b.dir, "--fs", fs, "--kernel", b.kernel.release, "--kernel-config", b.kernel.config(), "--json"}, flags...)
	for _, s := range b.signers {
		args = append(args, "--cert", s.set.file("crt"))
	}
	r := harness.Run(b.t, harness.Program(b.t), args...)
	if r.Code != 3 {
		b.t.Fatalf("policy simulate: exit %d:\n%s", r.Code, r.Err)
	}
	var report simulated
	check(b.t, json.Unmarshal([]byte(r.Out), &report))
	said := map[string]simulatedFile{}
	for _, f := range report.Refused {
		said[f.Func+" /"+f.Path] = f
	}
	return said
}

// protects checks that the program does not make the signatures that the kernel takes for
// those of other files, and does not accept them.
func (b *bench) protects() {
	b.t.Helper()
	if len(b.forged) == 0 {
		return
	}
	const why = "could pass for the signature of another file"
	for _, path := range b.ambiguous {
		dir := b.t.TempDir()
		copyTo(b.t, filepath.Join(b.dir, path), filepath.Join(dir, "content"))
		r := harness.Run(b.t, harness.Program(b.t), "rootfs", "sign", "--key", string(b.signer("rsa2048").set), "--signature", "v2", dir)
		if r.Code != 1 || !strings.Contains(r.Err, "content: not signed") || !strings.Contains(r.Err, why) {
			b.t.Errorf("rootfs sign, %s: exit %d: %s", path, r.Code, r.Err)
		}
	}
	args := []string{"rootfs", "verify", "--json"}
	for _, s := range b.signers {
		args = append(args, "--cert", s.set.file("crt"))
	}
	both := harness.Run(b.t, harness.Program(b.t), append(args, "--evm-cert", b.signer("rsa2048").set.file("crt"), b.dir)...)
	if both.Code != 1 || !strings.Contains(both.Err, "one key for both xattrs") {
		b.t.Errorf("rootfs verify with one key for both: exit %d: %s", both.Code, both.Err)
	}
	r := harness.Run(b.t, harness.Program(b.t), append(args, b.dir)...)
	var report struct {
		Entries []struct{ Path, Status, Reason, Detail string }
	}
	check(b.t, json.Unmarshal([]byte(r.Out), &report))
	bad := map[string]string{}
	for _, e := range report.Entries {
		if e.Status == "bad" {
			bad[e.Path] = e.Reason + ": " + e.Detail
		}
	}
	for _, path := range b.ambiguous {
		if !strings.Contains(bad[path], why) {
			b.t.Errorf("rootfs verify, %s: %q", path, bad[path])
		}
	}
	for _, path := range b.forged {
		if bad[path] == "" {
			b.t.Errorf("rootfs verify accepts %s", path)
		}
	}
}
