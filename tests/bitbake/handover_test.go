package bitbake

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// olderClass contains the commands by which meta-integrity's ima-evm-rootfs.bbclass
// (meta-security) signs and verifies a root file system, with $KEY for IMA_EVM_PRIVKEY and
// $CERT for IMA_EVM_X509.
var olderClass = map[string]struct {
	keys  []string // options of `openssl req` in its ima-gen-CA-signed.sh
	signs string
	evm   bool // it sets security.evm, too
	sha1  bool // its security.ima values use SHA-1
}{
	// Branches scarthgap to wrynose, with IMA_EVM_IMA_XATTR_OPT = "--imasig".
	"imasig and EVM": {
		[]string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"},
		`evmctl sign --imasig --portable -a sha256 --key "$KEY" -r "$PWD/rootfs"
evmctl ima_verify --key "$CERT" rootfs/lib/libc.so.6
evmctl verify --key "$CERT" rootfs/lib/libc.so.6`,
		true, false,
	},
	// Branches dunfell to kirkstone, with their default find expression. Their evmctl was
	// patched to take more than one file; -n 1 stands for that here. Its default digest was
	// SHA-1.
	"find and xargs": {
		[]string{"-newkey", "rsa:2048"},
		`cd rootfs; find . -type f | xargs -d "\n" --no-run-if-empty --verbose -n 1 evmctl ima_sign -a sha1 --key "$KEY"`,
		false, true,
	},
}

// olderKeys makes a CA, privkey_ima.pem and x509_ima.der like the scripts of
// meta-integrity, with the same extensions.
func olderKeys(t *testing.T, dir string, kind []string) {
	t.Helper()
	in := func(name string) string { return filepath.Join(dir, name) }
	write(t, in("genkey"), `[ req ]
distinguished_name = name
prompt = no
[ name ]
O = example.com
CN = signing key
[ ca ]
basicConstraints=CA:TRUE
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid:always,issuer
keyUsage = cRLSign, keyCertSign
[ usr ]
basicConstraints=critical,CA:FALSE
keyUsage=digitalSignature
extendedKeyUsage=critical,codeSigning
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
`)
	ssl := func(args ...string) { harness.Must(t, harness.Tool(t, "openssl"), args...) }
	req := []string{"req", "-new", "-nodes", "-utf8", "-sha256", "-batch", "-config", in("genkey")}
	ssl(append(append(req, "-x509", "-days", "36500", "-extensions", "ca", "-out", in("ima-local-ca.pem"), "-keyout", in("ima-local-ca.priv")), kind...)...)
	ssl(append(append(req, "-out", in("csr_ima.pem"), "-keyout", in("privkey_ima.pem")), kind...)...)
	ssl("x509", "-req", "-in", in("csr_ima.pem"), "-days", "36500", "-extfile", in("genkey"), "-extensions", "usr",
		"-CA", in("ima-local-ca.pem"), "-CAkey", in("ima-local-ca.priv"), "-CAcreateserial", "-outform", "DER", "-out", in("x509_ima.der"))
}

// oldTree makes a root file system under pseudo, which both sign. The class demands that
// it contain a C library.
const oldTree = `rm -rf rootfs; mkdir -p rootfs/lib rootfs/usr/bin rootfs/etc/ima
cp -L /lib/x86_64-linux-gnu/libc.so.6 rootfs/lib/
cp /usr/bin/env rootfs/usr/bin/; chmod 4755 rootfs/usr/bin/env; ln rootfs/usr/bin/env rootfs/usr/bin/link
echo policy > rootfs/etc/ima/ima-policy; : > rootfs/etc/empty; ln -s empty rootfs/etc/symlink
echo x > "rootfs/etc/a name"; chown 12:34 "rootfs/etc/a name"; chmod 0000 "rootfs/etc/a name"
`

// handOver is a Builder with a tree and two key sets: that of the older class and another.
type handOver struct {
	*harness.Builder
	names int // number of names of regular files
}

func newHandOver(t *testing.T, kind []string) handOver {
	t.Helper()
	b := harness.NewBuilder(t)
	olderKeys(t, b.Path("old"), kind)
	olderKeys(t, b.Path("new"), kind)
	harness.Must(t, "chown", "-R", "--reference", b.Path("bin"), b.Path("old"), b.Path("new"))
	b.OK(b.Pseudo(oldTree))
	return handOver{b, 6}
}

// sh runs a script under pseudo, with the variables of the older class set.
func (h handOver) sh(keys, script string) harness.Result {
	return h.Pseudo(fmt.Sprintf("KEY=%[1]s/privkey_ima.pem CERT=%[1]s/x509_ima.der\n%s", h.Path(keys), script))
}

// counts runs imasign-build with --json and returns the counts that it reports.
func (h handOver) counts(t *testing.T, keys, command string) map[string]any {
	t.Helper()
	var counts map[string]any
	if err := json.Unmarshal([]byte(h.OK(h.sh(keys, "imasign-build "+command+" --json rootfs"))), &counts); err != nil {
		t.Fatal(err)
	}
	return counts
}

