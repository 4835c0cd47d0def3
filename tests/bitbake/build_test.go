package bitbake

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// images is where a lab's images are deployed, image the name that they share.
const (
	images = "build/tmp/deploy/images/qemux86-64"
	image  = "test-image-qemux86-64.rootfs"
)

// TestBuild builds packages and images as an unprivileged user, step by step in one build
// directory.
func TestBuild(t *testing.T) {
	l := newLab(t)
	t.Logf("release %s", l.release)
	first := l.build(t, "", "test-image")
	l.build(t, "", "package-index") // a build of its own, because the index does not wait for packages
	for _, task := range []string{"test-files:do_package_write_rpm", "test-image:do_rootfs", "test-image:do_image"} {
		if !first.ran(task) {
			t.Errorf("%s did not run", task)
		}
	}
	if native := first.ran("imasign-build:do_compile"); native != (l.release != "scarthgap") {
		t.Errorf("imasign-build was built by its recipe: %v", native)
	}
	packages := l.packages(t)
	t.Run("images", l.imagesAreSigned)
	t.Run("finished images", l.finishedImages)
	t.Run("EVM", l.evm)
	t.Run("packages", l.packagesAreSigned)
	t.Run("feed", l.feedAgrees)
	t.Run("sstate", func(t *testing.T) { l.sstateHolds(t, packages) })
	t.Run("nothing changed", func(t *testing.T) { l.nothingRuns(t, "") })
	t.Run("key encrypted anew and moved", l.keyMoves)
	t.Run("idempotent", l.signsOnce)
	t.Run("from sstate", func(t *testing.T) { l.fromSstate(t, packages) })
	t.Run("from nothing", func(t *testing.T) { l.fromNothing(t, packages) })
	t.Run("certificate of images", l.imageCertificate)
	t.Run("certificate of packages", l.packageCertificate)
	t.Run("other digest", l.otherDigest)
	t.Run("OpenPGP", l.besideOpenPGP)
	t.Run("excluded recipe", l.excludedRecipe)
	t.Run("hardware keys", l.hardwareKeys)
	t.Run("signing service", l.signingService)
	t.Run("refusals", l.refusals)
	t.Run("initramfs", l.initramfs)
	t.Run("wic", l.wic)
	t.Run("simulation", l.simulation)
	t.Run("ML-DSA", l.mldsa)
	t.Run("older class", l.olderClass)
	t.Run("secrets", l.noSecrets)
	t.Run("pseudo", l.noComplaints)
}

// manifest returns the deployed manifest of the image: security.ima values by path.
func (l *lab) manifest(t *testing.T) map[string][]byte { return l.values(t, "security.ima") }

