package kernel

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// step is an action of guest, with the expected results.
type step struct {
	do     string // the action and its arguments, separated by tabs
	before string // result without a policy; "" for not to be tried
	after  string // result with the policy
	cause  string // in the kernel's record, if after is the refusal of a file
	image  bool   // the result depends only on the image
}

// path returns the file that a step uses. Firmware is named relative to its directory.
func (s step) path() string {
	words := strings.Split(s.do, "\t")
	if words[0] == "firmware" {
		return "/lib/firmware/" + words[1]
	}
	return words[len(words)-1]
}

// causes are the causes of refusals, as ima_appraise_measurement reports them, by variant.
var causes = map[string]string{
	"unsigned": "IMA-signature-required", "hashonly": "IMA-signature-required",
	"tampered": "invalid-signature", "otherkey": "invalid-signature", "sigbit": "invalid-signature",
}

// files returns the steps that depend only on the image, on any kernel: each program,
// script, library and module, signed or not.
func files(k kernel) []step {
	var list []step
	add := func(refused, cause string, words ...string) {
		list = append(list, step{strings.Join(words, "\t"), "ok", cmp.Or(refused, "ok"), cause, true})
	}
	for _, a := range algorithms {
		if k.release == "6.1" && a.key[0] == 'p' { // Debian's has no CONFIG_CRYPTO_ECDSA
			add("EACCES", "invalid-signature", "exec", "/usr/bin/"+a.key+"-"+a.hash)
		} else {
			add("", "", "exec", "/usr/bin/"+a.key+"-"+a.hash)
		}
	}
	for _, v := range variants {
		refused, cause := "EACCES", causes[v]
		if cause == "" {
			refused = ""
		}
		add(refused, cause, "exec", "/usr/bin/"+v)
		add(refused, cause, "exec", "/usr/bin/"+v+".sh")
		add(refused, cause, "mmap", "/usr/lib/"+v+".so")
		add(refused, cause, "module", "/lib/modules/test/"+v+"/"+filepath.Base(k.module))
	}
	return list
}

// firmwares are the firmware files that the test module of the built kernel requests.
func firmwares() []step {
	list := []step{{"module\t/lib/modules/test/signed/test_firmware.ko\tstay", "ok", "ok", "", false}}
	for _, v := range variants {
		s := step{"firmware\t" + v + ".bin", "ok", "ok", causes[v], true}
		if s.cause != "" {
			s.after = "EACCES"
		}
		list = append(list, s)
	}
	return append(list, step{"rmmod\ttest_firmware", "ok", "ok", "", false})
}

// device returns the steps that use other files than those of the image, or depend on
// more than the image.
func device(k kernel) []step {
	return []step{
		// Without a file there is nothing to appraise.
		{"init_module\t/lib/modules/test/signed/" + filepath.Base(k.module), "ok", "EACCES", "", false},
		// A script that is passed to an interpreter is data.
		{"exec\t/bin/sh\t/usr/bin/unsigned.sh", "ok", "ok", "", false},
		// New files have no signature, also on the tmpfs of the initramfs.
		{"copy\t/usr/bin/signed\t/run/copy", "ok", "ok", "", false},
		{"exec\t/run/copy", "ok", "EACCES", "IMA-signature-required", false},
		{"mmap\t/run/copy", "ok", "EACCES", "IMA-signature-required", false},
		// On a file system without xattrs nothing is recorded.
		{"sh\tmount -t ramfs ramfs /tmp", "ok", "ok", "", false},
		{"copy\t/usr/bin/signed\t/tmp/copy", "ok", "ok", "", false},
		{"exec\t/tmp/copy", "ok", "EACCES", "", false},
	}
}

// policies returns steps for the policy's POLICY_CHECK rule: the kernel loads only signed
// files, by their path, which begins with prefix. known says whether policy simulate
// recognises the path as that of a policy.
func policies(prefix string, known bool) []step {
	list := []step{{"policy\t" + prefix + "signed", "", "EACCES", "", false}}
	for _, v := range variants {
		s := step{"policy-path\t" + prefix + v, "", "ok", causes[v], known}
		if s.cause != "" {
			s.after = "EACCES"
		}
		list = append(list, s)
	}
	return list
}

// phase is a phase of a plan.
type phase string

const (
	before phase = "before" // the policy
	after  phase = "after"
)

// of returns the steps that belong to the phase.
func (p phase) of(steps []step) []step {
	if p == after {
		return steps
	}
	return slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return s.before == "" })
}

// want returns the expected result of a step in the phase.
func (p phase) want(s step) string {
	if p == after {
		return s.after
	}
	return s.before
}

// plan writes the plan for guest. If load names a policy on the device, guest takes the
// steps without a policy, loads it, and takes them again. If load is empty, it takes them
// with the policy that the hook has loaded.
func plan(t *testing.T, dir string, steps []step, load string) {
	t.Helper()
	var text strings.Builder
	if load != "" {
		fmt.Fprintln(&text, "phase\tbefore")
		for _, s := range before.of(steps) {
			fmt.Fprintln(&text, s.do)
		}
		fmt.Fprintln(&text, "phase\tload\npolicy\t"+load)
	}
	fmt.Fprintln(&text, "phase\tafter")
	for _, s := range steps {
		fmt.Fprintln(&text, s.do)
	}
	write(t, filepath.Join(dir, "plan"), text.String())
}

