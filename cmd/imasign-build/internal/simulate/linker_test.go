package simulate

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSimulateFindsWhatALoaderFinds compares the loader and libraries of a real program
// with the output of ldd.
func TestSimulateFindsWhatALoaderFinds(t *testing.T) {
	out, err := exec.Command("ldd", "/bin/bash").Output()
	if err != nil {
		t.Fatalf("ldd: %v", err)
	}
	d := newDevice(t)
	copied := []string{"/bin/bash"}
	for _, word := range strings.Fields(string(out)) {
		if strings.HasPrefix(word, "/") {
			copied = append(copied, word)
		}
	}
	if len(copied) < 3 {
		t.Fatalf("ldd: %s", out)
	}
	var want []string
	for _, path := range copied {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if path == "/bin/bash" {
			path = "usr/bin/bash"
		}
		d.file(path, string(content), 0o755, "")
		want = append(want, strings.TrimPrefix(path, "/"))
	}
	for link, target := range map[string]string{"bin": "usr/bin", "sbin": "/bin", "usr/bin/init": "/bin/bash"} {
		if err := os.Symlink(target, filepath.Join(d.dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	d.file("usr/bin/unused", "#!/no/such/interpreter\n", 0o755, "")
	d.file("usr/lib/libunused.so", "\x7fELF", 0o755, "")
	slices.Sort(want)
	program, err := os.Open("/bin/bash")
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if k, err := kindOf(program, &Node{Path: "bin/bash", Mode: 0o755}); err != nil || !slices.Contains(copied, k.interp) {
		t.Errorf("loaded by %q (%v), ldd says %q", k.interp, err, copied)
	}
	result := d.run(Device{}, "appraise func=MMAP_CHECK"+imasig)
	var boot []string
	for _, v := range result.Refused {
		if v.Boot {
			boot = append(boot, v.Path)
			if (v.NeededBy == "") != (v.Path == "usr/bin/bash") {
				t.Errorf("%s is needed by %q", v.Path, v.NeededBy)
			}
		}
	}
	if !slices.Equal(boot, want) {
		t.Errorf("to boot: %q, ldd says %q", boot, want)
	}
	if !slices.ContainsFunc(result.Unknown, func(s string) bool { return strings.HasPrefix(s, "/no/such/interpreter") }) {
		t.Errorf("%q", result.Unknown)
	}
}

func TestRunpath(t *testing.T) {
	shared := func(path string) *subject {
		return &subject{node: Node{Path: path, Mode: 0o644}, kind: kind{mapped: true}}
	}
	program := &subject{node: Node{Path: "opt/p/bin/x", Mode: 0o755}, kind: kind{mapped: true, needed: []string{"liba.so"}}}
	own, other := shared("opt/p/lib/liba.so"), shared("usr/lib/liba.so")
	l := newLinker([]*subject{program, own, other})
	for runpath, want := range map[string][]*subject{
		"$ORIGIN/../lib": {own}, "${ORIGIN}/../lib": {own}, "/usr/lib": {other}, "/nowhere": {own, other}, "": {own, other},
	} {
		program.kind.runpath = []string{runpath}
		if got := l.loads(program); !slices.Equal(got, want) {
			t.Errorf("%q: %v", runpath, got)
		}
	}
}