// values returns the values of an xattr in the deployed manifest of the image, by path.
func (l *lab) values(t *testing.T, xattr string) map[string][]byte {
	t.Helper()
	values := map[string][]byte{}
	for line := range strings.Lines(read(t, l.path(filepath.Join(images, image+".imasign.jsonl")))) {
		var entry struct {
			Path, Kind string
			Xattrs     map[string]string
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		if entry.Kind != "file" {
			continue
		}
		value, err := hex.DecodeString(entry.Xattrs[xattr])
		if err != nil {
			t.Fatal(err)
		}
		values[entry.Path] = value
	}
	return values
}

// imagesAreSigned mounts or unpacks each image and verifies every file with evmctl.
func (l *lab) imagesAreSigned(t *testing.T) {
	want := l.manifest(t)
	if len(want) < 25 || len(want["etc/fstab"]) == 0 || len(want["usr/share/test/f20"]) != 0 {
		t.Fatalf("the manifest has %d files, fstab %x, the excluded one %x", len(want), want["etc/fstab"], want["usr/share/test/f20"])
	}
	l.eachImage(t, func(t *testing.T, dir string) { verifyTree(t, dir, l.path("keys/x509_ima.der"), want) })
	l.jffs2(t, want)
}

// eachImage mounts or unpacks each image that this machine can read.
func (l *lab) eachImage(t *testing.T, check func(t *testing.T, dir string)) {
	t.Helper()
	for _, fstype := range []string{"tar", "ext4", "squashfs", "erofs", "btrfs"} {
		t.Run(fstype, func(t *testing.T) {
			dir := t.TempDir()
			file := l.path(filepath.Join(images, image+"."+fstype))
			if fstype == "tar" {
				dir = harness.LargeXattrs(t)
				harness.Must(t, "tar", "-C", dir, "--xattrs", "--xattrs-include=*", "-xpf", file)
			} else {
				harness.Must(t, "mount", "-t", fstype, "-o", "loop,ro", file, dir)
				defer harness.Must(t, "umount", dir)
			}
			check(t, dir)
		})
	}
}

// jffs2 checks that the jffs2 image contains all values.
func (l *lab) jffs2(t *testing.T, want map[string][]byte) {
	t.Helper()
	t.Run("jffs2", func(t *testing.T) {
		content := []byte(read(t, l.path(filepath.Join(images, image+".jffs2"))))
		for path, value := range want {
			if len(value) > 0 && !bytes.Contains(content, value) {
				t.Errorf("the value of %s is not in it", path)
			}
		}
	})
}

// verifyTree checks that evmctl accepts every file of the manifest, and that there are no
// other files.
func verifyTree(t *testing.T, dir, cert string, want map[string][]byte) {
	t.Helper()
	files := harness.Files(t, dir)
	if len(files) != len(want) {
		t.Errorf("%d files, the manifest has %d", len(files), len(want))
	}
	for _, file := range files {
		path := strings.TrimPrefix(file, dir+"/")
		value, err := getxattr(file, "security.ima")
		if len(want[path]) == 0 {
			if err == nil {
				t.Errorf("%s is signed and should not be", path)
			}
			continue
		}
		if err != nil || !bytes.Equal(value, want[path]) {
			t.Errorf("%s: security.ima %x (%v), the manifest says %x", path, value, err, want[path])
		}
		evmctl(t, "ima_verify", cert, file)
	}
	if info, err := os.Stat(filepath.Join(dir, "usr/share/test/f1")); err != nil || info.Sys().(*syscall.Stat_t).Uid != 12 || info.Sys().(*syscall.Stat_t).Gid != 34 {
		t.Errorf("owner of f1: %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "usr/bin/hello-setuid")); err != nil || info.Mode()&os.ModeSetuid == 0 {
		t.Errorf("hello-setuid is not setuid: %v", err)
	}
}

func getxattr(file, name string) ([]byte, error) {
	value := make([]byte, 65536)
	n, err := syscall.Getxattr(file, name, value)
	return value[:max(n, 0)], err
}

// evmctl checks that evmctl's command, ima_verify or verify, accepts the file's signature.
// Its exit code is 0 for many failures, so the test goes by its output.
func evmctl(t *testing.T, command, cert, file string) {
	t.Helper()
	// Without --generation, evmctl asks the file system for the inode's generation, which
	// squashfs and erofs do not have. Portable signatures do not cover it.
	r := harness.Run(t, "evmctl", command, "--generation", "0", "--key", cert, file)
	if out := r.Out + r.Err; !strings.Contains(out, "verification is OK") {
		t.Errorf("evmctl %s: %s: %s", command, file, out)
	}
}

// packages returns the contents of the feed's packages, by name.
func (l *lab) packages(t *testing.T) map[string]string { return l.rpms(t, "build/tmp/deploy/rpm") }

// rpms returns the contents of the packages below a directory of the lab, by name.
func (l *lab) rpms(t *testing.T, dir string) map[string]string {
	t.Helper()
	content := map[string]string{}
	for _, file := range l.files(t, dir) {
		if strings.HasSuffix(file, ".rpm") {
			content[filepath.Base(file)] = read(t, file)
		}
	}
	if len(content) == 0 {
		t.Fatal("no packages in the feed")
	}
	return content
}

// packagesAreSigned reads the signatures with rpm, and verifies them with evmctl on the
// files that rpm2cpio unpacks.
func (l *lab) packagesAreSigned(t *testing.T) { l.verifyPackages(t, l.path("keys/x509_ima.der")) }

func (l *lab) verifyPackages(t *testing.T, cert string) {
	t.Helper()
	verified := 0
	for _, file := range l.files(t, "build/tmp/deploy/rpm") {
		if !strings.HasSuffix(file, ".rpm") {
			continue
		}
		dir := t.TempDir()
		harness.Must(t, "sh", "-c", `cd "$1" && rpm2cpio "$2" | cpio -idm --quiet --no-absolute-filenames`, "-", dir, file)
		for line := range strings.Lines(harness.Must(t, "rpm", "-qp", "--nosignature", "--qf", "[%{FILENAMES} %{FILEMODES:perms} %{FILESIGNATURES}\n]", file)) {
			fields := strings.Fields(line)
			if len(fields) < 2 || fields[1][0] != '-' {
				continue
			}
			if len(fields) != 3 {
				t.Errorf("%s: %s has no signature", filepath.Base(file), fields[0])
				continue
			}
			unpacked := filepath.Join(dir, fields[0])
			value, err := hex.DecodeString(fields[2])
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Setxattr(unpacked, "security.ima", value, 0); err != nil {
				t.Fatal(err)
			}
			evmctl(t, "ima_verify", cert, unpacked)
			verified++
		}
	}
	if verified < 25 {
		t.Errorf("only %d files verified", verified)
	}
}

// feedAgrees compares the packages with the index.
func (l *lab) feedAgrees(t *testing.T) {
	var primary string
	for _, file := range l.files(t, "build/tmp/deploy/rpm/repodata") {
		if strings.Contains(file, "primary.xml") {
			primary += harness.Must(t, "sh", "-c", `case $1 in *.zst) zstd -dc "$1" ;; *) gzip -dc "$1" ;; esac`, "-", file)
		}
	}
	for _, file := range l.files(t, "build/tmp/deploy/rpm") {
		if sum := strings.Fields(harness.Must(t, "sha256sum", file))[0]; strings.HasSuffix(file, ".rpm") && !strings.Contains(primary, sum) {
			t.Errorf("the index does not know %s %s", sum, filepath.Base(file))
		}
	}
}

// sstateHolds checks that sstate stored the packages of the feed, with their signatures.
func (l *lab) sstateHolds(t *testing.T, packages map[string]string) {
	found := 0
	for _, file := range l.files(t, "build/sstate-cache") {
		if !strings.Contains(file, "package_write_rpm.tar") || !strings.HasSuffix(file, ".zst") {
			continue
		}
		dir := t.TempDir()
		harness.Must(t, "tar", "-C", dir, "-I", "zstd", "-xf", file)
		for _, rpm := range harness.Files(t, dir) {
			if !strings.HasSuffix(rpm, ".rpm") {
				continue
			}
			found++
			if packages[filepath.Base(rpm)] != read(t, rpm) {
				t.Errorf("%s in sstate is not the one in the feed", filepath.Base(rpm))
			}
		}
	}
	if found == 0 {
		t.Error("sstate has no packages")
	}
}

func (l *lab) nothingRuns(t *testing.T, extra string) {
	t.Helper()
	if r := l.build(t, extra, "test-image"); len(r.tasks) > 0 {
		t.Errorf("tasks ran: %v", r.tasks)
	}
}

// keyMoves encrypts the key with another passphrase and moves it to another path.
func (l *lab) keyMoves(t *testing.T) {
	moved := l.path("elsewhere")
	harness.Must(t, "cp", "-rp", l.path("keys"), moved)
	l.encrypt(t, filepath.Join(moved, "x509_ima.key"), "another")
	write(t, l.path("another"), "another\n")
	harness.Must(t, "chown", "-R", fmt.Sprint(uid), moved)
	l.nothingRuns(t, fmt.Sprintf("IMASIGN_KEYS_DIR = \"%s\"\nIMASIGN_KEY_PASS = \"file:%s\"\nIMASIGN_JOBS = \"1\"\n", moved, l.path("another")))
}

// signsOnce runs do_image again on the signed tree.
func (l *lab) signsOnce(t *testing.T) {
	before := l.manifest(t)
	for _, args := range [][]string{{"-f", "-c", "image", "test-image"}, {"test-image"}} {
		if r := l.bitbake(t, "", args...); r.Code != 0 { // warns that it was forced
			t.Fatal(tail(r.Out))
		}
	}
	report := read(t, l.path(filepath.Join(images, image+".imasign.json")))
	if !strings.Contains(report, `"signed": 0`) || strings.Contains(report, `"unchanged": 0`) {
		t.Errorf("signed again: %s", report)
	}
	if after := l.manifest(t); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("another manifest")
	}
}

func (l *lab) samePackages(t *testing.T, packages map[string]string) {
	t.Helper()
	again := l.packages(t)
	for name, content := range packages {
		if again[name] != content {
			t.Errorf("%s is another one", name)
		}
	}
}

func (l *lab) fromSstate(t *testing.T, packages map[string]string) {
	harness.Must(t, "rm", "-rf", l.path("build/tmp"))
	r := l.build(t, "", "test-image")
	if r.ran("test-files:do_install") || !r.ran("test-files:do_package_write_rpm_setscene") {
		t.Errorf("not from sstate: %v", r.tasks)
	}
	l.samePackages(t, packages)
}

func (l *lab) fromNothing(t *testing.T, packages map[string]string) {
	before := l.manifest(t)
	harness.Must(t, "rm", "-rf", l.path("build/tmp"))
	// The program may come from sstate. Building it again would only take time.
	harness.Must(t, "find", l.path("build/sstate-cache"), "-name", "sstate:test-*", "-delete")
	if r := l.build(t, "", "test-image"); !r.ran("test-files:do_package_write_rpm") {
		t.Errorf("not built: %v", r.tasks)
	}
	l.samePackages(t, packages)
	after := l.manifest(t)
	for path, value := range before {
		// This machine's dnf and rpm leave files in the tree. Those of OE-core do not.
		if !strings.HasPrefix(path, "tmp/") && !bytes.Equal(after[path], value) {
			t.Errorf("%s has another signature", path)
		}
	}
}

// imageCertificate signs images with another key. Only do_image and the tasks after it
// must run.
func (l *lab) imageCertificate(t *testing.T) {
	l.build(t, "", "test-image")
	extra := fmt.Sprintf("IMASIGN_ROOTFS_KEY = \"%[1]s/x509_ima.key\"\nIMASIGN_ROOTFS_CERT = \"%[1]s/x509_ima.crt\"\n", l.path("rotated"))
	r := l.build(t, extra, "test-image")
	if !r.ran("test-image:do_image") || !r.ran("test-image:do_image_ext4") {
		t.Errorf("not signed again: %v", r.tasks)
	}
	after := regexp.MustCompile(`^test-image:do_(image|image_\w+|create_image\w*_spdx|populate_lic_deploy|write_qemuboot_conf|flush_pseudodb|rootfs_wicenv|build|image_complete)$`)
	for _, task := range r.tasks {
		if !after.MatchString(task) {
			t.Errorf("%s ran", task)
		}
	}
	l.verifyTar(t, l.path("rotated/x509_ima.der"))
}

// packageCertificate signs packages with another key. They must be written again and
// installed into the image, but nothing may be compiled or packaged again.
func (l *lab) packageCertificate(t *testing.T) {
	l.build(t, "", "test-files")
	extra := fmt.Sprintf("IMASIGN_RPM_KEY = \"%[1]s/x509_ima.key\"\nIMASIGN_RPM_CERT = \"%[1]s/x509_ima.crt\"\n", l.path("rotated"))
	r := l.build(t, extra, "test-files")
	if !r.ran("test-files:do_package_write_rpm") {
		t.Errorf("not signed again: %v", r.tasks)
	}
	for _, task := range r.tasks {
		if !slices.Contains([]string{"test-files:do_package_write_rpm", "test-files:do_build"}, task) {
			t.Errorf("%s ran", task)
		}
	}
	l.verifyPackages(t, l.path("rotated/x509_ima.der"))
	l.build(t, extra, "package-index")
	t.Run("feed", l.feedAgrees)
}

func (l *lab) otherDigest(t *testing.T) {
	l.build(t, "IMASIGN_HASH = \"sha512\"\n", "test-image")
	for path, value := range l.manifest(t) {
		if len(value) > 0 && value[2] != 6 { // enum hash_algo: SHA-512
			t.Errorf("%s: hash id %d", path, value[2])
		}
	}
}

// besideOpenPGP builds with sign_rpm, in either order.
func (l *lab) besideOpenPGP(t *testing.T) {
	gpg := l.path("gnupg")
	harness.Must(t, "install", "-d", "-m", "0700", "-o", fmt.Sprint(uid), "-g", fmt.Sprint(uid), gpg)
	cmd := fmt.Sprintf("gpg --batch --homedir %s --pinentry-mode loopback --passphrase gpgpass --quick-generate-key test-key rsa2048 sign never", gpg)
	harness.Must(t, "setpriv", "--reuid", fmt.Sprint(uid), "--regid", fmt.Sprint(uid), "--clear-groups", "env", "HOME="+l.path("home"), "sh", "-c", cmd)
	t.Cleanup(func() { harness.Run(t, "gpgconf", "--homedir", gpg, "--kill", "all") })
	for name, inherit := range map[string]string{"before": `INHERIT:prepend = "sign_rpm "`, "after": `INHERIT:append = " sign_rpm"`} {
		t.Run(name, func(t *testing.T) {
			l.build(t, fmt.Sprintf("%s\nRPM_GPG_NAME = \"test-key\"\nRPM_GPG_PASSPHRASE = \"gpgpass\"\nGPG_PATH = \"%s\"\n", inherit, gpg), "test-files")
			for _, file := range l.files(t, "build/tmp/deploy/rpm") {
				if strings.HasSuffix(file, ".rpm") && strings.Contains(harness.Must(t, "rpm", "-qp", "--nosignature", "--qf", "%{RSAHEADER:pgpsig}", file), "none") {
					t.Errorf("%s has no OpenPGP signature", filepath.Base(file))
				}
			}
			l.opensAfterImport(t, gpg)
			l.verifyPackages(t, l.path("keys/x509_ima.der"))
		})
	}
}

// opensAfterImport checks the OpenPGP signatures with rpm.
func (l *lab) opensAfterImport(t *testing.T, gpg string) {
	t.Helper()
	db, key := t.TempDir(), filepath.Join(t.TempDir(), "key")
	harness.Must(t, "gpg", "--homedir", gpg, "--armor", "--output", key, "--export", "test-key")
	harness.Must(t, "rpmkeys", "--dbpath", db, "--import", key)
	for _, file := range l.files(t, "build/tmp/deploy/rpm") {
		if strings.HasSuffix(file, ".rpm") {
			if out := harness.Must(t, "rpmkeys", "--dbpath", db, "--checksig", file); !strings.Contains(out, "signatures OK") {
				t.Error(out)
			}
		}
	}
}

func (l *lab) excludedRecipe(t *testing.T) {
	l.build(t, "IMASIGN_RPM_EXCLUDE = \"test-files\"\n", "test-files")
	for _, file := range l.files(t, "build/tmp/deploy/rpm") {
		if strings.HasSuffix(file, ".rpm") {
			if out := harness.Must(t, "rpm", "-qp", "--nosignature", "--qf", "[%{FILESIGNATURES}]", file); out != "" {
				t.Errorf("%s is signed", filepath.Base(file))
			}
		}
	}
}

// misplaced is a secret that stands where none is allowed.
const misplaced = "misplaced-secret-1234"

// refusals runs builds that must fail and name the reason.
func (l *lab) refusals(t *testing.T) {
	leak := func(key string) string {
		return "leak() {\n\tinstall -D -m 0600 " + key + " ${IMAGE_ROOTFS}/etc/forgotten.pem\n}\nROOTFS_POSTPROCESS_COMMAND += \"leak\"\n"
	}
	harness.Must(t, harness.Tool(t, "openssl"), "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", l.path("other.pem"))
	harness.Must(t, "chmod", "0644", l.path("other.pem"))
	for name, c := range map[string]struct{ extra, says string }{
		"no key":              {"IMASIGN_KEYS_DIR = \"\"\n", "no signing key: set IMASIGN_KEYS_DIR"},
		"key is missing":      {"IMASIGN_KEY = \"/nonexistent.key\"\n", "/nonexistent.key is not a file"},
		"relative key":        {"IMASIGN_KEY = \"x.key\"\n", "give an absolute path"},
		"certificate missing": {"IMASIGN_CERT = \"/nonexistent.crt\"\n", "/nonexistent.crt is not a file"},
		"key as certificate":  {"IMASIGN_CERT = \"" + l.path("other.pem") + "\"\n", "contains a private key"},
		"literal passphrase":  {"IMASIGN_KEY_PASS = \"" + misplaced + "\"\n", "not the passphrase itself"},
		"environment":         {"IMASIGN_KEY_PASS = \"env:PASSPHRASE\"\n", "bitbake-cookerdaemon.log"},
		"literal PIN":         {"IMASIGN_KEY = \"pkcs11:token=t?pin-value=" + misplaced + "\"\n", "pin-source"},
		"wrong passphrase":    {"IMASIGN_KEY_PASS = \"file:/etc/hostname\"\nIMASIGN_HASH = \"sha384\"\n", "passphrase"}, // the hash, so that it signs
		"cpio":                {"TEST_FSTYPES = \"tar cpio.gz\"\n", "type cpio keeps no xattrs"},
		"vfat":                {"TEST_FSTYPES = \"vfat\"\n", "type vfat keeps no xattrs"},
		"no EVM key":          {evmOn + "IMASIGN_EVM_KEY = \"\"\n", "there is no key for it"},
		"EVM key is missing":  {evmOn + "IMASIGN_EVM_KEY = \"/nonexistent.key\"\n", "`imasign-build key init --with evm` makes a key for EVM"},
		"other EVM":           {"IMASIGN_EVM = \"hmac\"\n", "set it to portable"},
		"other target":        {evmOn + "IMASIGN_EVM_TARGET = \"64\"\n", "set it to 64le, 32le, 64be or 32be"},
		"digest without EVM":  {"IMASIGN_IMA = \"digest\"\n", "set IMASIGN_EVM = \"portable\""},
		"two file signers":    {"RPM_FSK_PATH = \"/x\"\n", "rpmsign would sign files as well"},
		"wrong certificate":   {"IMASIGN_CERT = \"" + l.path("rotated/x509_ima.crt") + "\"\n", "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			r := l.bitbake(t, c.extra, "test-image")
			if r.Code == 0 || !strings.Contains(r.Out, c.says) {
				t.Errorf("exit %d, want %q:\n%s", r.Code, c.says, tail(r.Out))
			}
			if strings.Contains(r.Out, misplaced) {
				t.Error("the secret was printed")
			}
		})
	}
	for name, c := range map[string]struct{ key, says string }{
		"leaked key":         {l.path("other.pem"), "etc/forgotten.pem: PEM at byte 0"},
		"leaked EVM key":     {l.path("keys/x509_evm.key"), "etc/forgotten.pem: the signing key itself"},
		"leaked signing key": {l.path("keys/x509_ima.key"), "etc/forgotten.pem: the signing key itself"},
	} {
		t.Run(name, func(t *testing.T) {
			l.inRecipe(t, leak(c.key), func() {
				if r := l.bitbake(t, "IMASIGN_ALLOW_PRIVATE_KEYS = \"etc/forgotten.pem="+strings.Repeat("0", 64)+"\"\n", "test-image"); r.Code == 0 || !strings.Contains(r.Out, c.says) {
					t.Errorf("exit %d, want %q:\n%s", r.Code, c.says, tail(r.Out))
				}
			})
		})
	}
	t.Run("allowed key", func(t *testing.T) {
		l.inRecipe(t, leak(l.path("other.pem")), func() {
			sum := strings.Fields(harness.Must(t, "sha256sum", l.path("other.pem")))[0]
			l.build(t, "IMASIGN_ALLOW_PRIVATE_KEYS = \"/etc/forgotten.pem="+sum+"\"\n", "test-image")
		})
	})
	t.Run("cpio when told", func(t *testing.T) {
		l.build(t, "TEST_FSTYPES = \"tar cpio\"\nIMASIGN_FSTYPES_UNSIGNED = \"cpio\"\n", "test-image")
	})
}

