package bitbake

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// setting returns the words of a variable that conf/layer.conf assigns.
func setting(t *testing.T, conf, name string) []string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` *(?:\+=|\.=|=) *"([^"]*)"`).FindStringSubmatch(strings.ReplaceAll(conf, "\\\n", " "))
	if m == nil {
		t.Fatalf("conf/layer.conf does not set %s", name)
	}
	return strings.Fields(m[1])
}

func TestLayerConf(t *testing.T) {
	conf := read(t, filepath.Join(root, "conf/layer.conf"))
	for name, want := range map[string]string{
		"BBPATH": ":${LAYERDIR}", "BBFILE_COLLECTIONS": "imasign", "BBFILE_PATTERN_imasign": "^${LAYERDIR}/",
		"LAYERDEPENDS_imasign": "core", "LAYERSERIES_COMPAT_imasign": "scarthgap wrynose blacksail",
	} {
		if got := strings.Join(setting(t, conf, name), " "); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for line := range strings.Lines(strings.ReplaceAll(conf, "\\\n", " ")) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") && !regexp.MustCompile(`^[A-Za-z_:-]+ *[?:+.]*= *"[^"]*"$`).MatchString(line) {
			t.Errorf("conf/layer.conf: not an assignment: %s", line)
		}
	}
	seen := map[string]bool{}
	for _, pattern := range setting(t, conf, "BBFILES") {
		files, err := filepath.Glob(strings.Replace(pattern, "${LAYERDIR}", root, 1))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			seen[file] = true
		}
	}
	for _, file := range metadata(t) {
		if recipe := filepath.Ext(file) == ".bb" || filepath.Ext(file) == ".bbappend"; recipe && !seen[file] {
			t.Errorf("BBFILES does not match %s", file)
		}
	}
}

// TestSecretsAreOutOfHashes checks that the variables that name a key, its passphrase or
// the path of its certificate do not change the hash of a task.
func TestSecretsAreOutOfHashes(t *testing.T) {
	ignored := setting(t, read(t, filepath.Join(root, "conf/layer.conf")), "BB_BASEHASH_IGNORE_VARS:append")
	found := 0
	for _, name := range variables(t) {
		secret := regexp.MustCompile(`_(KEY|CERT|CERTS|KEY_PASS|KEY_ENV|KEYS_DIR)$`).MatchString(name) && name != "IMASIGN_SHIP_PRIVATE_KEY"
		if !secret {
			continue
		}
		found++
		if !slices.Contains(ignored, name) {
			t.Errorf("%s is not in BB_BASEHASH_IGNORE_VARS of conf/layer.conf", name)
		}
	}
	if found < 17 {
		t.Errorf("only %d such variables found: is the pattern right?", found)
	}
}

// TestConfigurationIsUnsigned checks that the macro of rpm's IMA plugin is installed only
// if a variable demands it. With the macro, configuration files get signatures, too, and
// fail appraisal after they are edited on the device.
func TestConfigurationIsUnsigned(t *testing.T) {
	inc := read(t, filepath.Join(root, "recipes/rpm/rpm-imasign.inc"))
	for _, want := range []string{
		`(?m)^IMASIGN_RPM_CONFIG_FILES \?= "0"$`,
		`(?m)^RPM_IMA_MACROS = "\$\{@'macros.imasign' if bb.utils.to_boolean\(d.getVar\('IMASIGN_RPM_CONFIG_FILES'\)\) else ''\}"$`,
	} {
		if !regexp.MustCompile(want).MatchString(inc) {
			t.Errorf("rpm-imasign.inc has no %s", want)
		}
	}
	if n := strings.Count(inc, "macros.imasign"); n != 2 { // in a comment, and where the variable chooses it
		t.Errorf("rpm-imasign.inc names macros.imasign %d times", n)
	}
}

func TestVariablesAreDocumented(t *testing.T) {
	guide := read(t, filepath.Join(root, "docs/yocto.md"))
	documented := regexp.MustCompile("(?m)^\\| `(IMASIGN_[A-Z0-9_]+)`").FindAllStringSubmatch(guide, -1)
	var names []string
	for _, m := range documented {
		names = append(names, m[1])
	}
	all := variables(t)
	for _, name := range all {
		if !slices.Contains(names, name) {
			t.Errorf("docs/yocto.md has no row for %s", name)
		}
	}
	for _, name := range names {
		if !slices.Contains(all, name) {
			t.Errorf("docs/yocto.md describes %s, which nothing sets", name)
		}
	}
}

// TestPolicyIsTheSame checks that IMASIGN_SIMULATE uses the policy that the recipe
// installs, unless told otherwise.
func TestPolicyIsTheSame(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "recipes/imasign-policy/files/*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("policies: %v, %v", files, err)
	}
	if name, _ := filepath.Rel(root, files[0]); !strings.Contains(classFunction(t, "imasign-image", "imasign_policy"), "'"+name+"'") {
		t.Errorf("imasign_policy of classes/imasign-image.bbclass does not name %s", name)
	}
}

func TestPythonCompiles(t *testing.T) {
	type source struct{ File, Text string }
	var sources []source
	for _, f := range allFunctions(t) {
		switch f.kind {
		case "python":
			sources = append(sources, source{f.file + ": " + f.name, "def task(d):\n" + f.body})
		case "def":
			sources = append(sources, source{f.file + ": " + f.name, f.body})
		}
	}
	inline := regexp.MustCompile(`\$\{@(.*?)\}`)
	for _, file := range metadata(t) {
		for _, m := range inline.FindAllStringSubmatch(read(t, file), -1) {
			sources = append(sources, source{file + ": ${@}", "(" + m[1] + ")"})
		}
	}
	if len(sources) < 30 {
		t.Errorf("only %d Python functions found", len(sources))
	}
	list, err := json.Marshal(sources)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(harness.Tool(t, "python3"), "-W", "error", "-c",
		"import json, sys\nfor s in json.load(sys.stdin): compile(s['Text'], s['File'], 'exec')")
	cmd.Stdin = strings.NewReader(string(list))
	if r := harness.RunCommand(t, cmd); r.Code != 0 {
		t.Error(r.Err)
	}
}

// TestCalledFunctionsExist checks that the layer defines the functions that it calls.
func TestCalledFunctionsExist(t *testing.T) {
	defined := map[string]bool{}
	for _, f := range allFunctions(t) {
		defined[f.name] = true
	}
	call := regexp.MustCompile(`\b(imasign_\w+)\(`)
	for _, file := range metadata(t) {
		for _, m := range call.FindAllStringSubmatch(read(t, file), -1) {
			if !defined[m[1]] {
				t.Errorf("%s calls %s, which nothing defines", file, m[1])
			}
		}
	}
}

// expansion matches text that BitBake replaces before a shell sees it.
var expansion = regexp.MustCompile(`\$\{@.*?\}|\$\{[A-Za-z0-9_:-]+\}`)

func TestShellIsClean(t *testing.T) {
	shellcheck := harness.Tool(t, "shellcheck")
	if r := harness.Run(t, shellcheck, filepath.Join(root, "recipes/imasign-build/update-go-mods.sh")); r.Code != 0 {
		t.Error(r.Out)
	}
	tasks := 0
	for _, f := range allFunctions(t) {
		if f.kind != "shell" {
			continue
		}
		tasks++
		// SC2043: a list that BitBake expands is one word here. SC2119, SC2120: functions
		// with arguments are called without them here.
		cmd := exec.Command(shellcheck, "-s", "dash", "-e", "SC2043,SC2119,SC2120", "-")
		cmd.Stdin = strings.NewReader("task () {\n" + expansion.ReplaceAllString(f.body, "/expanded/by/bitbake") + "}\ntask\n")
		if r := harness.RunCommand(t, cmd); r.Code != 0 {
			t.Errorf("%s: %s\n%s", f.file, f.name, r.Out)
		}
	}
	if tasks < 6 {
		t.Errorf("only %d shell functions found", tasks)
	}
}

// TestPolicyIsTheProfile checks that the layer's policy is the one of policy generate,
// and that each of its lines is explained.
func TestPolicyIsTheProfile(t *testing.T) {
	const file = "recipes/imasign-policy/files/ima_policy.default"
	if read(t, filepath.Join(root, file)) != harness.Must(t, harness.Program(t), "policy", "generate") {
		t.Errorf("%s is another: imasign-build policy generate -o %s", file, file)
	}
}
