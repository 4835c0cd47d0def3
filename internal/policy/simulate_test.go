package policy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/ima"
)

// device is a tree with files in every state that counts.
type device struct {
	t       *testing.T
	dir     string
	key     *ecdsa.PrivateKey
	public  *ima.PublicKey
	trusted *ima.Keyring
}

func newDevice(t *testing.T) *device {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ima.BareKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return &device{t: t, dir: t.TempDir(), key: key, public: public, trusted: ima.NewKeyring(public)}
}

// file makes a file with a value in security.ima: "signed", "sha512", "digest",
// "other" (content), or none.
func (d *device) file(path, content string, mode os.FileMode, state string) {
	d.t.Helper()
	full := filepath.Join(d.dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), mode); err != nil {
		d.t.Fatal(err)
	}
	sum, long := sha256.Sum256([]byte(content)), sha512.Sum512([]byte(content))
	var value []byte
	switch state {
	case "signed":
		value = d.sign(ima.SHA256, sum[:])
	case "sha512":
		value = d.sign(ima.SHA512, long[:])
	case "other":
		sum[0] ^= 1
		value = d.sign(ima.SHA256, sum[:])
	case "digest":
		value = ima.DigestValue(ima.SHA256, sum[:])
	default:
		return
	}
	if err := unix.Setxattr(full, ima.XattrIMA, value, 0); err != nil {
		d.t.Fatalf("%s: %v (the test must run as root)", full, err)
	}
}

func (d *device) sign(h ima.HashID, digest []byte) []byte {
	d.t.Helper()
	values, err := ima.Sign(context.Background(), ima.FromRaw(ima.CryptoSigner(d.key), d.public), d.public, ima.ContentSignature(), h, [][]byte{digest})
	if err != nil {
		d.t.Fatal(err)
	}
	return values[0]
}

func (d *device) run(s Simulation, policy string) *Result {
	d.t.Helper()
	tr, err := tree.Open(d.dir, tree.Options{})
	if err != nil {
		d.t.Fatal(err)
	}
	defer tr.Close()
	rules, findings := s.Kernel.Rules(parse(d.t, policy))
	if Refused(findings) {
		d.t.Fatal(findings)
	}
	if s.Keyring == nil {
		s.Keyring = d.trusted
	}
	result, err := s.Run(context.Background(), tr, rules)
	if err != nil {
		d.t.Fatal(err)
	}
	return result
}

