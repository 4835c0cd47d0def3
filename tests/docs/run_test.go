package docs

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// setUp is the page that makes what the commands of every other page use.
const setUp = "docs/examples.md"

// maxNotRun is how many blocks may be marked.
const maxNotRun = 18

// TestCommands runs the commands of every page, and compares the output that a page shows.
func TestCommands(t *testing.T) {
	harness.Root(t)
	for _, tool := range []string{"bash", "busybox", "createrepo_c", "curl", "dracut", "evmctl", "fakeroot", "mksquashfs", "openssl", "pkcs11-tool", "pseudo", "rpmbuild", "setfattr", "softhsm2-util", "swtpm", "umoci"} {
		harness.Tool(t, tool)
	}
	all := pages(t)
	examples := newPage(t)
	examples.run(all[setUp])
	delete(all, setUp)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !slices.ContainsFunc(all[name], block.runs) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			p := newPage(t)
			harness.Must(t, "cp", "-a", examples.dir+"/.", p.dir)
			p.run(all[name])
		})
	}
}

// TestNotRun lists the blocks that do not run, and why.
func TestNotRun(t *testing.T) {
	all, marked := pages(t), 0
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, b := range all[name] {
			if b.notRun != "" {
				marked++
				t.Logf("%s is not run: %s", b, b.notRun)
			}
		}
	}
	if marked > maxNotRun {
		t.Errorf("%d blocks are not run, %d at most", marked, maxNotRun)
	}
}

// A page is a directory in which the blocks of one page run.
type page struct {
	*testing.T
	dir     string
	reports string // directory for what the script reports
}

func newPage(t *testing.T) *page {
	t.Helper()
	harness.NewSoftHSM(t)
	// Not t.TempDir: the path of a socket has 107 bytes at most.
	dir, err := os.MkdirTemp("", "page-*")
	if err != nil {
		t.Fatal(err)
	}
	p := &page{t, dir, t.TempDir()}
	t.Cleanup(func() {
		p.stop()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return p
}

// stop ends what a page started in the background, if its last command did not.
func (p *page) stop() {
	p.Helper()
	for _, name := range p.glob("*/pid") {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended meanwhile
		}
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}
}

// run runs the blocks in one shell, as a reader would in one terminal.
func (p *page) run(blocks []block) {
	p.Helper()
	var script strings.Builder
	sessions := map[int][]step{}
	fmt.Fprintf(&script, "set -eu -o pipefail\nbusybox ip link set lo up\n")
	for i, b := range blocks {
		if !b.runs() {
			continue
		}
		fmt.Fprintf(&script, "echo %d >%s\n", i, p.report("block"))
		if b.language == "sh" {
			script.WriteString(b.text)
			continue
		}
		steps, err := session(b)
		if err != nil {
			p.Error(err)
			continue
		}
		sessions[i] = steps
		script.WriteString("set +e; status_=0\n")
		for j, step := range steps {
			at := p.report(fmt.Sprintf("%d.%d", i, j))
			// The subshell hands the status of the last command to this one, which may ask for it.
			fmt.Fprintf(&script, "(exit $status_)\n{ %s\n} >%s 2>&1\nstatus_=$?; echo $status_ >%s.status\n", step.command, at, at)
		}
		script.WriteString("set -e\n")
	}
	cmd := exec.Command("bash", "-c", script.String())
	cmd.Dir = p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET} // pages use the default ports
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(harness.Program(p))+":"+os.Getenv("PATH"), "HOME="+p.dir, "LC_ALL=C.UTF-8",
		"IMASIGN_CACHE=auto", "XDG_CACHE_HOME="+filepath.Join(p.dir, ".cache"),
		"PSEUDO_PREFIX=/usr", "PSEUDO_LOCALSTATEDIR="+filepath.Join(p.reports, "pseudo"))
	r := harness.RunCommand(p, cmd)
	if r.Code != 0 {
		last, _ := strconv.Atoi(strings.TrimSpace(p.read("block")))
		p.Errorf("%s: exit %d\n%s%s%s", blocks[last], r.Code, blocks[last].text, r.Out, r.Err)
		return
	}
	for i, steps := range sessions {
		p.compare(blocks[i], steps, i)
	}
	p.secrets(r.Out + r.Err)
}

