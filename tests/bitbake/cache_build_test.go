package bitbake

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestSignaturesOfEarlierBuilds builds with an ECDSA key in a token. Each of its signatures is
// another one, and the module in front of the token counts them.
func TestSignaturesOfEarlierBuilds(t *testing.T) {
	l := newLab(t)
	t.Logf("release %s", l.release)
	c := cached{lab: l}
	c.token(t)
	t.Run("second build", c.secondBuild)
	t.Run("many tasks", c.manyTasks)
	t.Run("two directories", c.twoDirectories)
	t.Run("mirror", c.mirror)
	t.Run("unusable", c.unusable)
	t.Run("secrets", l.noSecrets)
	// It deletes many files, whose inodes builds would get, and then Debian's pseudo mistakes one
	// file for another.
	t.Run("task hashes", c.hashes)
	t.Run("pseudo", l.noComplaints)
}

// cached is a lab whose key is in a token.
type cached struct {
	*lab
	key    string // the settings that name it
	module *harness.SlowModule
}

// token makes an ECDSA key in SoftHSM2, behind a module that counts its signatures.
func (c *cached) token(t *testing.T) {
	t.Helper()
	h := harness.NewSoftHSM(t)
	h.InitToken(t, "build", pin)
	c.module = h.Slow(t, 0)
	keys := c.path("token")
	harness.Must(t, harness.Program(t), "key", "init", "--algorithm", "p256", "--on", h.URI(t, "build", "", pin), keys)
	c.module.Calls(t) // key init signs certificates
	write(t, c.path("pin"), pin+"\n")
	// Others cannot enter the directories of a test.
	for _, path := range []string{os.Getenv("SOFTHSM2_CONF"), h.Tokens, h.Module} {
		if err := os.Chmod(filepath.Dir(filepath.Dir(path)), 0o755); err != nil {
			t.Fatal(err)
		}
		harness.Must(t, "chown", "-R", fmt.Sprint(uid), filepath.Dir(path))
	}
	harness.Must(t, "chown", "-R", fmt.Sprint(uid), keys, c.path("pin"))
	harness.Must(t, "install", "-m", "0755", harness.Program(t), c.path("imasign-build"))
	var variables, names []string
	for _, name := range []string{"SOFTHSM2_CONF", "SLOWMODULE_MODULE", "SLOWMODULE_CALLS", "SLOWMODULE_DELAY_US"} {
		names = append(names, name)
		variables = append(variables, fmt.Sprintf("%s = \"%s\"\n", name, os.Getenv(name)))
	}
	c.key = fmt.Sprintf("IMASIGN_KEY = \"pkcs11:token=build;object=x509_ima?module-path=%s&pin-source=file:%s\"\nIMASIGN_KEY_PASS = \"\"\nIMASIGN_CERT = \"%s/x509_ima.crt\"\nIMASIGN_KEY_ENV = \"%s\"\n%s",
		h.Module, c.path("pin"), keys, strings.Join(names, " "), strings.Join(variables, ""))
	// This machine's dnf and rpm leave files in the tree that are others in each build.
	c.key += "IMASIGN_EXCLUDE = \"/tmp /" + controlWord + "\"\n"
}

// hashes checks that no variable about signatures of earlier builds changes the hash of a task.
func (c *cached) hashes(t *testing.T) {
	manifest := c.path("some.jsonl")
	write(t, manifest, "")
	want := c.hashesWith(t, "")
	for _, task := range []string{".do_image.sigdata.", ".do_package_write_rpm.sigdata."} {
		if !slices.ContainsFunc(want, func(name string) bool { return strings.Contains(name, task) }) {
			t.Fatalf("no hash of %s in %v", task, want)
		}
	}
	for name, extra := range map[string]string{
		"none":       "IMASIGN_CACHE = \"none\"\n",
		"directory":  "IMASIGN_CACHE = \"always\"\nIMASIGN_CACHE_DIR = \"/elsewhere\"\n",
		"mirrors":    "INHERIT += \"imasign-cache\"\nIMASIGN_CACHE_MIRRORS = \"https://192.0.2.1/a file:///b /c\"\nIMASIGN_CACHE_SHARD_DIR = \"" + c.path("shards") + "\"\n",
		"manifest":   "IMASIGN_FROM_MANIFEST = \"" + manifest + "\"\n",
		"network":    "IMASIGN_NETWORK = \"1\"\n",
		"remote key": "IMASIGN_KEY = \"https://signer.example.com/ima?identity=" + manifest + "\"\n", // any file
	} {
		t.Run(name, func(t *testing.T) {
			for _, name := range c.hashesWith(t, extra) {
				if !slices.Contains(want, name) {
					t.Errorf("another hash: %s", name)
				}
			}
		})
	}
	if got := c.hashesWith(t, "IMASIGN_HASH = \"sha384\"\n"); slices.Equal(got, want) {
		t.Error("another digest algorithm changes no hash: the comparison is broken")
	}
}

// hashesWith returns the names of the files that BitBake writes about the hash of each task.
// The hash is in the name.
func (c *cached) hashesWith(t *testing.T, extra string) []string {
	t.Helper()
	const tmp = "build/tmp-hashes"
	harness.Must(t, "rm", "-rf", c.path(tmp))
	c.build(t, c.key+"TMPDIR = \"${TOPDIR}/tmp-hashes\"\n"+extra, "-S", "none", "test-image")
	var names []string
	for _, file := range c.files(t, tmp+"/stamps") {
		if strings.Contains(file, ".sigdata.") {
			names = append(names, filepath.Base(file))
		}
	}
	slices.Sort(names)
	return names
}