// inRecipe adds lines to the image's recipe while do runs.
func (l *lab) inRecipe(t *testing.T, lines string, do func()) {
	t.Helper()
	file := l.path("meta-test/recipes/image/test-image.bb")
	before := read(t, file)
	write(t, file, before+lines)
	defer write(t, file, before)
	do()
}

// simulation checks that the build fails if the kernel would refuse a file under the
// policy of the initramfs.
func (l *lab) simulation(t *testing.T) {
	simulate := "IMASIGN_SIMULATE = \"1\"\n"
	l.build(t, simulate, "test-image")
	l.nothingRuns(t, simulate)
	l.build(t, simulate+evmOn, "test-image")
	unsigned := simulate + "IMASIGN_EXCLUDE = \"/usr/bin/hello.sh /usr/share/test/f20\"\n"
	r := l.bitbake(t, unsigned, "test-image")
	if r.Code == 0 || !strings.Contains(r.Out, "refused   usr/bin/hello.sh: BPRM_CHECK") || strings.Contains(r.Out, "refused   usr/bin/hello-setuid") {
		t.Errorf("an unsigned program: exit %d\n%s", r.Code, tail(r.Out))
	}
	t.Run("other policy", func(t *testing.T) {
		write(t, l.path("policy"), "appraise func=BPRM_CHECK fowner=12345 appraise_type=imasig\n")
		l.build(t, unsigned+"IMASIGN_POLICY = \""+l.path("policy")+"\"\n", "test-image")
		// The hash of the task depends on the policy's content.
		write(t, l.path("policy"), "appraise func=BPRM_CHECK appraise_type=imasig\n")
		if r := l.bitbake(t, unsigned+"IMASIGN_POLICY = \""+l.path("policy")+"\"\n", "test-image"); r.Code == 0 || !strings.Contains(r.Out, "refused   usr/bin/hello.sh") {
			t.Errorf("a changed policy: exit %d\n%s", r.Code, tail(r.Out))
		}
	})
}

