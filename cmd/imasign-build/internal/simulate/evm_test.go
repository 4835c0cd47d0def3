package simulate

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/tests/harness"
)

// protect signs the metadata of a file in security.evm.
func (d *device) protect(path string) {
	d.t.Helper()
	d.protectAs(path, ima.PortableSignature())
}

func (d *device) protectAs(path string, form ima.Form) {
	d.t.Helper()
	full := filepath.Join(d.dir, path)
	var stat unix.Stat_t
	if err := unix.Stat(full, &stat); err != nil {
		d.t.Fatal(err)
	}
	xattrs := map[string][]byte{}
	for _, name := range ima.EVMXattrs() {
		value := make([]byte, 1024)
		if n, err := unix.Getxattr(full, name, value); err == nil {
			xattrs[name] = value[:n]
		}
	}
	digest, err := ima.EVMDigest(ima.SHA256, ima.EVMMetadata{Portable: true, UID: stat.Uid, GID: stat.Gid, Mode: uint16(stat.Mode)}, xattrs)
	if err != nil {
		d.t.Fatal(err)
	}
	values, err := ima.Sign(d.t.Context(), ima.FromRaw(ima.CryptoSigner(d.key), d.public), d.public, form, ima.SHA256, [][]byte{digest})
	if err != nil {
		d.t.Fatal(err)
	}
	d.setEVM(path, values[0])
}

func (d *device) setEVM(path string, value []byte) {
	d.t.Helper()
	d.set(path, ima.XattrEVM, value)
}

