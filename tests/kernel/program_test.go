package kernel

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/tests/harness"
)

// simulate compares the verdicts of policy simulate with the results of the steps that depend
// only on the disk. EVM is off, and fs-verity is not enabled yet.
func (b *bench) simulate(fs, policy string) {
	b.t.Helper()
	file := filepath.Join(b.t.TempDir(), "policy")
	write(b.t, file, policy)
	args := []string{"policy", "simulate", file, "--rootfs", b.dir, "--fs", fs, "--kernel", b.kernel.release, "--kernel-config", b.kernel.config(), "--json"}
	for _, s := range b.signers {
		args = append(args, "--cert", s.set.file("crt"))
	}
	r := harness.Run(b.t, harness.Program(b.t), args...)
	if r.Code != 3 {
		b.t.Fatalf("policy simulate: exit %d:\n%s", r.Code, r.Err)
	}
	var report simulated
	check(b.t, json.Unmarshal([]byte(r.Out), &report))
	refused := map[string]bool{}
	for _, f := range report.Refused {
		if !f.Certain && !strings.Contains(f.Path, "verity") {
			b.t.Errorf("policy simulate is not certain of %s", f.Path)
		}
		refused[f.Func+" /"+f.Path] = true
	}
	funcs, compared := map[string]string{"exec": "BPRM_CHECK", "module": "MODULE_CHECK", "firmware": "FIRMWARE_CHECK"}, 0
	for _, s := range b.steps {
		word, _, _ := strings.Cut(s.do, "\t")
		path := strings.TrimPrefix(strings.TrimSuffix(s.path(), "\tstay"), "/mnt")
		if funcs[word] == "" || slices.ContainsFunc([]string{"/evm", "/verity", "/sticky", "verity"}, func(part string) bool { return strings.Contains(path, part) }) {
			continue
		}
		if said := refused[funcs[word]+" "+path]; said != (s.after != "ok") {
			b.t.Errorf("policy simulate, %s: refused is %v, the kernel said %s", s.do, said, s.after)
		}
		compared++
	}
	b.t.Logf("policy simulate agrees on %d files", compared)
}

// protects checks that the program does not make the signatures that the kernel takes for
// those of other files, and does not accept them.
func (b *bench) protects() {
	b.t.Helper()
	if len(b.forged) == 0 {
		return
	}
	const why = "could also be used as the signature of another file"
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
