package bitbake

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// runClass runs Python code with functions of imasign.bbclass, and with a stand-in for bb. d is
// a data store with the variables. The code may print; bb.fatal and bb.warn do, too.
func runClass(t *testing.T, variables map[string]string, code string) string {
	t.Helper()
	source := `import hashlib, json, os, sys
class bb:
    class utils:
        to_boolean = lambda text: text in ('1', 'yes', 'true')
        mkdirhier = lambda path: os.makedirs(path, exist_ok=True)
    class data:
        inherits_class = lambda name, d: name in (d.getVar('INHERIT') or '').split()
    def fatal(text):
        print('fatal: ' + text)
        raise SystemExit(0)
    def warn(text):
        print('warning: ' + text)
class d:
    variables, flags = json.loads(sys.argv[1]), {}
    getVar = variables.get
    def setVarFlag(task, flag, value):
        d.flags[task + '[' + flag + ']'] = value
    def appendVarFlag(task, flag, value):
        d.flags[task + '[' + flag + ']'] = d.flags.get(task + '[' + flag + ']', '') + value
`
	for _, f := range functions(t, filepath.Join(root, "classes/imasign.bbclass")) {
		if f.kind == "def" {
			source += f.body + "\n"
		}
	}
	list, err := json.Marshal(variables)
	if err != nil {
		t.Fatal(err)
	}
	r := harness.RunCommand(t, exec.Command(harness.Tool(t, "python3"), "-W", "error", "-c", source+code, string(list)))
	if r.Code != 0 {
		t.Fatal(r.Err)
	}
	return strings.TrimSpace(r.Out)
}

// with returns the defaults of the variables, changed by pairs of a name and a value.
func with(pairs ...string) map[string]string {
	variables := map[string]string{"PN": "recipe", "IMASIGN_CACHE": "auto", "IMASIGN_CACHE_DIR": "/cache", "IMASIGN_CACHE_SHARD_DIR": "/shards"}
	for i := 0; i < len(pairs); i += 2 {
		variables[pairs[i]] = pairs[i+1]
	}
	return variables
}

// TestWhereSignaturesComeFrom checks the flags and the environment that the class gives to a
// command that signs.
func TestWhereSignaturesComeFrom(t *testing.T) {
	fetched, url := t.TempDir(), "https://example.com/signatures"
	dir := runClass(t, with("IMASIGN_CACHE_SHARD_DIR", fetched), "print(imasign_shards(d, '"+url+"'))")
	write(t, filepath.Join(dir, "ima-signatures.index"), "imasign-signatures 1 0\n")
	for _, c := range []struct {
		variables map[string]string
		want      string
	}{
		{with(), "--cache auto IMASIGN_CACHE=/cache"},
		{with("IMASIGN_CACHE", "always"), "--cache /cache IMASIGN_CACHE=/cache"},
		{with("IMASIGN_CACHE", "none", "IMASIGN_CACHE_MIRRORS", "/a"), "--cache none"},
		{with("IMASIGN_CACHE_MIRRORS", "/a file:///b"), "--cache auto --cache-mirror /a --cache-mirror /b IMASIGN_CACHE=/cache"},
		{with("IMASIGN_CACHE_MIRRORS", url, "IMASIGN_CACHE_SHARD_DIR", fetched), "--cache auto --cache-mirror " + dir + " IMASIGN_CACHE=/cache"},
		{with("IMASIGN_CACHE_MIRRORS", url+"/other", "IMASIGN_CACHE_SHARD_DIR", fetched), "--cache auto IMASIGN_CACHE=/cache"}, // nothing fetched
		{with("IMASIGN_CACHE", "none", "IMASIGN_FROM_MANIFEST", "/m /n"), "--from-manifest /m --from-manifest /n --cache none"},
	} {
		got := runClass(t, c.variables, "flags, environment, paths = imasign_earlier(d)\nprint(*flags, *('='.join(v) for v in environment.items()))")
		if got != c.want {
			t.Errorf("%v: %q, want %q", c.variables, got, c.want)
		}
	}
}

// TestRefusedCaches checks the messages about variables that cannot work.
func TestRefusedCaches(t *testing.T) {
	for _, c := range []struct {
		variables map[string]string
		want      string
	}{
		{with(), ""},
		{with("IMASIGN_CACHE", "yes"), "IMASIGN_CACHE is yes: set it to auto, always or none"},
		{with("IMASIGN_CACHE_DIR", "cache"), "IMASIGN_CACHE_DIR is cache: give an absolute path"},
		{with("IMASIGN_CACHE_SHARD_DIR", ""), "IMASIGN_CACHE_SHARD_DIR is empty: give an absolute path"},
		{with("IMASIGN_CACHE_MIRRORS", "/a ../b"), "../b is neither a URL nor an absolute path"},
		{with("IMASIGN_CACHE_MIRRORS", "https://example.com/a"), "nothing fetches it: add INHERIT += \"imasign-cache\""},
		{with("IMASIGN_CACHE_MIRRORS", "https://example.com/a file:///b /c", "INHERIT", "imasign-cache"), ""},
		{with("IMASIGN_FROM_MANIFEST", "/nonexistent.jsonl"), "IMASIGN_FROM_MANIFEST: /nonexistent.jsonl is neither a file nor a directory"},
		{with("IMASIGN_FROM_MANIFEST", "/"), ""},
	} {
		if got := runClass(t, c.variables, "imasign_check_cache(d)"); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%v: %q, want %q", c.variables, got, c.want)
		}
	}
}