func (d *device) set(path, name string, value []byte) {
	d.t.Helper()
	if err := unix.Setxattr(filepath.Join(d.dir, path), name, value, 0); err != nil {
		d.t.Fatalf("%s: %s: %v", path, name, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestEVM tries one file in each state that a kernel with EVM distinguishes.
func TestEVM(t *testing.T) {
	harness.Root(t)
	const rule = "appraise func=BPRM_CHECK"
	capability := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	portable := func(change func(t *testing.T, d *device)) func(*testing.T, *device) {
		return func(t *testing.T, d *device) {
			d.set("bin/tool", "security.selinux", []byte("system_u:object_r:bin_t:s0\x00"))
			d.protect("bin/tool")
			if change != nil {
				change(t, d)
			}
		}
	}
	version3 := func(_ *testing.T, d *device) { d.protectAs("bin/tool", ima.PortableSignature().V3()) }
	bit3 := Device{EVMVersion3: true}
	const sigv3 = rule + " appraise_type=sigv3\n"
	tool := func(d *device) string { return filepath.Join(d.dir, "bin/tool") }
	for name, c := range map[string]struct {
		ima     string // state of security.ima
		prepare func(*testing.T, *device)
		kernel  Device
		policy  string
		want    string // a part of the reason; with ? in front if it is not certain; "" if the file passes
	}{
		"valid":   {ima: "signed", prepare: portable(nil)},
		"missing": {ima: "signed", want: "no security.evm (missing-HMAC)"},
		"no security.ima": {prepare: func(_ *testing.T, d *device) { d.setEVM("bin/tool", []byte{2}) },
			want: "no security.ima (IMA-signature-required)"},
		"mode": {ima: "signed", prepare: portable(func(t *testing.T, d *device) { must(t, os.Chmod(tool(d), 0o750)) }),
			want: "its mode is 0750, and was 0755 when it was signed (invalid-fail-immutable)"},
		"owner": {ima: "signed", prepare: portable(func(t *testing.T, d *device) { must(t, os.Chown(tool(d), 7, 0)) }),
			want: "its owner is 7:0, and was 0:0 when it was signed (invalid-fail-immutable)"},
		"group": {ima: "signed", prepare: portable(func(t *testing.T, d *device) { must(t, os.Chown(tool(d), 0, 7)) }),
			want: "its owner is 0:7, and was 0:0 when it was signed (invalid-fail-immutable)"},
		"capability": {ima: "signed", prepare: portable(func(_ *testing.T, d *device) { d.set("bin/tool", "security.capability", capability) }),
			want: "it had no security.capability when it was signed (invalid-fail-immutable)"},
		"label": {ima: "signed", prepare: portable(func(_ *testing.T, d *device) { d.set("bin/tool", "security.selinux", []byte("other")) }),
			want: "security.evm: bad signature"},
		"unknown key":                   {ima: "signed", prepare: portable(nil), kernel: Device{EVM: ima.NewKeyring()}, want: "security.evm: unknown key"},
		"digest":                        {ima: "digest", prepare: portable(nil)},
		"digest, Linux 5.14":            {ima: "digest", prepare: portable(nil), kernel: release(5, 14)},
		"digest, Linux 5.13":            {ima: "digest", prepare: portable(nil), kernel: release(5, 13), want: "counts since Linux 5.14"},
		"digest, Linux 5.13, any value": {ima: "digest", prepare: portable(nil), kernel: release(5, 13), policy: rule + "\n"},
		"digest without EVM signature":  {ima: "digest", want: "missing-HMAC"},
		"digest, metadata changed": {ima: "digest", prepare: portable(func(t *testing.T, d *device) { must(t, os.Chmod(tool(d), 0o700)) }),
			want: "its mode is 0700"},
		"HMAC": {ima: "signed", prepare: func(_ *testing.T, d *device) { d.setEVM("bin/tool", append([]byte{2}, make([]byte, 20)...)) },
			want: "?security.evm is an HMAC"},
		"not portable": {ima: "signed", prepare: func(_ *testing.T, d *device) { d.setEVM("bin/tool", []byte{3, 2, 4, 1, 2, 3, 4, 0, 1, 9}) },
			want: "?security.evm is not portable"},
		"version 3": {ima: "signed", prepare: func(_ *testing.T, d *device) { d.setEVM("bin/tool", []byte{5, 3, 4, 1, 2, 3, 4, 0, 1, 9}) },
			kernel: release(7, 0), want: "version 3 signatures in security.evm are verified since Linux 7.1"},
		"damaged":                        {ima: "signed", prepare: func(_ *testing.T, d *device) { d.setEVM("bin/tool", []byte{5, 2}) }, want: "security.evm: truncated"},
		"version 3, Linux 7.1":           {ima: "signed", prepare: version3, kernel: release(7, 1)},
		"version 3, Linux 7.0":           {ima: "signed", prepare: version3, kernel: release(7, 0), want: "since Linux 7.1 (invalid-fail-immutable)"},
		"version 3 demanded":             {ima: "signed", prepare: version3, kernel: bit3},
		"version 2, version 3 demanded":  {ima: "signed", prepare: portable(nil), kernel: bit3, want: "EVM demands version 3 (invalid-HMAC)"},
		"digest under version 2, sigv3":  {ima: "digest", prepare: portable(nil), policy: sigv3},
		"digest under version 2, bit 3":  {ima: "digest", prepare: portable(nil), kernel: bit3, policy: sigv3, want: "(invalid-HMAC)"},
		"digest under version 3, bit 3":  {ima: "digest", prepare: version3, kernel: bit3, policy: sigv3},
		"signature of version 2, sigv3":  {ima: "signed", prepare: version3, policy: sigv3, want: "(IMA-sigv3-required)"},
		"fs-verity demanded of a digest": {ima: "digest", prepare: portable(nil), policy: rule + " digest_type=verity appraise_type=sigv3\n", want: "(invalid-hash)"},
		"no signature at all, bit 3":     {ima: "signed", kernel: bit3, prepare: func(_ *testing.T, d *device) { d.setEVM("bin/tool", []byte{5, 3, 4, 1, 2, 3, 4, 0, 0}) }, want: "(invalid-HMAC)"},
		"no ECDSA":                       {ima: "signed", prepare: portable(nil), kernel: built(t, ""), want: "without ECDSA"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t)
			d.file("bin/tool", "#!/bin/sh\n", 0o755, c.ima)
			if c.prepare != nil {
				c.prepare(t, d)
			}
			if c.kernel.EVM == nil {
				c.kernel.EVM = d.trusted
			}
			if c.policy == "" {
				c.policy = rule + imasig
			}
			result := d.run(c.kernel, c.policy)
			want, depends := strings.CutPrefix(c.want, "?")
			switch {
			case want == "" && len(result.Refused) == 0:
			case want == "" || len(result.Refused) != 1:
				t.Errorf("refused: %+v, want %q", result.Refused, want)
			default:
				r := result.Refused[0]
				if !strings.Contains(r.Reason, want) || r.Certain == depends {
					t.Errorf("%q, certain %v, want %q", r.Reason, r.Certain, c.want)
				}
			}
		})
	}
}

// TestEVMNotes checks what the report says about the device beside single files.
func TestEVMNotes(t *testing.T) {
	harness.Root(t)
	const (
		rule    = "appraise func=BPRM_CHECK"
		changed = "what changes after signing makes a file refused: owners"
		own     = "files that the device makes itself have no security.evm"
		anyOwn  = "under rules without appraise_type, the kernel gives a digest"
		over    = "where an overlayfs is mounted over the tree"
		through = "security.evm cannot be set through overlayfs (EPERM)"
		fix     = "a boot with ima_appraise=fix"
		off     = "security.evm of 1 files is not checked"
	)
	all := []string{changed, own, anyOwn, over, through, fix, off}
	for name, c := range map[string]struct {
		ima    string
		s      Device
		off    bool // EVM is not enabled
		policy string
		want   []string
	}{
		"a signature": {ima: "signed", policy: rule + imasig, want: []string{changed, own, over}},
		"any value":   {ima: "signed", policy: rule + "\n", want: []string{changed, own, anyOwn, over}},
		"a digest":    {ima: "digest", policy: rule + imasig, want: []string{changed, own, over, fix}},
		"overlay":     {ima: "signed", s: Device{FSName: "overlay"}, policy: rule + imasig, want: []string{changed, own, through}},
		"no EVM":      {ima: "signed", off: true, policy: rule + imasig, want: []string{off}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t)
			d.file("bin/tool", "#!/bin/sh\n", 0o755, c.ima)
			d.protect("bin/tool")
			if !c.off {
				c.s.EVM = d.trusted
			}
			result := d.run(c.s, c.policy)
			for _, note := range all {
				said := slices.ContainsFunc(slices.Concat(result.Unknown, result.Limits), func(s string) bool { return strings.HasPrefix(s, note) })
				if said != slices.Contains(c.want, note) {
					t.Errorf("%q is reported: %v\n%q", note, said, result.Unknown)
				}
			}
		})
	}
}

