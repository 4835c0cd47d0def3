package main

import (
	"archive/tar"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pkg/xattr"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// hostile is a name with one of each character that a terminal might interpret, and with a
// line that looks like one of the program's.
const hostile = "a\x1b]0;pwn\x07\x7f\u009b31m\x9b\nFORGED: 1 ok\r\u202e\u2066\u2028b"

// hostileText is hostile as valid UTF-8.
var hostileText = strings.ToValidUTF8(hostile, "")

// TestHostileNamesReachNoTerminal runs every command with hostile names and contents. It
// checks that what they print is harmless for a terminal.
func TestHostileNamesReachNoTerminal(t *testing.T) {
	harness.Root(t)
	packages, err := filepath.Abs("../../pkg/rpmsign/testdata/rpmsign-ima/v4")
	must(t, err)
	t.Chdir(t.TempDir())
	keys := hostileKeys(t)
	hostileInputs(t, packages)
	signed := func(words ...string) []string {
		return append(words, "--key", keys+"/x509_ima.key", "--cert", keys+"/x509_ima.crt", "--force")
	}
	trusted := func(words ...string) []string { return append(words, "--cert", keys+"/x509_ima.crt") }
	h := hostile
	u := strings.NewReplacer("\n", "", "\r", "", "\x00", "").Replace(hostile) // as a key's URI
	lines := [][]string{
		{h},
		{"--" + h},
		{"--progress", h, "version"},
		{"version", h},
		{"completion", h},
		{"help", h},
		{"help", "rootfs", h},
		{"rootfs", h},
		{"rootfs", "sign", "tree"},
		signed("rootfs", "sign", "tree"),
		signed("rootfs", "sign", "--dry-run", "--output", "restore", h),
		signed("rootfs", "sign", "--manifest", h+"/none", h),
		{"rootfs", "sign", "--key", h, h},
		{"rootfs", "sign", "--key", "tree/" + h, "--cert", "hostile.crt", h},
		{"rootfs", "sign", "--key", "hostile.pem", h},
		{"rootfs", "sign", "--key", "pkcs11:token=" + h, h},
		{"rootfs", "sign", "--key", u, u},
		{"rootfs", "sign", "--key", "tree/" + u, "--cert", "hostile.crt", u},
		{"rootfs", "sign", "--key", "hostile.pem", u},
		{"rootfs", "sign", "--key", "pkcs11:token=" + u, u},
		{"rootfs", "sign", "--key", h + ":" + h, h},
		{"rootfs", "sign", "--key", "pkcs11:token=T?module-path=/" + h, h},
		{"rootfs", "sign", "--key", "tpm2:/" + h, h},
		{"rootfs", "sign", "--key", "file://" + h + "/x", h},
		signed("rootfs", "sign", "--hash", h, h),
		signed("rootfs", "sign", "--from-key-id", h, h),
		{"rootfs", "sign", "--key-pass", h, "--key", keys + "/x509_ima.key", h},
		{"rootfs", "sign", "--key-pass", "env:" + h, "--key", keys + "/x509_ima.key", h},
		signed("rootfs", "sign", "--include", "["+h, h),
		signed("rootfs", "sign", "--select", h, h),
		{"rootfs", "sign", "--output", h, h},
		signed("rootfs", "sign", h+"/none"),
		signed("rootfs", "sign", "--dry-run", "--cache", h+"/none/x", h),
		signed("rootfs", "sign", "--dry-run", "--cache", "cache", "--cache-mirror", h+"/none", h),
		signed("rootfs", "sign", "--dry-run", "--cache-mirror", h+"://"+h, h),
		signed("rootfs", "sign", "--dry-run", "--from-manifest", "hostile.jsonl", h),
		signed("rootfs", "sign", "--dry-run", "--from-manifest", h, h),
		signed("rootfs", "sign", "--dry-run", "--from-manifest", h+"/none", h),
		trusted("rootfs", "verify", "tree"),
		trusted("rootfs", "verify", h),
		trusted("rootfs", "verify", "--manifest", "hostile.jsonl", h),
		trusted("rootfs", "verify", "--manifest", h+"/none", h),
		{"rootfs", "verify", "--cert", "hostile.pem", h},
		{"rootfs", "strip", "--dry-run", h},
		{"rootfs", "strip", h + "/none"},
		{"rootfs", "scan", h, "hostile.pem", h + "/none"},
		{"rootfs", "scan", "--allow-key", h, h},
		{"rootfs", "scan", "--allow-key", h + "=" + strings.Repeat("0", 64), "--allow-keys", "hostile.pem", h},
		{"rootfs", "scan", "--key", u, h},
		signed("rpm", "sign", h+".rpm"),
		signed("rpm", "sign", "hostile.rpm"),
		signed("rpm", "sign", "--check", h, h+".rpm"),
		signed("rpm", "sign", "--rpm-max-header", h, h+".rpm"),
		signed("rpm", "sign", "--openpgp-key", h, h+".rpm"),
		trusted("rpm", "verify", h+".rpm", "hostile.rpm"),
		trusted("rpm", "verify", "--check", "header", "hostile.rpm"),
		{"rpm", "strip", h + ".rpm"},
		{"rpm", "show", "hostile.rpm"},
		{"rpm", "show", h + ".rpm"},
		{"rpm", "digests", "hostile.rpm", h + ".rpm"},
		signed("repo", "sign", h, "-o", h+"/new"),
		signed("repo", "sign", "-o", "new", "repository"),
		trusted("repo", "verify", "repository", h),
		{"repo", "strip", "--dry-run", "repository"},
		{"repo", "strip", h},
		{"repo", "refresh", "repository"},
		{"repo", "refresh", h},
		signed("tar", "sign", "hostile.tar", "-o", h+".out"),
		signed("tar", "sign", "hostile.tar", "-o", h+"/none/x"),
		signed("tar", "sign", "broken.tar", "-o", "out.tar"),
		signed("tar", "sign", h, "-o", "out.tar"),
		signed("tar", "sign", "--oci", "layout", "-o", h+".oci"),
		signed("tar", "sign", "--compression", h, "hostile.tar", "-o", "x"),
		signed("tar", "create", h, "-o", "created.tar", "--sign"),
		{"tar", "create", h + "/none", "-o", "created.tar"},
		trusted("tar", "verify", "hostile.tar"),
		trusted("tar", "verify", "broken.tar"),
		trusted("tar", "verify", "--oci", "layout"),
		trusted("tar", "verify", h),
		{"tar", "strip", "hostile.tar", "-o", h + ".stripped"},
		{"tar", "strip", "broken.tar", "-o", "x"},
		signed("manifest", "sign", "hostile.jsonl", "-o", h+".signed"),
		signed("manifest", "sign", "broken.jsonl"),
		trusted("manifest", "apply", "hostile.jsonl", h),
		trusted("manifest", "apply", "broken.jsonl", h),
		trusted("manifest", "apply", h, h),
		{"manifest", "diff", "hostile.jsonl", "other.jsonl"},
		{"manifest", "diff", "hostile.jsonl", "broken.jsonl"},
		{"manifest", "diff", h, h},
		{"key", "init", "--algorithm", "p256", "--subject", hostileText, h + ".keys"},
		{"key", "init", "--algorithm", h, h + ".keys"},
		{"key", "init", "--with", h, h + ".keys"},
		{"key", "init", "--subject", "CN=" + h, h + "2"},
		{"key", "init", "--on", "pkcs11:token=" + h, h + "3"},
		{"key", "init", h + "/" + h + "/x"},
		{"key", "show", "hostile.crt"},
		{"key", "show", "hostile.pem"},
		{"key", "show", h},
		{"key", "show", h + ":"},
		{"key", "check", "hostile.crt"},
		{"key", "check", "--ca", "hostile.crt", "hostile.crt"},
		{"key", "check", "--kernel", h, "hostile.crt"},
		{"key", "check", h},
		{"key", "request", "--subject", "CN=" + h, keys + "/x509_ima.key"},
		{"key", "request", "--for", h, "--for-in", h, keys + "/x509_ima.key"},
		{"key", "request", "-o", h + "/none/x", "--subject", hostileText, keys + "/x509_ima.key"},
		{"key", "request", h},
		{"policy", "check", "hostile.policy"},
		{"policy", "check", "--kernel", h, "hostile.policy"},
		{"policy", "check", h},
		{"policy", "generate", "--profile", h},
		{"policy", "generate", "--profile", "tcb", "-o", h + "/none/x"},
		trusted("policy", "simulate", "hostile.policy", "--rootfs", h),
		trusted("policy", "simulate", "good.policy", "--rootfs", h),
		trusted("policy", "simulate", "good.policy", "--rootfs", h, "--fs", h),
		trusted("policy", "simulate", "good.policy", "--image", "hostile.img"),
		trusted("image", "verify", "hostile.img"),
		trusted("image", "verify", "--manifest", "hostile.jsonl", "--exclude-path", h, "hostile.img"),
		trusted("image", "verify", "--partition", h, "--partition", h+":"+h, "hostile.img"),
		trusted("image", "verify", "--partition", "1", "--partition", "2:/"+h, "hostile.disk"),
		trusted("image", "verify", "hostile.disk"),
		trusted("image", "verify", "broken.img"),
		trusted("image", "verify", h),
		{"image", "list", "hostile.img"},
		{"image", "list", "hostile.disk"},
		{"image", "list", "broken.img"},
		{"image", "list", h + "/none"},
		signed("image", "sign", "hostile.img", "-o", h+".img"),
		signed("image", "sign", "hostile.img", "-o", h+"/none/x"),
		signed("image", "sign", "--compression", h, "hostile.img", "-o", "x"),
		{"cache", "stats", "--cache", h},
		{"cache", "verify", "--cache", h},
		{"cache", "verify", "--remove", "--cache", h + "/none"},
		{"cache", "prune", "--cache", h, "--key-id", h},
		{"cache", "prune", "--cache", h, "--cert", h},
		{"cache", "prune", "--cache", h, "--max-size", h},
		{"cache", "export", "--cache", h, h + "/none/x"},
		{"cache", "export", "--cache", h + ".cache", h + ".shards"},
		{"cache", "import", "--cache", h + ".cache", h, h + "/none"},
		{"cache", "import", "--cache", h + ".cache", "--cert", "hostile.crt", h + ".shards"},
		{"approve", h, "--key", keys + "/x509_ima.key", "--for-key", keys + "/x509_ima.crt", "--form", "v2", "--origin", h, "-o", h + ".approvals", "--yes"},
		{"approve", "hostile.jsonl", "--key", keys + "/x509_ima.key", "--for-key", keys + "/x509_ima.crt", "--form", "v2", "--origin", "o", "-o", h + ".approvals", "--yes"},
		{"approve", "hostile.jsonl", "--key", h, "--for-key", "hostile.crt", "--form", h, "--origin", h, "-o", h},
		{"audit", "verify", "--log", h, "--log-key", h},
		{"audit", "verify", "--log", "https://" + h, "--log-key", "hostile.pem"},
		{"audit", "show", "--log", h, "--log-key", "hostile.pem"},
		{"audit", "export", "--log", h, "--log-key", "hostile.pem", "-o", h + ".log"},
		trusted("audit", "prove", "hostile.jsonl", "--log", h, "--log-key", "hostile.pem"),
		{"audit", "verify", "--receipts", h, "--log-key", "hostile.pem"},
		{"key", "check", "https://" + h},
		trusted("audit", "prove", "hostile.jsonl", "--receipts", h, "--log-key", "hostile.pem"),
		{"serve", h},
		{"serve", "hostile.pem"},
		{"serve", "check", h},
		{"serve", "check", "hostile.yaml"},
		{"serve", "init", "--key", h, h + "/none/x"},
		{"serve", "init", "--key", h + "=" + keys, "--cert", keys, h + "/none/x"},
		{"serve", "init", "--key", "a=" + keys, "--cert", keys, "--listen", h, h + ".service"},
		{"serve", "init", "--key", "a=" + keys, "--cert", keys, h + ".service"},
		{"serve", "init", "--key", "a=" + keys, "--cert", keys, h + ".service"},
		trusted("initramfs", "bundle", "-o", h),
		trusted("initramfs", "bundle", "-o", h+".cpio", "--policy", "hostile.policy"),
		{"initramfs", "bundle", "-o", "x.cpio", "--cert", "hostile.crt"},
		trusted("initramfs", "bundle", "-o", h+".cpio", "--hook", h),
		trusted("initramfs", "bundle", "-o", h+".cpio"),
	}
	tried := map[string]bool{}
	for _, line := range lines {
		for _, more := range [][]string{{"--verbose"}, {"--json"}} {
			out := runHostile(t, append(more, line...))
			root := newRootCommand(newApp())
			if cmd, _, err := root.Find(line); err == nil {
				tried[cmd.CommandPath()] = true
			}
			harmless(t, line, out)
		}
	}
	every(newRootCommand(newApp()), func(cmd *cobra.Command) {
		if !isGroup(cmd) && !cmd.IsAdditionalHelpTopicCommand() && !tried[cmd.CommandPath()] {
			t.Errorf("%s was not tried: add it", cmd.CommandPath())
		}
	})
}

func every(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, sub := range cmd.Commands() {
		every(sub, visit)
	}
}

// runHostile runs a command with empty input and returns everything that it prints.
func runHostile(t *testing.T, args []string) string {
	t.Helper()
	var said bytes.Buffer
	a := newApp()
	a.in, a.out, a.err = strings.NewReader(""), &results{Writer: &said}, &said
	a.terminal = func(io.Writer) bool { return false }
	a.getenv = func(string) (string, bool) { return "", false }
	run(a, args)
	return said.String()
}

func harmless(t *testing.T, args []string, out string) {
	t.Helper()
	if !utf8.ValidString(out) || strings.ContainsFunc(out, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
		t.Errorf("%q prints %q", args, out)
	}
	if strings.Contains("\n"+out, "\nFORGED") {
		t.Errorf("%q prints a forged line: %s", args, out)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func hostileKeys(t *testing.T) string {
	t.Helper()
	if out := runHostile(t, []string{"key", "init", "--algorithm", "p256", "keys"}); !strings.Contains(out, "x509_ima") {
		t.Fatal(out)
	}
	return "keys"
}

// hostileInputs makes one input of each kind that the commands read.
func hostileInputs(t *testing.T, packages string) {
	t.Helper()
	write := func(name string, data []byte) { must(t, os.WriteFile(name, data, 0o644)) }
	for _, dir := range []string{hostile, "tree/" + hostile, "layout/blobs/sha256", "repository"} {
		must(t, os.MkdirAll(dir, 0o755))
	}
	for _, name := range []string{hostile + "/" + hostile, hostile + "/signed", "tree/" + hostile + "/" + hostile} {
		write(name, []byte("#!"+hostile))
		must(t, xattr.Set(name, "user.x"+strings.ReplaceAll(hostile, "\x00", ""), []byte(hostile)))
	}
	must(t, xattr.Set("tree/"+hostile+"/"+hostile, "security.ima", []byte("\x03\x02\x04abcd\x00\x02ab")))
	must(t, xattr.Set(hostile+"/signed", "security.ima", []byte("\x07"+hostile)))
	write(hostile+"/key"+hostile, []byte("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg"))
	must(t, unix.Mkfifo("tree/fifo"+hostile, 0o644))
	must(t, os.Symlink(hostile, "tree/link"+hostile))

	for _, name := range []string{hostile + ".rpm", "hostile.pem", "tree/" + hostile + ".key"} {
		write(name, []byte(hostile))
	}
	write("hostile.pem", []byte("-----BEGIN "+strings.ReplaceAll(hostile, "\n", " ")+"-----\nAAAA\n-----END "+strings.ReplaceAll(hostile, "\n", " ")+"-----\n"))
	write("good.policy", []byte("appraise func=BPRM_CHECK appraise_type=imasig\n"))
	write("hostile.policy", []byte("appraise func="+hostile+" \x1b=\x1b\nmeasure label="+strings.ReplaceAll(hostile, "\n", "")+" uid=\x1b[31m\n"))
	write("hostile.yaml", []byte("listen: \"\\e]0;pwn\\a\\n\\u202e\"\nkeys: [{name: \"\\nFORGED\", uri: \"\\e:\"}]\n\"\\nFORGED\": 1\n"))
	write("hostile.rpm", hostilePackage(t, packages))
	write("repository/"+hostile+".rpm", hostilePackage(t, packages))
	write("hostile.tar", hostileArchive(t, "SCHILY.xattr.security.ima"))
	write("broken.tar", append(hostileArchive(t, "LIBARCHIVE.xattr.security.ima"), hostile...))
	hostileManifests(t)
	hostileImages(t)
	write("hostile.crt", hostileCertificate(t))
	name, err := json.Marshal(hostileText)
	must(t, err)
	write("layout/oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	write("layout/index.json", fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":%s,"digest":%[1]s,"size":1,"annotations":{"org.opencontainers.image.ref.name":%[1]s}}]}`, name))
}

// hostileImages makes an image with hostile names, one that is damaged, and a disk that has
// both.
func hostileImages(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", `mke2fs -q -t ext4 -L "$1" -d tree hostile.img 2M
cp hostile.img broken.img
debugfs -w -R "set_inode_field <13> block[0] 99999999" broken.img
debugfs -w -R "set_inode_field <13> block[2] 99999999" broken.img
truncate -s 6M hostile.disk
printf 'label: gpt\n1: start=1MiB, size=2MiB\n2: size=2MiB\n' | sfdisk -q hostile.disk
sfdisk -q --part-label hostile.disk 1 "$1"
dd if=hostile.img of=hostile.disk bs=1M seek=1 conv=notrunc
dd if=broken.img of=hostile.disk bs=1M seek=3 conv=notrunc`, "sh", hostile[:14])
	cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/sbin:"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// hostilePackage is a real package with control characters in the texts of its main header.
func hostilePackage(t *testing.T, packages string) []byte {
	t.Helper()
	data, err := os.ReadFile(packages + "/rich.p256.rpm")
	must(t, err)
	return bytes.ReplaceAll(data, []byte("/usr"), []byte("/\x1b\n\x07"))
}

func hostileArchive(t *testing.T, record string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	must(t, w.WriteHeader(&tar.Header{Name: hostileText, Typeflag: tar.TypeReg, Mode: 0o644, Size: 2, PAXRecords: map[string]string{record: "!!"}, Format: tar.FormatPAX}))
	_, err := w.Write([]byte("hi"))
	must(t, err)
	must(t, w.WriteHeader(&tar.Header{Name: "l" + hostileText, Linkname: hostileText, Typeflag: tar.TypeLink, Format: tar.FormatPAX}))
	must(t, w.Close())
	return b.Bytes()
}

// hostileManifests writes manifests of a tree, and of the same tree with another mode.
func hostileManifests(t *testing.T) {
	t.Helper()
	must(t, os.MkdirAll("listed", 0o755))
	must(t, os.WriteFile("listed/"+hostileText, nil, 0o644))
	for name, mode := range map[string]os.FileMode{"hostile.jsonl": 0o644, "other.jsonl": 0o755} {
		must(t, os.Chmod("listed/"+hostileText, mode))
		if out := runHostile(t, []string{"rootfs", "sign", "--dry-run", "--manifest", name, "listed"}); !strings.Contains(out, "would be") {
			t.Fatal(out)
		}
	}
	text, err := os.ReadFile("hostile.jsonl")
	must(t, err)
	must(t, os.WriteFile("broken.jsonl", bytes.Replace(text, []byte(`"file"`), []byte(`"\u001b\u009b\nFORGED"`), 1), 0o644))
}

func hostileCertificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: hostileText, Organization: []string{hostileText}}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