// withECDSA sets what the key of a device needs.
func withECDSA(c *Config, value string) *Config {
	c.values["CONFIG_CRYPTO_ECDSA"] = value
	return c
}

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
		s      Simulation
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
		{policy: bprm + " fowner=1000 fsname=ext4" + imasig, s: Simulation{FSName: "ext4"}, want: []string{"bin/unsigned "}},
		{policy: bprm + " fowner=1000 fsmagic=0xef53" + imasig, s: Simulation{FSName: "ext4"}, want: []string{"bin/unsigned "}},
		{policy: bprm + " fowner=1000 fsmagic=0xef53" + imasig, s: Simulation{FSName: "erofs"}},
		{policy: bprm + " fowner=1000 fsmagic=0x9fa0" + imasig},
		{policy: "dont_appraise fsmagic=0x9fa0\n" + bprm + " fowner=1000" + imasig, want: []string{"bin/unsigned "}},
		{policy: bprm + " appraise_algos=sha256 fowner=0" + imasig, want: []string{"bin/digest ", "bin/long denied-hash-algorithm", "bin/other "}},
		{policy: bprm + " fowner=0" + imasig, s: Simulation{Kernel: Kernel{Config: &Config{values: map[string]string{"CONFIG_CRYPTO_SHA256": "y", "CONFIG_CRYPTO_ECDSA": "y"}}}}, want: []string{"bin/digest ", "bin/long built without sha512", "bin/other "}},
		{policy: bprm + " fowner=0" + imasig, s: Simulation{Kernel: Kernel{Config: withECDSA(config(t, "6.1"), "y")}}, want: []string{"bin/digest ", "?bin/long module of the kernel", "bin/other "}},
		{policy: bprm + " fowner=0" + imasig, s: Simulation{Kernel: Kernel{Config: withECDSA(config(t, "6.1"), "m")}},
			want: []string{"bin/digest ", "?bin/long ECDSA is a module", "bin/other ", "?bin/signed ECDSA is a module"}},
		{policy: bprm + " fowner=0" + imasig, s: Simulation{Kernel: Kernel{Config: withECDSA(config(t, "6.1"), "")}},
			want: []string{"bin/digest ", "bin/long without ECDSA", "bin/other ", "bin/signed without ECDSA"}},
		{policy: bprm + " fowner=0" + imasig, s: Simulation{Kernel: Kernel{Version: version(t, "5.12")}},
			want: []string{"bin/digest ", "bin/long since Linux 5.13", "bin/other ", "bin/signed p256 keys are verified since Linux 5.13"}},
		{policy: bprm + " fowner=0" + imasig, s: Simulation{Keyring: ima.NewKeyring()}, want: []string{"bin/digest ", "bin/long unknown key", "bin/other unknown key", "bin/signed unknown key"}},
		{policy: bprm + " fowner=0 digest_type=verity appraise_type=sigv3\n",
			want: []string{"bin/digest verity-signature", "bin/long ", "bin/other ", "bin/signed verity-signature-required"}},

		{policy: "appraise func=MODULE_CHECK" + imasig, want: []string{"lib/modules/6/a.ko ", "lib/modules/6/modsig.ko ", "?lib/modules/6/packed.ko.xz CONFIG_MODULE_COMPRESS_XZ"}},
		{policy: "appraise func=MODULE_CHECK appraise_type=imasig|modsig\n", want: []string{"lib/modules/6/a.ko ", "?lib/modules/6/packed.ko.xz "}},
		{policy: "appraise func=MODULE_CHECK" + imasig, s: Simulation{Kernel: Kernel{Config: config(t, "6.12")}},
			want: []string{"lib/modules/6/a.ko ", "lib/modules/6/modsig.ko ", "lib/modules/6/packed.ko.xz built without CONFIG_MODULE_DECOMPRESS"}},
		{policy: "appraise func=MODULE_CHECK" + imasig, s: Simulation{Kernel: Kernel{Config: withECDSA(changedConfig(t, "+CONFIG_MODULE_SIG_FORCE"), "y")}}, want: []string{"lib/modules/6/a.ko ", "lib/modules/6/modsig.ko "}},
		{policy: "appraise func=MODULE_CHECK" + imasig, s: Simulation{Kernel: Kernel{Version: version(t, "5.15")}},
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
	result := d.run(Simulation{}, "appraise func=BPRM_CHECK"+imasig+"appraise func=MODULE_CHECK"+imasig+"appraise func=SETXATTR_CHECK appraise_algos=sha256\n")
	if len(result.Rules) != 2 || result.Rules[0].Passed != 1 || result.Rules[0].Refused != 1 || result.Rules[1].Possible != 1 {
		t.Errorf("%+v", result.Rules)
	}
	result = d.run(Simulation{}, "appraise uid=7"+imasig)
	if !slices.ContainsFunc(result.Unknown, func(s string) bool { return strings.Contains(s, "line 1 depends on processes") }) {
		t.Errorf("%q", result.Unknown)
	}
}