// TestEVMNotesSigV3 checks the note about rules that no kernel up to 6.12 takes.
func TestEVMNotesSigV3(t *testing.T) {
	for name, c := range map[string]struct {
		covered, verity, bit3, want bool
	}{"digest": {covered: true, want: true}, "signature": {}, "fs-verity": {covered: true, verity: true}, "bit 3": {covered: true, bit3: true}} {
		s := simulation{
			Device: Device{EVM: ima.NewKeyring(), EVMVersion3: c.bit3}, subjects: []*subject{{covered: c.covered}},
			rules: []*policy.Rule{{Action: policy.Appraise, AppraiseType: policy.SigV3, Verity: c.verity}},
		}
		said := slices.ContainsFunc(s.limits(), func(s string) bool { return strings.HasPrefix(s, "appraise_type=sigv3 accepts a digest") })
		if said != c.want {
			t.Errorf("%s: the note is reported: %v", name, said)
		}
	}
}

// TestEVMOffRefusesDigests checks that a digest under a signature in security.evm is refused
// where EVM is not enabled.
func TestEVMOffRefusesDigests(t *testing.T) {
	harness.Root(t)
	d := newDevice(t)
	d.file("bin/tool", "#!/bin/sh\n", 0o755, "digest")
	d.protect("bin/tool")
	result := d.run(Device{}, "appraise func=BPRM_CHECK"+imasig)
	if len(result.Refused) != 1 || !result.Wrong() || !strings.Contains(result.Refused[0].Reason, "a digest and no signature (IMA-signature-required)") {
		t.Errorf("%+v", result.Refused)
	}
}
