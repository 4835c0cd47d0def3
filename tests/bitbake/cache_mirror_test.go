package bitbake

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// twoDirectories builds in two directories that share nothing but the manifest of the first
// build.
func (c *cached) twoDirectories(t *testing.T) {
	// This machine's dnf and rpm leave logs and their database.
	const tidy = "tidy() {\n\trm -rf ${IMAGE_ROOTFS}/tmp/*\n}\nIMAGE_PREPROCESS_COMMAND += \"tidy\"\n"
	// What OE-core's tar has since wrynose, and a fixed identity for erofs. (This machine's
	// mkfs.ext4 writes the time of access.)
	const same = `IMAGE_CMD_TAR = "tar --pax-option=delete=atime,delete=ctime"
EXTRA_IMAGECMD:erofs = "-T 1520598896 -U 00112233-4455-6677-8899-aabbccddeeff"
`
	c.inRecipe(t, tidy+same, func() { c.buildTwice(t) })
}

func (c *cached) buildTwice(t *testing.T) {
	t.Helper()
	at := func(name, cache string) string {
		return fmt.Sprintf("%sIMASIGN_CACHE = \"%s\"\nIMASIGN_CACHE_DIR = \"${TMPDIR}/signatures\"\nTMPDIR = \"${TOPDIR}/%s\"\nSSTATE_DIR = \"${TOPDIR}/%[3]s-sstate\"\n", c.key, cache, name)
	}
	deployed := func(name, file string) string {
		return c.path(filepath.Join(strings.Replace(images, "tmp", name, 1), file))
	}
	// With its cache, packages and image have the same signatures of equal files.
	c.build(t, at("one", "auto"), "test-image")
	if c.module.Calls(t) == 0 {
		t.Error("the first build asked no key")
	}
	archive := c.path("archive")
	harness.Must(t, "install", "-D", "-m", "0644", deployed("one", image+".imasign.jsonl"), filepath.Join(archive, "image.jsonl"))
	c.build(t, at("two", "none")+"IMASIGN_FROM_MANIFEST = \""+archive+"\"\n", "test-image")
	if calls := c.module.Calls(t); calls != 0 {
		t.Errorf("the key signed %d times", calls)
	}
	for _, file := range []string{image + ".imasign.jsonl", image + ".tar", image + ".squashfs", image + ".erofs", image + ".jffs2"} {
		harness.Must(t, "cmp", deployed("one", file), deployed("two", file))
	}
	one, two := c.rpms(t, "build/one/deploy/rpm"), c.rpms(t, "build/two/deploy/rpm")
	for name, content := range one {
		if two[name] != content {
			t.Errorf("%s is another one", name)
		}
	}
	c.build(t, at("two", "none"), "-c", "cleansstate", "test-image")
	c.build(t, at("two", "none"), "test-image")
	if read(t, deployed("one", image+".imasign.jsonl")) == read(t, deployed("two", image+".imasign.jsonl")) {
		t.Error("the same manifest without the archive: the key is not randomised")
	}
	c.module.Calls(t)
}

// mirror takes signatures that another build has published. BitBake's fetcher gets them.
func (c *cached) mirror(t *testing.T) {
	shared := c.path("shared")
	fresh := func(name string) string { // a cache without signatures
		return fmt.Sprintf("IMASIGN_CACHE_DIR = \"%s\"\nIMASIGN_CACHE_SHARD_DIR = \"%s\"\n", c.path(name), c.path(name+"-shards"))
	}
	c.build(t, c.key, "-c", "cleansstate", "test-image")
	c.build(t, c.key+fresh("first"), "test-image")
	if c.module.Calls(t) == 0 {
		t.Fatal("the first build asked no key")
	}
	c.run(t, "cache", "export", "--cache", c.path("first"), shared)
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.FileServer(http.Dir(shared)).ServeHTTP(w, r)
	}))
	defer server.Close()
	online := "BB_NO_NETWORK = \"0\"\n"
	inherit := c.key + "INHERIT += \"imasign-cache\"\n"
	mirror := inherit + "IMASIGN_CACHE_MIRRORS = \"" + server.URL + "\"\n"
	// again builds the image anew, and returns how many signatures the key made and how many
	// requests the server got.
	again := func(t *testing.T, setup string) (int, int) {
		t.Helper()
		c.build(t, setup, "-c", "cleansstate", "test-image")
		asked.Store(0)
		c.build(t, setup, "test-image")
		return c.module.Calls(t), int(asked.Load())
	}
	for name, k := range map[string]struct {
		setup         string
		signs, online bool
	}{
		"no network":         {mirror, true, false},
		"premirror only":     {mirror + online + "BB_FETCH_PREMIRRORONLY = \"1\"\n", true, false},
		"PREMIRRORS":         {mirror + "PREMIRRORS = \"http://.*/.* file://" + shared + "/\"\n", false, false},
		"network":            {mirror + online, false, true},
		"no cache":           {mirror + online + "IMASIGN_CACHE = \"none\"\n", true, false},
		"directory":          {inherit + "IMASIGN_CACHE_MIRRORS = \"" + shared + "\"\n", false, false},
		"directory as a URL": {c.key + "IMASIGN_CACHE_MIRRORS = \"file://" + shared + "\"\n", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			calls, requests := again(t, k.setup+fresh(strings.ReplaceAll(name, " ", "-")))
			if (calls > 0) != k.signs || (requests > 0) != k.online {
				t.Errorf("the key signed %d times, the server got %d requests", calls, requests)
			}
		})
	}
	t.Run("again", func(t *testing.T) {
		if calls, requests := again(t, mirror+online+fresh("network")); calls != 0 || requests != 1 { // the index
			t.Errorf("the key signed %d times, the server got %d requests", calls, requests)
		}
		c.nothingRuns(t, mirror+online+fresh("network"))
		for _, name := range []string{"*/.fetch-*", "*/*.done", "*/*.lock", "*/*.copy"} {
			if left, err := filepath.Glob(filepath.Join(c.path("network-shards"), name)); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		}
	})
	t.Run("broken", func(t *testing.T) { c.brokenMirrors(t, mirror+online, shared, server) })
}