const signWith = `rootfs sign --key "$KEY" --cert "$CERT"`

// survey returns all xattrs of the tree.
func (h handOver) survey() string {
	return h.OK(h.Pseudo("getfattr -R -h -d -m - -e hex rootfs"))
}

// accepts runs evmctl's command, ima_verify or verify, on every file of the tree, as users
// of the class do. It goes by the output, because the exit code is not reliable.
func (h handOver) accepts(keys, command string) int {
	r := h.sh(keys, `find rootfs -type f -print0 | xargs -0 -n 1 evmctl `+command+` --key "$CERT" || true`)
	return strings.Count(r.Out+r.Err, "verification is OK")
}

// TestHandOver moves a tree from the older class to this layer and back. Each verifies the
// signatures of the other, and keeps them or replaces them as told.
func TestHandOver(t *testing.T) {
	for name, old := range olderClass {
		t.Run(name+", from the older class", func(t *testing.T) {
			h := newHandOver(t, old.keys)
			h.OK(h.sh("old", old.signs))
			fromOlderClass(t, h, old.sha1)
			if old.evm {
				evmFromOlderClass(t, h)
			}
			anotherKey(t, h, old.evm)
			if old.evm {
				evmAnotherKey(t, h)
			}
		})
		t.Run(name+", to the older class", func(t *testing.T) { toOlderClass(t, newHandOver(t, old.keys), old.signs, old.evm) })
		if old.evm {
			t.Run(name+", both values to the older class", func(t *testing.T) { evmToOlderClass(t, newHandOver(t, old.keys), old.signs) })
		}
	}
}

// fromOlderClass verifies what the class signed, and signs with the same key.
func fromOlderClass(t *testing.T, h handOver, sha1 bool) {
	if c := h.counts(t, "old", `rootfs verify --cert "$CERT"`); c["ok"] != float64(h.names) || c["unsigned"] != 0. {
		t.Errorf("verify: %v", c)
	}
	before := h.survey()
	// All names of a hard link are signed once.
	signed, unchanged := 0., float64(h.names-1)
	if sha1 { // another digest algorithm needs another signature
		signed, unchanged = unchanged, signed
	}
	if c := h.counts(t, "old", signWith); c["signed"] != signed || c["unchanged"] != unchanged {
		t.Errorf("signed again by the same key: %v", c)
	}
	if (h.survey() == before) == sha1 {
		t.Error("the xattrs are not what they should be after signing by the same key")
	}
}

// anotherKey checks that another key replaces signatures only when told so. Then
// security.evm is no longer valid.
func anotherKey(t *testing.T, h handOver, evm bool) {
	if n := h.accepts("old", "verify"); evm && n != h.names {
		t.Errorf("evmctl accepts %d security.evm, not %d", n, h.names)
	}
	before := h.survey()
	if strings.Contains(before, "security.evm") != evm {
		t.Errorf("security.evm, want %v:\n%s", evm, before)
	}
	if r := h.sh("new", "imasign-build "+signWith+" rootfs"); r.Code != 1 || !strings.Contains(r.Err, "--force") || h.survey() != before {
		t.Errorf("another key: exit %d: %s", r.Code, r.Err)
	}
	r := h.sh("new", "imasign-build "+signWith+" --force rootfs")
	h.OK(r)
	if strings.Contains(r.Err, "security.evm that covers their old security.ima") != evm {
		t.Errorf("a warning about security.evm, want %v: %s", evm, r.Err)
	}
	if n := h.accepts("new", "ima_verify"); n != h.names {
		t.Errorf("evmctl accepts %d files of the new key, not %d", n, h.names)
	}
	if n := h.accepts("old", "verify"); n != 0 {
		t.Errorf("evmctl accepts %d security.evm of other signatures", n)
	}
}

// The older class signs both values with one key, so --evm-key names it here.
const (
	verifyEVMWith = `rootfs verify --cert "$CERT" --evm-cert "$CERT" --key-for any --require-evm`
	signEVMWith   = signWith + ` --evm portable --evm-key "$KEY" --evm-cert "$CERT"`
)

// evmFromOlderClass verifies both values of the class, and signs again with the same key.
func evmFromOlderClass(t *testing.T, h handOver) {
	if c := h.counts(t, "old", verifyEVMWith); c["ok"] != float64(h.names) || c["unsigned"] != 0. {
		t.Errorf("verify with security.evm: %v", c)
	}
	before := h.survey()
	if c := h.counts(t, "old", signEVMWith); c["signed"] != 0. || c["unchanged"] != float64(h.names-1) || h.survey() != before {
		t.Errorf("signed again by the same key: %v", c)
	}
	if r := h.sh("new", `imasign-build `+verifyEVMWith+` rootfs`); r.Code != 3 {
		t.Errorf("verified with another certificate: exit %d: %s", r.Code, r.Err)
	}
}