// secrets checks that a page's secrets are neither printed nor in files of a ceremony's
// directories.
func (p *page) secrets(output string) {
	p.Helper()
	for _, name := range p.glob("*.pin") {
		secret, err := os.ReadFile(name)
		if err != nil {
			p.Error(err)
		} else if strings.Contains(output, strings.TrimSpace(string(secret))) {
			p.Errorf("the PIN in %s was printed", name)
		}
		token := strings.TrimSuffix(filepath.Base(name), ".pin")
		if keys := p.glob(token + "/*.key"); len(keys) > 0 {
			p.Errorf("private keys outside of the token: %v", keys)
		}
	}
}

func (p *page) glob(pattern string) []string {
	p.Helper()
	names, err := filepath.Glob(filepath.Join(p.dir, pattern))
	if err != nil {
		p.Fatal(err)
	}
	return names
}

// compare compares the output of a session, and how its commands ended.
func (p *page) compare(b block, steps []step, number int) {
	p.Helper()
	for j, step := range steps {
		output := p.read(fmt.Sprintf("%d.%d", number, j))
		if !matches(step.output, output) {
			p.Errorf("%s: $ %s\nprints\n%sbut the page shows\n%s", b, step.command, output, strings.Join(step.output, "\n"))
		}
		status := strings.TrimSpace(p.read(fmt.Sprintf("%d.%d.status", number, j)))
		if status != "0" && (j+1 == len(steps) || steps[j+1].command != "echo $?") {
			p.Errorf("%s: $ %s\nexits with %s: show it with $ echo $?", b, step.command, status)
		}
	}
}

func (p *page) report(name string) string { return filepath.Join(p.reports, name) }

func (p *page) read(name string) string {
	p.Helper()
	text, err := os.ReadFile(p.report(name))
	if err != nil {
		p.Fatal(err)
	}
	return string(text)
}

// TestBlocks checks what is in blocks that are not commands.
func TestBlocks(t *testing.T) {
	layer := layerNames(t)
	for _, blocks := range pages(t) {
		for _, b := range blocks {
			switch b.language {
			case "text":
				if m := regexp.MustCompile(`(?m)^(\$ |# )?(imasign-build|make|sudo|cd) .*|^\$ .*`).FindString(b.text); m != "" {
					t.Errorf("%s: a command in a block of text: %s", b, m)
				}
			case "json":
				for line := range strings.Lines(b.text) {
					if !json.Valid([]byte(line)) {
						t.Errorf("%s: not JSON: %s", b, line)
					}
				}
			case "bitbake":
				for _, name := range regexp.MustCompile(`IMASIGN_[A-Z0-9_]+|(?:packagegroup-)?imasign(?:-[a-z]+)*`).FindAllString(b.text, -1) {
					if !layer[name] {
						t.Errorf("%s: the layer has no %s", b, name)
					}
				}
			}
		}
	}
}

// layerNames returns the variables, classes and recipes of the BitBake layer.
func layerNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{"imasign": true}
	variable := regexp.MustCompile(`(?m)^(IMASIGN_[A-Z0-9_]+)[ \[:?+=]`)
	for _, dir := range []string{"classes", "conf", "recipes"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			stem, _, _ := strings.Cut(strings.TrimSuffix(entry.Name(), filepath.Ext(path)), "_")
			names[stem], names[stem+"-native"] = true, true
			text, err := os.ReadFile(path)
			for _, m := range variable.FindAllStringSubmatch(string(text), -1) {
				names[m[1]] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}
