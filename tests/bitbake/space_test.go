package bitbake

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/xattrspace"
	"github.com/imasign/imasign-build/tests/harness"
)

// evaluate evaluates a Python expression with the functions of a class, and reads the JSON of
// its value.
func evaluate(t *testing.T, class, expression string, names []string, value any) {
	t.Helper()
	code := `import json, sys
class bb:
    def fatal(text):
        raise SystemExit(json.dumps(text))
def flags(variables):
    class d:
        getVar = variables.get
    try:
        return ' | '.join(' '.join(f(d)) for f in (imasign_version, imasign_versions))
    except SystemExit as e:
        return json.loads(str(e))
`
	for _, name := range names {
		code += classFunction(t, class, name) + "\n"
	}
	cmd := exec.Command(harness.Tool(t, "python3"), "-W", "error", "-c", code+"json.dump("+expression+", sys.stdout)\n")
	r := harness.RunCommand(t, cmd)
	if err := json.Unmarshal([]byte(r.Out), value); err != nil {
		t.Fatalf("%s: %s%v", expression, r.Err, err)
	}
}

type needs struct {
	KiB        int
	Ext, Btrfs string
	Large      int
}

// TestSpaceOfSignatures checks that the options that the class gives to mkfs.ext4 make room
// for the signatures, and that there are none where they are not needed.
func TestSpaceOfSignatures(t *testing.T) {
	manifest := filepath.Join(t.TempDir(), "manifest")
	for _, c := range []struct {
		values []int // of one file
		given  string
		want   needs
	}{
		{nil, "", needs{4, "", "", 0}},
		{[]int{80}, "", needs{4, "", "", 0}},
		{[]int{265, 265}, "", needs{4, "", "", 0}},
		{[]int{521, 521}, "", needs{4, "-b 4096", "", 0}},
		{[]int{2429}, "", needs{4, "-b 4096", "", 1}},
		{[]int{3318}, "-i 4096 -b 4096", needs{4, "", "", 1}},
		{[]int{2429, 2429}, "", needs{8, "-b 4096 -O ea_inode", "", 1}},
		{[]int{3318, 3318}, "-O ea_inode", needs{8, "-b 4096", "", 1}},
		{[]int{4636}, "", needs{8, "-b 4096 -O ea_inode", "-n 16384", 1}},
		{[]int{4636, 4636}, "", needs{16, "-b 4096 -O ea_inode", "-n 16384", 1}},
	} {
		t.Run(fmt.Sprint(c.values, c.given), func(t *testing.T) {
			xattrs := map[string]string{}
			var values []xattrspace.Value
			for k, size := range c.values {
				name := []string{"ima", "evm"}[k]
				xattrs["security."+name] = strings.Repeat("00", size)
				values = append(values, xattrspace.Value{Name: name, Size: size})
			}
			line, err := json.Marshal(map[string]any{"path": "f", "xattrs": xattrs})
			if err != nil {
				t.Fatal(err)
			}
			write(t, manifest, "{\"manifest\":1}\n{\"path\":\"d\"}\n{\"path\":\"e\",\"xattrs\":{\"security.ima\":\"00\"}}\n"+string(line)+"\n")
			var got needs
			evaluate(t, "imasign-image", fmt.Sprintf("imasign_needs(%q, %q)", manifest, c.given), []string{"imasign_needs"}, &got)
			if got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			options := c.given + " " + got.Ext
			e := xattrspace.Ext{Block: 1024, Inode: 256, EAInode: strings.Contains(options, "ea_inode")}
			if strings.Contains(options, "-b 4096") {
				e.Block = 4096
			}
			if _, err := e.Place(e.New(), values...); err != nil {
				t.Errorf("with mkfs.ext4%s: %v", options, err)
			}
		})
	}
}

func TestKernelHasMLDSA(t *testing.T) {
	for version, want := range map[string]bool{"6.12.30+git": false, "7.1": false, "7.2": true, "7.2-rc3": true, "7.10.1": true, "8.0": true, "": false, "1.0+gitAUTOINC": false} {
		var got bool
		if evaluate(t, "imasign-kernel", fmt.Sprintf("imasign_kernel_has_mldsa(%q)", version), []string{"imasign_kernel_has_mldsa"}, &got); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}

// TestVersionOfSignatures checks the flags that IMASIGN_SIGNATURE and IMASIGN_KEY_FOR add.
func TestVersionOfSignatures(t *testing.T) {
	for variables, want := range map[string]string{
		`{}`:                          " | ",
		`{"IMASIGN_SIGNATURE": ""}`:   " | ",
		`{"IMASIGN_SIGNATURE": "v2"}`: "--signature v2 | ",
		`{"IMASIGN_SIGNATURE": "v3"}`: "--signature v3 | --signature v3",
		`{"IMASIGN_KEY_FOR": "v3"}`:   "--key-for v3 | --key-for v3",
		`{"IMASIGN_SIGNATURE": "v4"}`: "recipe: IMASIGN_SIGNATURE is v4: set it to nothing, v2 or v3",
		`{"IMASIGN_KEY_FOR": "any"}`:  "recipe: IMASIGN_KEY_FOR is any: set it to nothing or v3",
		`{"IMASIGN_SIGNATURE": "v3", "IMASIGN_KEY_FOR": "v3"}`: "--signature v3 --key-for v3 | --signature v3 --key-for v3",
	} {
		var got string
		evaluate(t, "imasign", `flags({**`+variables+`, "PN": "recipe"})`, []string{"imasign_one_of", "imasign_purpose", "imasign_version", "imasign_versions"}, &got)
		if got != want {
			t.Errorf("%s: %q, want %q", variables, got, want)
		}
	}
}