// counts returns how many files the image's report says were signed, and how many of them
// without the key.
func (l *lab) counts(t *testing.T) (signed, cached int) {
	t.Helper()
	var report struct{ Signed, Cached int }
	if err := json.Unmarshal([]byte(read(t, l.path(filepath.Join(images, image+".imasign.json")))), &report); err != nil {
		t.Fatal(err)
	}
	return report.Signed, report.Cached
}

// secondBuild builds an image again that nobody has any more.
func (c *cached) secondBuild(t *testing.T) {
	c.build(t, c.key, "test-image")
	// The package has the files of the image, and is signed first.
	if signed, cached := c.counts(t); c.module.Calls(t) == 0 || signed < 25 || cached == 0 {
		t.Fatalf("the first build: %d files signed, %d from the cache", signed, cached)
	}
	manifest, packages := c.manifest(t), c.packages(t)
	for _, recipes := range [][]string{{"test-image"}, {"test-image", "test-files"}} {
		c.build(t, c.key, append([]string{"-c", "cleansstate"}, recipes...)...)
		r := c.build(t, c.key, "test-image")
		if !r.ran("test-image:do_image") || r.ran("test-files:do_package_write_rpm") != (len(recipes) > 1) {
			t.Errorf("tasks: %v", r.tasks)
		}
		signed, cached := c.counts(t)
		if calls := c.module.Calls(t); calls != 0 || cached != signed || signed < 25 {
			t.Errorf("%v built again: the key signed %d times; %d files signed, %d from the cache", recipes, calls, signed, cached)
		}
		if got := c.manifest(t); fmt.Sprint(got) != fmt.Sprint(manifest) {
			t.Error("another manifest")
		}
		c.samePackages(t, packages)
	}
	c.verifyTar(t, c.path("token/x509_ima.der"))
	c.verifyPackages(t, c.path("token/x509_ima.der"))
	t.Run("without a cache", func(t *testing.T) {
		c.build(t, c.key, "-c", "cleansstate", "test-image")
		c.build(t, c.key+"IMASIGN_CACHE = \"none\"\n", "test-image")
		if signed, cached := c.counts(t); c.module.Calls(t) == 0 || cached != 0 || signed < 25 {
			t.Errorf("%d files signed, %d from the cache", signed, cached)
		}
		if fmt.Sprint(c.manifest(t)) == fmt.Sprint(manifest) {
			t.Error("the same signatures: the key is not randomised")
		}
	})
}

// manyTasks signs packages with the same files at the same time.
func (c *cached) manyTasks(t *testing.T) {
	recipe := read(t, c.path("meta-test/recipes/files/test-files_1.0.bb"))
	var targets []string
	for i := range 8 {
		name := fmt.Sprintf("test-many%d", i)
		targets = append(targets, name)
		write(t, c.path("meta-test/recipes/files/"+name+"_1.0.bb"), recipe+"FILESEXTRAPATHS:prepend := \"${THISDIR}/files:\"\n")
		defer os.Remove(c.path("meta-test/recipes/files/" + name + "_1.0.bb"))
	}
	// No default place: pseudo does not ignore it.
	setup := c.key + "BB_NUMBER_THREADS = \"8\"\nIMASIGN_CACHE_DIR = \"" + c.path("many") + "\"\n"
	c.build(t, setup, append([]string{"-c", "package"}, targets...)...)
	c.build(t, setup, append([]string{"-c", "package_write_rpm"}, targets...)...)
	values := map[string]string{}
	for name, content := range c.packages(t) {
		if !strings.HasPrefix(name, "test-many") || content == "" {
			continue
		}
		file := c.find(t, "build/tmp/deploy/rpm", name)
		for line := range strings.Lines(harness.Must(t, "rpm", "-qp", "--nosignature", "--qf", "[%{FILEDIGESTS} %{FILESIGNATURES}\n]", file)) {
			if digest, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && digest != "" {
				if values[digest] == "" {
					values[digest] = value
				}
				if values[digest] != value {
					t.Errorf("%s: %s has the signature %s, elsewhere %s", name, digest, value, values[digest])
				}
			}
		}
	}
	if len(values) < 20 {
		t.Fatalf("%d digests in the packages", len(values))
	}
	if calls := c.module.Calls(t); calls < len(values) || calls >= 8*len(values) {
		t.Errorf("%d signatures for %d digests", calls, len(values))
	}
	c.run(t, "cache", "verify", "--cache", c.path("many"))
}

// run runs the program as the user who builds. It refuses caches of other users.
func (l *lab) run(t *testing.T, args ...string) {
	t.Helper()
	id := fmt.Sprint(uid)
	harness.Must(t, "setpriv", append([]string{"--reuid", id, "--regid", id, "--clear-groups", l.path("imasign-build")}, args...)...)
}

// find returns the path of the file with this name below a directory of the lab.
func (l *lab) find(t *testing.T, dir, name string) string {
	t.Helper()
	for _, file := range l.files(t, dir) {
		if filepath.Base(file) == name {
			return file
		}
	}
	t.Fatalf("no %s in %s", name, dir)
	return ""
}
