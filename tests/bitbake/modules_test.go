package bitbake

import (
	"crypto/md5"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

const recipe = "recipes/imasign-build/imasign-build_0.1.0.bb"

func TestModuleListIsCurrent(t *testing.T) {
	fresh := filepath.Join(t.TempDir(), "list.inc")
	harness.Must(t, filepath.Join(root, "recipes/imasign-build/update-go-mods.sh"), fresh)
	if read(t, fresh) != read(t, filepath.Join(root, "recipes/imasign-build/imasign-build-go-mods.inc")) {
		t.Error("recipes/imasign-build/imasign-build-go-mods.inc does not fit go.mod: run recipes/imasign-build/update-go-mods.sh")
	}
}

// TestOfflineBuild builds the program from only the listed modules: first from a module
// cache as BitBake's gomod fetcher makes it, then from a module proxy. With -trimpath, nothing
// is compiled again that an earlier run compiled.
func TestOfflineBuild(t *testing.T) {
	if !harness.Nightly() {
		t.Skip("TestModuleListIsCurrent compares the list")
	}
	dir := t.TempDir()
	listed, source, cache := filepath.Join(dir, "listed"), filepath.Join(dir, "source"), filepath.Join(dir, "mod")
	writeModules(t, listed)
	copySources(t, source)
	for _, c := range []struct {
		name, proxy, flags string
		prepare            func()
	}{
		{"module cache", "off", "-trimpath -modcacherw", func() { asCache(t, listed, cache) }},
		{"proxy", "file://" + listed, "-trimpath -mod=mod -modcacherw", func() { harness.Must(t, "rm", "-rf", cache) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.prepare()
			program := filepath.Join(t.TempDir(), "imasign-build")
			cmd := exec.Command("go", "build", "-o", program, "./cmd/imasign-build")
			cmd.Dir = source
			cmd.Env = append(os.Environ(), "GOWORK=off", "GOSUMDB=off", "GOTOOLCHAIN=local", "GOPROXY="+c.proxy, "GOFLAGS="+c.flags, "GOMODCACHE="+cache)
			if r := harness.RunCommand(t, cmd); r.Code != 0 {
				t.Fatal(r.Err)
			}
			harness.Must(t, program, "version")
			// -mod=mod may write go.mod.
			if read(t, filepath.Join(source, "go.mod")) != read(t, filepath.Join(root, "go.mod")) {
				t.Error("the build changed go.mod")
			}
		})
	}
}

var listedModule = regexp.MustCompile(`gomod://([^;]+);version=([^;]+);(mod=1;)?sha256sum=([0-9a-f]{64})`)

// writeModules copies the listed modules from this machine's module cache to dir, in the
// layout of a module proxy.
func writeModules(t *testing.T, dir string) {
	t.Helper()
	cache := filepath.Join(strings.TrimSpace(harness.Must(t, "go", "env", "GOMODCACHE")), "cache", "download")
	list := listedModule.FindAllStringSubmatch(read(t, filepath.Join(root, "recipes/imasign-build/imasign-build-go-mods.inc")), -1)
	if len(list) == 0 {
		t.Fatal("no modules are listed")
	}
	for _, m := range list {
		// Capital letters are written as "!" and the small letter, see https://go.dev/ref/mod.
		path := regexp.MustCompile(`[A-Z]`).ReplaceAllStringFunc(m[1], func(c string) string { return "!" + strings.ToLower(c) })
		files := []string{m[2] + ".mod"}
		if m[3] == "" {
			files = append(files, m[2]+".zip")
		}
		for _, file := range files {
			to := filepath.Join(dir, path, "@v", file)
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, []byte(read(t, filepath.Join(cache, path, "@v", file))), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// asCache makes a module cache with only the files of a proxy.
func asCache(t *testing.T, proxy, cache string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(cache, "cache"), 0o755); err != nil {
		t.Fatal(err)
	}
	harness.Must(t, "cp", "-rl", proxy, filepath.Join(cache, "cache", "download"))
}

// copySources copies the files that the recipe takes from the layer.
func copySources(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	sources := regexp.MustCompile(`file://([\w.]+);subdir`).FindAllStringSubmatch(read(t, filepath.Join(root, recipe)), -1)
	if len(sources) != 6 {
		t.Errorf("the recipe takes %d files and directories from the layer, not 6", len(sources))
	}
	for _, m := range sources {
		harness.Must(t, "cp", "-r", filepath.Join(root, m[1]), dir)
	}
}

func TestRecipeFitsTheSources(t *testing.T) {
	text := read(t, filepath.Join(root, recipe))
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, filepath.Join(root, "go.mod")))[1]
	if !strings.Contains(text, `GO_MINIMUM = "`+goVersion+`"`) {
		t.Errorf("go.mod wants Go %s, the recipe something else", goVersion)
	}
	version := regexp.MustCompile(`_([0-9.]+)\.bb$`).FindStringSubmatch(recipe)[1]
	if out := harness.Must(t, harness.Program(t), "version"); !strings.HasPrefix(out, "imasign-build "+version) {
		t.Errorf("the recipe is for version %s, the program says %s", version, out)
	}
	sum := md5.Sum([]byte(read(t, filepath.Join(root, "LICENSE"))))
	if !strings.Contains(text, "md5="+hex.EncodeToString(sum[:])) {
		t.Error("LIC_FILES_CHKSUM does not fit LICENSE")
	}
}