// brokenMirrors checks that a mirror that cannot be used costs one warning, and that what was
// fetched before is used.
func (c *cached) brokenMirrors(t *testing.T, mirror, shared string, server *httptest.Server) {
	index := filepath.Join(shared, "ima-signatures.index")
	good := read(t, index)
	shards, err := filepath.Glob(filepath.Join(shared, "*.shard"))
	if err != nil || len(shards) == 0 {
		t.Fatalf("%v, %v", shards, err)
	}
	shard := read(t, shards[0])
	empty := func(name string) string {
		return fmt.Sprintf("IMASIGN_CACHE_DIR = \"%s\"\nIMASIGN_CACHE_SHARD_DIR = \"%s\"\n", c.path(name), c.path(name+"-shards"))
	}
	fetched := fmt.Sprintf("IMASIGN_CACHE_DIR = \"%s\"\nIMASIGN_CACHE_SHARD_DIR = \"%s\"\n", c.path("never"), c.path("network-shards"))
	for _, k := range []struct {
		name   string
		damage func()
		setup  string
		signs  bool
	}{
		{"no index", func() { write(t, index, "<html>\n") }, empty("b1"), true},
		{"endless index", func() { write(t, index, strings.Repeat("x", 65<<20)) }, empty("b2"), true},
		{"changed shard", func() { write(t, shards[0], shard[:len(shard)-1]+"x") }, empty("b3"), true},
		{"missing shard", func() { harness.Must(t, "rm", shards[0]) }, empty("b4"), true},
		{"down", server.Close, fetched, false},
	} {
		t.Run(k.name, func(t *testing.T) {
			write(t, index, good)
			write(t, shards[0], shard)
			k.damage()
			c.bitbake(t, mirror+k.setup, "-c", "cleansstate", "test-image")
			c.module.Calls(t)
			r := c.bitbake(t, mirror+k.setup, "test-image")
			if n := strings.Count(r.Out, "WARNING: IMASIGN_CACHE_MIRRORS: no new signatures from "+server.URL); r.Code != 0 || n != 1 || strings.Contains(r.Out, "ERROR") {
				t.Errorf("exit %d, %d warnings:\n%s", r.Code, n, tail(r.Out))
			}
			if calls := c.module.Calls(t); (calls > 0) != k.signs {
				t.Errorf("the key signed %d times", calls)
			}
		})
	}
}

// unusable checks that the user is told of a cache that cannot be used, once for all tasks.
func (c *cached) unusable(t *testing.T) {
	place := c.path("no-directory")
	write(t, place, "a file\n")
	setup := c.key + "IMASIGN_CACHE_DIR = \"" + place + "\"\n"
	c.bitbake(t, setup, "-c", "cleansstate", "test-image", "test-files")
	r := c.bitbake(t, setup, "test-image")
	if !r.ran("test-files:do_package_write_rpm") || !r.ran("test-image:do_image") {
		t.Errorf("tasks: %v", r.tasks)
	}
	warned := 0
	for line := range strings.Lines(r.Out) {
		if strings.HasPrefix(line, "WARNING: ") && strings.Contains(line, place) {
			warned++
		}
	}
	if r.Code != 0 || warned != 1 {
		t.Errorf("exit %d, %d warnings:\n%s", r.Code, warned, tail(r.Out))
	}
	c.verifyTar(t, c.path("token/x509_ima.der"))
	if err := os.Remove(place); err != nil {
		t.Fatal(err)
	}
}