// evmAnotherKey checks that a new key replaces both values, and that evmctl accepts them.
// Before, security.evm is still the one of the old key.
func evmAnotherKey(t *testing.T, h handOver) {
	if r := h.sh("new", "imasign-build "+verifyEVMWith+" rootfs"); r.Code != 3 {
		t.Errorf("security.evm of old values: exit %d: %s", r.Code, r.Err)
	}
	before := h.survey()
	if r := h.sh("new", "imasign-build "+signEVMWith+" rootfs"); r.Code != 1 || !strings.Contains(r.Err, "--force") || h.survey() != before {
		t.Errorf("another key: exit %d: %s", r.Code, r.Err)
	}
	h.OK(h.sh("new", "imasign-build "+signEVMWith+" --force rootfs"))
	for _, command := range []string{"ima_verify", "verify"} {
		if n := h.accepts("new", command); n != h.names {
			t.Errorf("evmctl %s accepts %d files of the new key, not %d", command, n, h.names)
		}
	}
	if c := h.counts(t, "new", verifyEVMWith); c["ok"] != float64(h.names) {
		t.Errorf("verify: %v", c)
	}
}

// evmToOlderClass signs both values, with one key each. The older class then signs the tree
// with its own key, and evmctl accepts the values of either.
func evmToOlderClass(t *testing.T, h handOver, signs string) {
	h.OK(h.sh("old", fmt.Sprintf("imasign-build %s --evm portable --evm-key %[2]s/privkey_ima.pem --evm-cert %[2]s/x509_ima.der rootfs", signWith, h.Path("new"))))
	for command, keys := range map[string]string{"ima_verify": "old", "verify": "new"} {
		if n := h.accepts(keys, command); n != h.names {
			t.Errorf("evmctl %s accepts %d files, not %d", command, n, h.names)
		}
	}
	h.OK(h.sh("old", signs))
	if n := h.accepts("old", "verify"); n != h.names {
		t.Errorf("evmctl accepts %d security.evm of the older class, not %d", n, h.names)
	}
	evmFromOlderClass(t, h)
}

func toOlderClass(t *testing.T, h handOver, signs string, evm bool) {
	h.OK(h.sh("old", "imasign-build "+signWith+" rootfs"))
	if n := h.accepts("old", "ima_verify"); n != h.names {
		t.Errorf("evmctl accepts %d files, not %d", n, h.names)
	}
	if n := h.accepts("new", "ima_verify"); n != 0 {
		t.Errorf("evmctl accepts %d files by another certificate", n)
	}
	// The class signs a tree that it did not sign before.
	h.OK(h.sh("old", signs))
	if c := h.counts(t, "old", `rootfs verify --cert "$CERT"`); c["ok"] != float64(h.names) {
		t.Errorf("verify: %v", c)
	}
	if n := h.accepts("old", "verify"); evm && n != h.names {
		t.Errorf("evmctl accepts %d security.evm, not %d", n, h.names)
	}
}

// olderClass builds an image with the class itself, from the meta-security checkout in
// META_SECURITY_DIR. Our program verifies every file and finds nothing to sign.
func (l *lab) olderClass(t *testing.T) {
	layer := os.Getenv("META_SECURITY_DIR")
	if layer == "" {
		t.Skip("NOT RUN: META_SECURITY_DIR names no checkout")
	}
	harness.Must(t, "install", "-D", "-m", "0644", filepath.Join(layer, "meta-integrity/classes/ima-evm-rootfs.bbclass"), l.path("meta-test/classes/ima-evm-rootfs.bbclass"))
	olderKeys(t, l.path("older"), []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"})
	harness.Must(t, "chown", "-R", fmt.Sprint(uid), l.path("older"))
	setup := `IMASIGN_IMAGE = "0"
TEST_FSTYPES = "ext4"
DISTRO_FEATURES:append = " ima"
IMAGE_CLASSES += "ima-evm-rootfs"
IMA_EVM_KEY_DIR = "` + l.path("older") + `"
HOSTTOOLS += "evmctl"
`
	libc := "libc() {\n\tinstall -D -m 0755 /lib/x86_64-linux-gnu/libc.so.6 ${IMAGE_ROOTFS}/lib/libc.so.6\n}\nROOTFS_POSTPROCESS_COMMAND += \"libc\"\n"
	l.inRecipe(t, libc, func() { l.build(t, setup, "test-image") })
	dir := t.TempDir()
	harness.Must(t, "mount", "-o", "loop,ro", l.path(filepath.Join(images, image+".ext4")), dir)
	defer harness.Must(t, "umount", dir)
	files := len(harness.Files(t, dir))
	cert := l.path("older/x509_ima.der")
	for _, args := range [][]string{
		{"rootfs", "verify", "--cert", cert},
		{"rootfs", "sign", "--dry-run", "--key", l.path("older/privkey_ima.pem"), "--cert", cert},
	} {
		var counts map[string]any
		if err := json.Unmarshal([]byte(harness.Must(t, harness.Program(t), append(args, "--json", dir)...)), &counts); err != nil {
			t.Fatal(err)
		}
		if args[1] == "verify" && counts["ok"] != float64(files) || args[1] == "sign" && (counts["signed"] != 0. || counts["unchanged"] == 0.) {
			t.Errorf("%d files, %v: %v", files, args[1], counts)
		}
	}
}