// initramfs builds an initramfs with the certificates, the policy and the module.
func (l *lab) initramfs(t *testing.T) {
	extra := fmt.Sprintf("IMASIGN_EXTRA_CERTS = \"%s\"\n", l.path("rotated/x509_ima.crt"))
	// The issuer is not that of the first certificate: the kernel would refuse it.
	if r := l.bitbake(t, extra, "test-initramfs"); r.Code == 0 || !strings.Contains(r.Out, "rotated/x509_ima.crt: the kernel would refuse it") {
		t.Errorf("exit %d:\n%s", r.Code, tail(r.Out))
	}
	harness.Must(t, "sh", "-c", `cat "$1" "$2" >"$3"`, "-", l.path("keys/system_trusted_key.crt"), l.path("rotated/system_trusted_key.crt"), l.path("both.crt"))
	l.lostKey(t)
	extra += evmOn + fmt.Sprintf("IMASIGN_SYSTEM_CERT = \"%s\"\nIMASIGN_POLICY = \"%s\"\nIMASIGN_REVOKED_CERTS = \"%s\"\n", l.path("both.crt"), l.path("own-policy"), l.path("lost/x509_ima.crt"))
	write(t, l.path("own-policy"), "appraise func=WRONG\n")
	if r := l.bitbake(t, extra, "test-initramfs"); r.Code == 0 || !strings.Contains(r.Out, "own-policy:1:10: refuse bad-value") {
		t.Errorf("exit %d:\n%s", r.Code, tail(r.Out))
	}
	write(t, l.path("own-policy"), "appraise func=BPRM_CHECK euid=0 appraise_type=imasig\nappraise func=POLICY_CHECK appraise_type=imasig\n")
	l.build(t, extra, "test-initramfs")
	dir := t.TempDir()
	cpio := l.path(filepath.Join(images, "test-initramfs-qemux86-64.rootfs.cpio"))
	if _, err := os.Stat(cpio); err != nil {
		cpio = l.path(filepath.Join(images, "test-initramfs-qemux86-64.cpio"))
	}
	harness.Must(t, "sh", "-c", `cd "$1" && cpio -idm --quiet --no-absolute-filenames <"$2"`, "-", dir, cpio)
	for file, want := range map[string]string{
		"etc/keys/x509_ima.der":      read(t, l.path("keys/x509_ima.der")),
		"etc/keys/x509_evm.der":      read(t, l.path("keys/x509_evm.der")),
		"etc/keys/x509_ima_2.der":    read(t, l.path("rotated/x509_ima.der")),
		"etc/keys/x509_revoked.der":  read(t, l.path("lost/x509_ima.der")),
		"etc/ima/ima_policy.default": read(t, filepath.Join(root, "recipes/imasign-policy/files/ima_policy.default")),
		"etc/ima/ima_policy":         read(t, l.path("own-policy")),
		"init.d/95-imasign":          moduleText(t),
	} {
		// In releases with usrmerge, /sbin is /usr/sbin.
		if strings.Replace(read(t, filepath.Join(dir, file)), "=/usr/sbin/", "=/sbin/", 1) != want {
			t.Errorf("%s is not what it should be", file)
		}
	}
	t.Run("private key", func(t *testing.T) {
		r := l.bitbake(t, extra+"IMASIGN_SHIP_PRIVATE_KEY = \"1\"\nPACKAGE_INSTALL:append = \" imasign-key-store-ima-privkey\"\n", "test-initramfs")
		if r.Code == 0 || !strings.Contains(r.Out, "the signing key itself") || !strings.Contains(r.Out, "can sign for every device") {
			t.Errorf("exit %d:\n%s", r.Code, tail(r.Out))
		}
	})
}

// lostKey makes lost/x509_ima.{crt,der} with another CA, and adds that CA to both.crt.
func (l *lab) lostKey(t *testing.T) {
	t.Helper()
	l.keys(t, "lost")
	harness.Must(t, "sh", "-c", `cat "$1" >>"$2"`, "-", l.path("lost/system_trusted_key.crt"), l.path("both.crt"))
}
