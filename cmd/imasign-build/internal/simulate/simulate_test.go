package simulate

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/harness"
)

func TestSimulate(t *testing.T) {
	d := newDevice(t)
	script := "#!/bin/sh\n"
	d.file("bin/signed", script, 0o755, "signed")
	d.file("bin/unsigned", script, 0o755, "")
	d.file("bin/digest", script, 0o755, "digest")
	d.file("bin/other", script, 0o755, "other")
	d.file("bin/long", script, 0o755, "sha512")
	d.file("etc/plain", "text", 0o644, "")
	d.file("lib/modules/6/a.ko", "module", 0o644, "")
	d.file("lib/modules/6/modsig.ko", "module"+modsigMagic, 0o644, "")
	d.file("lib/modules/6/packed.ko.xz", "module", 0o644, "signed")
	d.file("usr/lib/firmware/f.bin", "firmware", 0o644, "")
	d.file("etc/ima/ima-policy", "measure\n", 0o644, "")
	if err := os.Chown(filepath.Join(d.dir, "bin/unsigned"), 1000, 1000); err != nil {
		t.Fatal(err)
	}
	const bprm = "appraise func=BPRM_CHECK"
	for _, c := range []struct {
		policy string
		s      Device
		want   []string // PATH or ?PATH, with a part of the reason
	}{
		{policy: bprm + imasig, want: []string{"bin/digest a digest and no signature", "bin/other bad signature", "bin/unsigned no security.ima (IMA-signature-required)"}},
		{policy: bprm + "\n", want: []string{"bin/other bad signature", "bin/unsigned missing-hash"}},
		{policy: bprm + " fowner=0" + imasig, want: []string{"bin/digest ", "bin/other "}},
		{policy: bprm + " fgroup>0" + imasig, want: []string{"bin/unsigned "}},
		{policy: bprm + " euid=0 fowner=1000" + imasig, want: []string{"bin/unsigned "}},
		{policy: bprm + " uid=5" + imasig},
		{policy: "appraise func=CREDS_CHECK fowner=1000" + imasig, want: []string{"bin/unsigned "}},
		{policy: bprm + " mask=MAY_READ" + imasig},
		{policy: "dont_appraise fowner=1000\n" + bprm + imasig, want: []string{"bin/digest ", "bin/other "}},
		{policy: "dont_appraise obj_type=x\n" + bprm + " fowner=1000" + imasig, want: []string{"?bin/unsigned "}},
		{policy: bprm + " fowner=1000 obj_type=x" + imasig, want: []string{"?bin/unsigned "}},
		{policy: bprm + " fowner=1000 fsuuid=8bcbe394-4f13-4144-be8e-5aa9ea2ce2f6" + imasig, want: []string{"?bin/unsigned "}},
		{policy: bprm + " fowner=1000 fsname=ext4" + imasig, want: []string{"?bin/unsigned "}},
		{policy: bprm + " fowner=1000 fsname=ext4" + imasig, s: Device{FSName: "ext4"}, want: []string{"bin/unsigned "}},
		{policy: bprm + " fowner=1000 fsmagic=0xef53" + imasig, s: Device{FSName: "ext4"}, want: []string{"bin/unsigned "}},
		{policy: bprm + " fowner=1000 fsmagic=0xef53" + imasig, s: Device{FSName: "erofs"}},
		{policy: bprm + " fowner=1000 fsmagic=0x9fa0" + imasig},
		{policy: "dont_appraise fsmagic=0x9fa0\n" + bprm + " fowner=1000" + imasig, want: []string{"bin/unsigned "}},
		{policy: bprm + " appraise_algos=sha256 fowner=0" + imasig, want: []string{"bin/digest ", "bin/long denied-hash-algorithm", "bin/other "}},
		{policy: bprm + " fowner=0" + imasig, s: built(t, "CONFIG_CRYPTO_SHA512=n\nCONFIG_CRYPTO_ECDSA=y\n"), want: []string{"bin/digest ", "bin/long built without sha512", "bin/other "}},
		{policy: bprm + " fowner=0" + imasig, s: built(t, "CONFIG_CRYPTO_ECDSA=y\n"), want: []string{"bin/digest ", "?bin/long module of the kernel", "bin/other "}},
		{policy: bprm + " fowner=0" + imasig, s: built(t, "CONFIG_CRYPTO_ECDSA=m\n"),
			want: []string{"bin/digest ", "?bin/long ECDSA is a module", "bin/other ", "?bin/signed ECDSA is a module"}},
		{policy: bprm + " fowner=0" + imasig, s: built(t, ""),
			want: []string{"bin/digest ", "bin/long without ECDSA", "bin/other ", "bin/signed without ECDSA"}},
		{policy: bprm + " fowner=0" + imasig, s: release(5, 12),
			want: []string{"bin/digest ", "bin/long since Linux 5.13", "bin/other ", "bin/signed p256 keys are verified since Linux 5.13"}},
		{policy: bprm + " fowner=0" + imasig, s: Device{Trusted: ima.NewKeyring()}, want: []string{"bin/digest ", "bin/long unknown key", "bin/other unknown key", "bin/signed unknown key"}},
		{policy: bprm + " fowner=0 digest_type=verity appraise_type=sigv3\n",
			want: []string{"bin/digest verity-signature", "bin/long ", "bin/other ", "bin/signed verity-signature-required"}},

		{policy: "appraise func=MODULE_CHECK" + imasig, want: []string{"lib/modules/6/a.ko ", "lib/modules/6/modsig.ko ", "?lib/modules/6/packed.ko.xz CONFIG_MODULE_COMPRESS_XZ"}},
		{policy: "appraise func=MODULE_CHECK appraise_type=imasig|modsig\n", want: []string{"lib/modules/6/a.ko ", "?lib/modules/6/packed.ko.xz "}},
		{policy: "appraise func=MODULE_CHECK" + imasig, s: built(t, ""),
			want: []string{"lib/modules/6/a.ko ", "lib/modules/6/modsig.ko ", "lib/modules/6/packed.ko.xz built without CONFIG_MODULE_DECOMPRESS"}},
		{policy: "appraise func=MODULE_CHECK" + imasig, s: built(t, "CONFIG_MODULE_SIG_FORCE=y\nCONFIG_CRYPTO_ECDSA=y\n"), want: []string{"lib/modules/6/a.ko ", "lib/modules/6/modsig.ko "}},
		{policy: "appraise func=MODULE_CHECK" + imasig, s: release(5, 15),
			want: []string{"lib/modules/6/a.ko ", "lib/modules/6/modsig.ko ", "lib/modules/6/packed.ko.xz since Linux 5.17"}},
		{policy: "appraise func=FIRMWARE_CHECK" + imasig, want: []string{"usr/lib/firmware/f.bin "}},
		{policy: "appraise func=POLICY_CHECK" + imasig, want: []string{"etc/ima/ima-policy "}},
		{policy: "appraise func=FILE_CHECK mask=MAY_READ fowner=1000" + imasig, want: []string{"bin/unsigned "}},
		{policy: "measure\naudit\n"},
	} {
		result := d.run(c.s, c.policy)
		var got []string
		for _, v := range result.Refused {
			name := v.Path + " " + v.Reason
			if !v.Certain {
				name = "?" + name
			}
			got = append(got, name)
		}
		same := slices.EqualFunc(got, c.want, func(g, w string) bool {
			path, reason, _ := strings.Cut(w, " ")
			return strings.HasPrefix(g, path+" ") && strings.Contains(g, reason)
		})
		if !same {
			t.Errorf("%q:\n got %q\nwant %q", c.policy, got, c.want)
		}
		certain := slices.ContainsFunc(c.want, func(w string) bool { return w[0] != '?' })
		if result.Wrong() != certain {
			t.Errorf("%q: wrong is %v", c.policy, result.Wrong())
		}
	}
}