// TestNetworkOfTasks checks which keys give the network to a task.
func TestNetworkOfTasks(t *testing.T) {
	const none, granted = `{"do_sign[vardepsexclude]": " do_sign[network]"}`, `{"do_sign[network]": "1", "do_sign[vardepsexclude]": " do_sign[network]"}`
	for _, c := range []struct {
		variables map[string]string
		want      string
	}{
		{with("A_KEY", "/keys/x509_ima.key"), none},
		{with("A_KEY", "pkcs11:token=build;object=https:"), none},
		{with("A_KEY", "tpm2:/keys/x509_ima.key?device=/dev/tpmrm0", "B_KEY", "/keys/x509_evm.key"), none},
		{with("A_KEY", "https://signer.example.com/ima"), granted},
		{with("A_KEY", "HTTP://signer.example.com/ima"), granted},
		{with("A_KEY", "nats:ima"), granted},
		{with("A_KEY", "/keys/x509_ima.key", "B_KEY", "nats:evm"), granted},
		{with("A_KEY", "pkcs11:token=hsm", "IMASIGN_NETWORK", "1"), granted},
		{with("A_KEY", "pkcs11:token=hsm", "IMASIGN_NETWORK", "0"), none},
	} {
		if got := runClass(t, c.variables, "imasign_network(d, 'do_sign', 'A', 'B')\nprint(json.dumps(d.flags))"); got != c.want {
			t.Errorf("%v: %s, want %s", c.variables, got, c.want)
		}
	}
}

// TestWarnsOnceInABuild checks that the tasks of a build say the same thing once.
func TestWarnsOnceInABuild(t *testing.T) {
	variables := with("STAMPS_DIR", t.TempDir(), "DATE", "20261128", "TIME", "100000")
	for _, c := range []struct{ time, text, want string }{
		{"100000", "one", "warning: one"}, {"100000", "one", ""}, {"100000", "two", "warning: two"},
		{"110000", "one", "warning: one"}, {"110000", "one", ""},
	} {
		variables["TIME"] = c.time
		if got := runClass(t, variables, "imasign_warn_once(d, '"+c.text+"')"); got != c.want {
			t.Errorf("%s at %s: %q, want %q", c.text, c.time, got, c.want)
		}
	}
}

// TestIndexOfSignatures checks that imasign-cache reads the index of `cache export`, and
// refuses everything else.
func TestIndexOfSignatures(t *testing.T) {
	keys, tree, cache, exported := harness.Keys(t, "p256"), t.TempDir(), filepath.Join(t.TempDir(), "cache"), filepath.Join(t.TempDir(), "exported")
	for _, name := range []string{"a", "b", "c"} {
		write(t, filepath.Join(tree, name), name)
	}
	harness.Must(t, harness.Program(t), "rootfs", "sign", "--dry-run", "--key", keys, "--cert", keys, "--cache", cache, tree)
	harness.Must(t, harness.Program(t), "cache", "export", "--cache", cache, exported)
	text := read(t, filepath.Join(exported, "ima-signatures.index"))
	names, err := filepath.Glob(filepath.Join(exported, "*.shard"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%v, %v", names, err)
	}
	line := text[strings.Index(text, "\n")+1:]
	for name, c := range map[string]struct {
		text  string
		lines int // -1: refused
	}{
		"exported":       {text, len(names)},
		"empty":          {"imasign-signatures 1 0\n", 0},
		"newer":          {strings.Replace(text, " 1 ", " 2 ", 1), -1},
		"no index":       {"<html>\n", -1},
		"a line more":    {text + line, -1},
		"cut off":        {text[:len(text)-1], -1},
		"path":           {strings.ReplaceAll(text, "ima-signatures-", "../ima-signatures-"), -1},
		"not ASCII":      {text + "é", -1},
		"too large":      {"imasign-signatures 1 0\n" + strings.Repeat("x", 65536), -1},
		"another suffix": {strings.ReplaceAll(text, ".shard", ".shard;x"), -1},
	} {
		file := filepath.Join(t.TempDir(), "index")
		write(t, file, c.text)
		code := classFunction(t, "imasign-cache", "imasign_index") + `
import sys
try:
    shards = imasign_index(sys.argv[1])
    print(len(shards), all(digest in name for name, digest in shards.items()))
except ValueError:
    print(-1, True)
`
		want := fmt.Sprint(c.lines, " True")
		if got := strings.TrimSpace(harness.Must(t, harness.Tool(t, "python3"), "-W", "error", "-c", code, file)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