// compare compares guest's report and the kernel's records with the steps.
func (c *console) compare(t *testing.T, steps []step, phases ...phase) {
	t.Helper()
	for _, p := range phases {
		for i, s := range p.of(steps) {
			if got := c.outcome(p, i); got != p.want(s) {
				t.Errorf("%s the policy, %s: %s, want %s", p, s.do, got, p.want(s))
			}
		}
	}
	for _, s := range steps {
		r := refusal{s.cause, s.path()}
		if s.cause != "" && !slices.Contains(c.refusals, r) {
			t.Errorf("the kernel recorded no %s of %s", r.cause, r.path)
		}
	}
	// No other file may be refused.
	for _, r := range c.refusals {
		if !slices.ContainsFunc(steps, func(s step) bool { return s.cause == r.cause && s.path() == r.path }) {
			t.Errorf("the kernel refused %s: %s", r.path, r.cause)
		}
	}
}

func (c *console) outcome(p phase, i int) string {
	if i >= len(c.results[string(p)]) {
		return "nothing"
	}
	return c.results[string(p)][i]
}

// simulated is the part of the report of `policy simulate --json` that is compared.
type simulated struct{ Refused []simulatedFile }

type simulatedFile struct {
	Path    string
	Func    string
	Cause   string
	Certain bool
}

// needsModule matches programs whose digest algorithm is a module of Debian's kernel. It
// is not known beforehand whether that module is loaded.
var needsModule = regexp.MustCompile("sha(384|512)$")

// predicted runs policy simulate on the tree and compares its verdicts with the results
// of the steps that depend only on the tree.
func (c *console) predicted(t *testing.T, k kernel, policy, dir, fs string, steps []step, trusted ...string) {
	t.Helper()
	c.predictedWith(t, k, policy, dir, fs, steps, nil, trusted...)
}

// predictedWith is predicted with further flags of policy simulate.
func (c *console) predictedWith(t *testing.T, k kernel, policy, dir, fs string, steps []step, further []string, trusted ...string) {
	t.Helper()
	args := append([]string{"policy", "simulate", policy, "--rootfs", dir, "--fs", fs, "--kernel", k.release, "--kernel-config", k.config(), "--json"}, further...)
	for _, certificate := range trusted {
		args = append(args, "--cert", certificate)
	}
	r := harness.Run(t, harness.Program(t), args...)
	if r.Code != 3 {
		t.Fatalf("policy simulate: exit %d:\n%s", r.Code, r.Err)
	}
	c.agrees(t, k, r.Out, steps)
}

// agrees compares a report of policy simulate with the results of the steps that depend only
// on the tree.
func (c *console) agrees(t *testing.T, k kernel, text string, steps []step) {
	t.Helper()
	var report simulated
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		t.Fatalf("policy simulate: %v\n%s", err, text)
	}
	funcs := map[string]string{"exec": "BPRM_CHECK", "mmap": "MMAP_CHECK", "module": "MODULE_CHECK", "firmware": "FIRMWARE_CHECK", "policy-path": "POLICY_CHECK"}
	said, depends := map[string]bool{}, map[string]bool{}
	for _, f := range report.Refused {
		question := f.Func + " /" + f.Path
		said[question], depends[question] = true, !f.Certain
		unsure := k.release == "6.1" && needsModule.MatchString(f.Path) || strings.HasSuffix(f.Path, "/evm-bound") || strings.HasSuffix(f.Path, "/verity")
		if !f.Certain && !unsure {
			t.Errorf("policy simulate is not certain of %s", f.Path)
		}
	}
	compared := 0
	for i, s := range steps {
		if !s.image {
			continue
		}
		word, _, _ := strings.Cut(s.do, "\t")
		question := funcs[word] + " " + s.path()
		if got := c.outcome(after, i); said[question] != (got != "ok") && !depends[question] {
			t.Errorf("policy simulate, %s: refused is %v, the kernel said %s", question, said[question], got)
		}
		compared++
	}
	t.Logf("policy simulate agrees on %d files", compared)
}

// bundle makes an initramfs with `initramfs bundle`, and adds keyctl and the files in
// extra.
func bundle(t *testing.T, extra string, flags ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "bundle.cpio.gz")
	args := append([]string{"initramfs", "bundle", "-o", out, "--switch-root", "/sbin/switch_root", "--busybox", harness.Tool(t, "busybox")}, flags...)
	harness.Must(t, harness.Program(t), args...)
	libraries(t, harness.Tool(t, "keyctl"), extra)
	return joined(t, out, cpio(t, extra))
}

// trusted returns the certificates of the named keys.
func trusted(t *testing.T, names ...string) []string {
	t.Helper()
	var list []string
	for _, name := range names {
		list = append(list, keys(t)[name].file("crt"))
	}
	return list
}

func flags(flag string, values []string) []string {
	var list []string
	for _, value := range values {
		list = append(list, flag, value)
	}
	return list
}

func image(t *testing.T, kind, dir string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "image")
	makers[kind](t, dir, out)
	return out
}

// defaultPolicy writes the policy of `policy generate`, which is also the one of the
// bundle.
func defaultPolicy(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "policy")
	harness.Must(t, harness.Program(t), "policy", "generate", "-o", out)
	return out
}