// TestSimulateFindsWhatALoaderFinds holds the loader and libraries of a real program
// against what ldd says.
func TestSimulateFindsWhatALoaderFinds(t *testing.T) {
	out, err := exec.Command("ldd", "/bin/bash").Output()
	if err != nil {
		t.Fatalf("ldd: %v", err)
	}
	d := newDevice(t)
	copied := []string{"/bin/bash"}
	for _, word := range strings.Fields(string(out)) {
		if strings.HasPrefix(word, "/") {
			copied = append(copied, word)
		}
	}
	if len(copied) < 3 {
		t.Fatalf("ldd said %s", out)
	}
	var want []string
	for _, path := range copied {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if path == "/bin/bash" {
			path = "usr/bin/bash"
		}
		d.file(path, string(content), 0o755, "")
		want = append(want, strings.TrimPrefix(path, "/"))
	}
	for link, target := range map[string]string{"bin": "usr/bin", "sbin": "/bin", "usr/bin/init": "/bin/bash"} {
		if err := os.Symlink(target, filepath.Join(d.dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	d.file("usr/bin/unused", "#!/no/such/interpreter\n", 0o755, "")
	d.file("usr/lib/libunused.so", "\x7fELF", 0o755, "")
	slices.Sort(want)
	program, err := os.Open("/bin/bash")
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if k, err := kindOf(program, &tree.Node{Path: "bin/bash", Mode: 0o755}); err != nil || !slices.Contains(copied, k.interp) {
		t.Errorf("loaded by %q (%v), ldd says %q", k.interp, err, copied)
	}
	result := d.run(Simulation{}, "appraise func=MMAP_CHECK"+imasig)
	var boot []string
	for _, v := range result.Refused {
		if v.Boot {
			boot = append(boot, v.Path)
			if (v.NeededBy == "") != (v.Path == "usr/bin/bash") {
				t.Errorf("%s is needed by %q", v.Path, v.NeededBy)
			}
		}
	}
	if !slices.Equal(boot, want) {
		t.Errorf("to boot: %q, ldd says %q", boot, want)
	}
	if !slices.ContainsFunc(result.Unknown, func(s string) bool { return strings.HasPrefix(s, "/no/such/interpreter") }) {
		t.Errorf("%q", result.Unknown)
	}
}

func TestRunpath(t *testing.T) {
	shared := func(path string) *subject {
		return &subject{node: tree.Node{Path: path, Mode: 0o644}, kind: kind{mapped: true}}
	}
	program := &subject{node: tree.Node{Path: "opt/p/bin/x", Mode: 0o755}, kind: kind{mapped: true, needed: []string{"liba.so"}}}
	own, other := shared("opt/p/lib/liba.so"), shared("usr/lib/liba.so")
	l := newLinker([]*subject{program, own, other})
	for runpath, want := range map[string][]*subject{
		"$ORIGIN/../lib": {own}, "${ORIGIN}/../lib": {own}, "/usr/lib": {other}, "/nowhere": {own, other}, "": {own, other},
	} {
		program.kind.runpath = []string{runpath}
		if got := l.loads(program); !slices.Equal(got, want) {
			t.Errorf("%q: %v", runpath, got)
		}
	}
}

// TestSimulateNoticesAChange holds that a file that is not the one that was walked is
// an error, and no verdict.
func TestSimulateNoticesAChange(t *testing.T) {
	d := newDevice(t)
	d.file("bin/tool", "#!/bin/sh\n", 0o755, "signed")
	tr, err := tree.Open(d.dir, tree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	for node, err := range tr.Walk(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		if node.Path != "bin/tool" {
			continue
		}
		d.file("bin/tool", "#!/bin/sh -x\n", 0o755, "signed")
		err = Simulation{Keyring: d.trusted}.examine(context.Background(), tr, nil, &subject{node: node})
		if !errors.Is(err, tree.ErrChanged) {
			t.Errorf("error %v", err)
		}
	}
}

func TestSimulateStops(t *testing.T) {
	d := newDevice(t)
	d.file("a", "x", 0o755, "signed")
	tr, err := tree.Open(d.dir, tree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := (Simulation{Keyring: d.trusted}).Run(ctx, tr, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// FuzzKind holds that no content makes the look at a file panic.
func FuzzKind(f *testing.F) {
	program, err := os.Open("/bin/true")
	if err != nil {
		f.Fatal(err)
	}
	head := make([]byte, 16<<10)
	n, err := io.ReadFull(program, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		f.Fatal(err)
	}
	f.Add(head[:n])
	f.Add([]byte("#! /bin/sh -e\n"))
	f.Add([]byte("x" + modsigMagic))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := kindOf(file, &tree.Node{Path: "lib/modules/a.ko", Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
	})
}