func TestSimulateTally(t *testing.T) {
	d := newDevice(t)
	d.file("bin/signed", "#!x\n", 0o755, "signed")
	d.file("bin/unsigned", "#!x\n", 0o755, "")
	d.file("lib/modules/6/packed.ko.gz", "module", 0o644, "signed")
	result := d.run(Device{}, "appraise func=BPRM_CHECK"+imasig+"appraise func=MODULE_CHECK"+imasig+"appraise func=SETXATTR_CHECK appraise_algos=sha256\n")
	if len(result.Rules) != 2 || result.Rules[0].Passed != 1 || result.Rules[0].Refused != 1 || result.Rules[1].Possible != 1 {
		t.Errorf("%+v", result.Rules)
	}
	result = d.run(Device{}, "appraise uid=7"+imasig)
	if !slices.ContainsFunc(result.Unknown, func(s string) bool { return strings.Contains(s, "line 1 depends on processes") }) {
		t.Errorf("%q", result.Unknown)
	}
}

// TestSimulateNoticesAChange checks that a file that was replaced since the walk is an
// error and gets no verdict.
func TestSimulateNoticesAChange(t *testing.T) {
	d := newDevice(t)
	d.file("bin/tool", "#!/bin/sh\n", 0o755, "signed")
	s := &simulation{Device: Device{Trusted: d.trusted}, tree: OfDirectory(d.open())}
	if err := s.list(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.file("bin/tool", "#!/bin/sh -x\n", 0o755, "signed")
	if err := s.judgeAll(t.Context(), engine(t)); !errors.Is(err, tree.ErrChanged) || !strings.Contains(err.Error(), filepath.Join(d.dir, "bin/tool")) {
		t.Errorf("error %v", err)
	}
}

func TestSimulateStops(t *testing.T) {
	d := newDevice(t)
	d.file("a", "x", 0o755, "signed")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Device{Trusted: d.trusted}).Run(ctx, engine(t), OfDirectory(d.open()), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestOnlyWhatARuleIsAboutIsDigested checks that the engine reads each file once, and no
// file that no rule covers.
func TestOnlyWhatARuleIsAboutIsDigested(t *testing.T) {
	d := newDevice(t)
	d.file("bin/a", "#!/bin/a\n", 0o755, "signed")
	d.file("bin/unsigned", "#!/bin/unsigned\n", 0o755, "")
	d.file("etc/b", strings.Repeat("b", 1000), 0o644, "signed")
	var digested int64
	e, err := signing.New(signing.Options{Observe: signing.NewObserver(func(e signing.Event) { digested += e.Bytes })})
	if err != nil {
		t.Fatal(err)
	}
	rules, _ := policy.Target{}.Rules(parse(t, "appraise func=BPRM_CHECK"+imasig+"appraise func=FILE_CHECK mask=MAY_EXEC"+imasig))
	result, err := Device{Trusted: d.trusted}.Run(t.Context(), e, OfDirectory(d.open()), rules)
	if err != nil || len(result.Refused) != 2 || result.Files != 3 {
		t.Errorf("%+v, %v", result, err)
	}
	if digested != int64(len("#!/bin/a\n")) {
		t.Errorf("%d bytes were digested", digested)
	}
}

// TestValues checks the reports about values that are not signatures of a file's content.
func TestValues(t *testing.T) {
	harness.Root(t)
	d := newDevice(t)
	for name, value := range map[string][]byte{
		"damaged": {3, 2, 4}, "unknown": {9, 9}, "sm3": ima.DigestValue(ima.SM3, make([]byte, 32)), "changed": ima.DigestValue(ima.SHA256, make([]byte, 32)), "evm": append([]byte{2}, make([]byte, 20)...),
	} {
		d.file("bin/"+name, "#!/bin/sh\n", 0o755, "")
		if err := unix.Setxattr(filepath.Join(d.dir, "bin", name), ima.XattrIMA, value, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Setxattr(filepath.Join(d.dir, "bin/evm"), ima.XattrEVM, []byte{2}, 0); err != nil {
		t.Fatal(err)
	}
	var result *Result
	for options, want := range map[string]map[string]string{
		imasig: {
			"damaged": "truncated", "unknown": "unknown type", "sm3": "IMA-signature-required", "changed": "IMA-signature-required", "evm": "evm value",
		},
		"\n": {
			"damaged": "invalid-signature", "unknown": "unknown-ima-data", "sm3": "its sm3 digest cannot be computed here", "changed": "digest mismatch", "evm": "unknown-ima-data",
		},
	} {
		result = d.run(Device{}, "appraise func=BPRM_CHECK"+options)
		for _, r := range result.Refused {
			name := strings.TrimPrefix(r.Path, "bin/")
			if want[name] == "" || !strings.Contains(r.Reason, want[name]) || r.Certain == (name == "sm3" && options != imasig) {
				t.Errorf("%+v, want %s", r, want[name])
			}
		}
		if len(result.Refused) != len(want) {
			t.Errorf("%+v", result.Refused)
		}
	}
	if !slices.ContainsFunc(result.Unknown, func(s string) bool { return strings.HasPrefix(s, "security.evm of 1 files is not checked") }) {
		t.Errorf("%q", result.Unknown)
	}
}
