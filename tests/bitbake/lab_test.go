package bitbake

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// passphrase encrypts the keys. It may appear nowhere.
const passphrase = "correct-horse-battery-staple-4711"

// lab is a build directory of a release, with this layer and the layer of the tests. An
// unprivileged user builds in it.
type lab struct {
	dir     string
	release string   // its name in LAYERSERIES_CORENAMES
	env     []string // additional environment of bitbake
	secrets []string // that steps made and that may appear nowhere
}

// uid is the user id and group id of the builds, because BitBake refuses root. The account need
// not exist: only BitBake sees it.
const uid = 4712

// newLab makes a lab from the checkouts in BITBAKE_DIR and OECORE_DIR.
func newLab(t *testing.T) *lab {
	t.Helper()
	bitbake, oecore := os.Getenv("BITBAKE_DIR"), os.Getenv("OECORE_DIR")
	if bitbake == "" || oecore == "" {
		t.Skip("NOT RUN: BITBAKE_DIR and OECORE_DIR name no checkouts; `make bitbake` says how")
	}
	harness.Root(t)
	for _, tool := range []string{"pseudo", "rpmbuild", "createrepo_c", "dnf", "gpg", "zstd", "mkfs.erofs", "mksquashfs", "mkfs.btrfs", "mkfs.jffs2", "evmctl", "chrpath", "diffstat", "gawk", "lz4", "rpcgen", "softhsm2-util", "swtpm"} {
		harness.Tool(t, tool)
	}
	// Not t.TempDir, because other users cannot enter its parent.
	dir, err := os.MkdirTemp("", "imasign-bitbake-*")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{dir: dir}
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("IMASIGN_KEEP") != "" {
			t.Logf("kept: %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	l.release = l.checkouts(t, bitbake, oecore)
	l.layer(t)
	l.program(t)
	l.keys(t, "keys", "rotated")
	write(t, l.path("home/.rpmrc"), "arch_compat: x86_64: x86_64_v3 qemux86_64 core2_64 noarch\n")
	write(t, l.path("passwd"), read(t, "/etc/passwd")+fmt.Sprintf("builder:x:%d:%d::%s:/bin/sh\n", uid, uid, l.path("home")))
	l.configure(t)
	harness.Must(t, "chown", "-R", fmt.Sprintf("%d:%d", uid, uid), dir)
	harness.Must(t, "chmod", "0755", dir)
	return l
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

// checkouts copies the checkouts, because BitBake writes into its own directory.
func (l *lab) checkouts(t *testing.T, bitbake, oecore string) string {
	t.Helper()
	harness.Must(t, "cp", "-r", bitbake, l.path("bitbake"))
	if err := os.Mkdir(l.path("oe-core"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"meta", "scripts", "oe-init-build-env", ".templateconf"} {
		harness.Must(t, "cp", "-r", filepath.Join(oecore, part), l.path("oe-core"))
	}
	names := regexp.MustCompile(`LAYERSERIES_CORENAMES = "([^"]*)"`).FindStringSubmatch(read(t, l.path("oe-core/meta/conf/layer.conf")))
	if names == nil {
		t.Fatalf("%s is no OE-core", oecore)
	}
	words := strings.Fields(names[1])
	return words[len(words)-1]
}

// layer copies the files of this repository.
func (l *lab) layer(t *testing.T) {
	t.Helper()
	for _, part := range []string{"conf", "classes", "recipes", "cmd", "pkg", "internal", "go.mod", "go.sum", "LICENSE", "tests/bitbake/testdata/meta-test"} {
		to := filepath.Dir(l.path(filepath.Join("layer", part)))
		if part == "tests/bitbake/testdata/meta-test" {
			to = l.dir
		}
		if err := os.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
		harness.Must(t, "cp", "-r", filepath.Join(root, part), to)
	}
}

// program installs imasign-build for releases that cannot build it.
func (l *lab) program(t *testing.T) {
	t.Helper()
	if err := os.Mkdir(l.path("bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	harness.Must(t, "install", "-m", "0755", harness.Program(t), l.path("bin/imasign-build"))
}

// keys makes key sets whose private keys are encrypted from the start.
func (l *lab) keys(t *testing.T, sets ...string) {
	t.Helper()
	write(t, l.path("passphrase"), passphrase+"\n")
	for _, set := range sets {
		dir := l.path(set)
		harness.Must(t, harness.Program(t), "key", "init", "--algorithm", "rsa2048", "--with", "evm", dir)
		for _, name := range []string{"x509_ima.key", "x509_evm.key"} {
			l.encrypt(t, filepath.Join(dir, name), passphrase)
		}
		if err := os.Remove(filepath.Join(dir, "system_trusted_key.key")); err != nil {
			t.Fatal(err)
		}
	}
}

func (l *lab) encrypt(t *testing.T, key, secret string) {
	t.Helper()
	harness.Must(t, harness.Tool(t, "openssl"), "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", key, "-passin", "pass:"+passphrase, "-passout", "pass:"+secret, "-out", key+".new")
	if err := os.Rename(key+".new", key); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(read(t, key), "BEGIN ENCRYPTED PRIVATE KEY") {
		t.Fatalf("%s is not encrypted", key)
	}
}

// controlWord is in a variable that every signing task depends on. The search for secrets
// must find it.
const controlWord = "control-word-0815"

func (l *lab) configure(t *testing.T) {
	t.Helper()
	write(t, l.path("build/conf/bblayers.conf"), fmt.Sprintf(`POKY_BBLAYERS_CONF_VERSION = "2"
BBPATH = "${TOPDIR}"
BBFILES ?= ""
BBLAYERS ?= "%[1]s/oe-core/meta %[1]s/layer %[1]s/meta-test"
`, l.dir))
	native := `TCLIBCAPPEND = ""` // without it, TMPDIR is tmp-glibc; later releases do not know the variable
	if l.release != "scarthgap" {
		native = l.nativeRecipe(t)
	}
	write(t, l.path("build/conf/local.conf"), fmt.Sprintf(`MACHINE = "qemux86-64"
DISTRO = "nodistro"
PACKAGE_CLASSES = "package_rpm"
CONF_VERSION = "2"
BB_NO_NETWORK = "1"
BB_NUMBER_THREADS = "2"
PARALLEL_MAKE = "-j2"
BBMASK += "/oe-core/meta/recipes-(?!core/meta/(package-index|signing-keys)|core/initrdscripts/initramfs-framework_) .*\.bbappend"
require conf/host-tools.conf
%[2]s
IMASIGN_KEYS_DIR = "%[1]s/keys"
IMASIGN_KEY_PASS = "file:%[1]s/passphrase"
IMASIGN_EXCLUDE = "/%[3]s /usr/share/test/f20"
IMAGE_CLASSES += "imasign-image"
INHERIT += "imasign-rpm"
`, l.dir, native, controlWord))
}

// nativeRecipe builds imasign-build with its recipe and this machine's compilers. DL_DIR
// contains the modules of this machine's module cache.
func (l *lab) nativeRecipe(t *testing.T) string {
	t.Helper()
	writeModules(t, l.path("modules"))
	if err := os.Mkdir(l.path("downloads"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, m := range listedModule.FindAllStringSubmatch(read(t, filepath.Join(root, "recipes/imasign-build/imasign-build-go-mods.inc")), -1) {
		kind := ".zip"
		if m[3] != "" {
			kind = ".mod"
		}
		path := regexp.MustCompile(`[A-Z]`).ReplaceAllStringFunc(m[1], func(c string) string { return "!" + strings.ToLower(c) })
		harness.Must(t, "cp", l.path(filepath.Join("modules", path, "@v", m[2]+kind)), l.path("downloads/"+strings.ReplaceAll(m[1], "/", ".")+"@"+m[2]+kind))
	}
	goroot := strings.TrimSpace(harness.Must(t, "go", "env", "GOROOT"))
	if err := os.Symlink(filepath.Join(goroot, "bin/go"), l.path("bin/go")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(l.path("bin/imasign-build")); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`DL_DIR = "%s/downloads"
TEST_RECIPES = "imasign-|"
GOROOT:forcevariable = "%[2]s"
GOTOOLDIR:forcevariable = "%[2]s/pkg/tool/linux_amd64"
HOSTTOOLS += "go"`, l.dir, goroot)
}

// result is the outcome of a BitBake run.
type result struct {
	harness.Result
	tasks []string // recipe:task of every task that ran, setscene included
}

var ranTask = regexp.MustCompile(`(?m)^NOTE: Running (?:setscene )?task \d+ of \d+ \((?:virtual:\w+:)?\S*/([\w-]+?)(?:_[^/_]*)?\.bb:(do_\w+)\)`)

// asBuilder runs a command in the build directory, as the user whose id is its first argument. BitBake
// takes the network only from the tasks of users in /etc/passwd, so this is another file there.
const asBuilder = `mount --bind "$0" /etc/passwd
uid=$1
shift
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups bash -c 'umask 022; . ./oe-core/oe-init-build-env build bitbake >/dev/null; exec "$@"' -- "$@"`

// bitbake runs bitbake in the build directory. It reads extra after local.conf.
func (l *lab) bitbake(t *testing.T, extra string, args ...string) result {
	t.Helper()
	if extra != "" {
		write(t, l.path("build/extra.conf"), extra)
		args = append([]string{"-R", "extra.conf"}, args...)
	}
	cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-ec", asBuilder, l.path("passwd"), fmt.Sprint(uid), "bitbake"}, args...)...)
	cmd.Dir = l.dir
	cmd.Env = append([]string{"HOME=" + l.path("home"), "USER=builder", "LOGNAME=builder", "LANG=en_US.UTF-8", "PATH=" + l.path("bin") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, l.env...)
	r := result{Result: harness.RunCommand(t, cmd)}
	r.Out += r.Err // errors go to stderr, warnings to either
	for _, m := range ranTask.FindAllStringSubmatch(r.Out, -1) {
		r.tasks = append(r.tasks, m[1]+":"+m[2])
	}
	return r
}

// build runs bitbake and fails the test unless it succeeds without unexpected warnings.
func (l *lab) build(t *testing.T, extra string, args ...string) result {
	t.Helper()
	r := l.bitbake(t, extra, args...)
	if r.Code != 0 {
		t.Fatalf("bitbake %v: exit %d\n%s", args, r.Code, tail(r.Out))
	}
	l.noWarnings(t, r)
	return r
}

// expected matches warnings that this set-up causes: nearly all of OE-core is masked, and
// its btrfs type enlarges small images.
var expected = regexp.MustCompile(`No bb files in default matched BBFILE_PATTERN_core|Filesystem will be extended`)

func (l *lab) noWarnings(t *testing.T, r result) {
	t.Helper()
	for line := range strings.Lines(r.Out) {
		if strings.HasPrefix(line, "WARNING: ") && !expected.MatchString(line) || strings.HasPrefix(line, "ERROR: ") {
			t.Errorf("bitbake says: %s", line)
		}
	}
}

func tail(s string) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}

// ran reports whether a task ran.
func (r result) ran(task string) bool { return slices.Contains(r.tasks, task) }

// files lists the regular files below a directory of the lab.
func (l *lab) files(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(l.path(dir), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
