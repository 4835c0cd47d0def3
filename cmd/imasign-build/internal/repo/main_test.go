package repo

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/rpmfiles"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

func TestMain(m *testing.M) {
	if asChild() {
		return
	}
	harness.Main(m, packages.Remove, removeMade)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var key = sync.OnceValue(func() crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// signer signs with the tests' key.
func signer() (*loop, error) {
	public, err := ima.BareKey(key().Public())
	if err != nil {
		return nil, err
	}
	e, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(key()), public), Public: public}, 0)}})
	if err != nil {
		return nil, err
	}
	return &loop{Options: rpmsign.Options{Share: true}, Plan: e.Plan}, nil
}

// strip strips a repository.
func strip(t testing.TB, o Options) {
	t.Helper()
	e, err := signing.New(signing.Options{})
	check(t, err)
	mustRun(t, o, &loop{Options: rpmsign.Options{Share: true}, Plan: e.Strip})
}

// warnings collects the warnings of a run.
type warnings struct {
	mu   sync.Mutex
	list []string
}

func (w *warnings) observe(e signing.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, fmt.Sprintf("%+v", e))
}

func (w *warnings) have(text string) bool {
	return slices.ContainsFunc(w.list, func(s string) bool { return strings.Contains(s, text) })
}

// run signs a repository, or does what a loop does.
func run(t testing.TB, o Options, by ...*loop) (results []result, w *warnings, _ error) {
	t.Helper()
	s, err := signer()
	check(t, err)
	if len(by) > 0 {
		s = by[0]
	}
	w = &warnings{}
	o.Observe, o.Jobs = signing.NewObserver(w.observe), 2
	_, err = sign(t.Context(), s, o, func(r result) error {
		results = append(results, r)
		return nil
	})
	return results, w, err
}

func mustRun(t testing.TB, o Options, by ...*loop) []result {
	t.Helper()
	results, _, err := run(t, o, by...)
	for _, r := range results {
		if r.Err != nil {
			t.Error(r.Err)
		}
	}
	check(t, err)
	return results
}

// repository copies a repository of real packages, with groups, modules and updateinfo, other
// files and links. It returns its path and a free path beside it.
func repository(t testing.TB) (dir, out string) {
	t.Helper()
	harness.Tool(t, "createrepo_c")
	top := t.TempDir()
	dir = filepath.Join(top, "repo")
	made.Do(func() { makeRepository(t) })
	if made.dir == "" {
		t.Fatal("the repository of the tests was not made")
	}
	command(t, "cp", "-a", made.dir, dir)
	return dir, filepath.Join(top, "signed")
}

// made is the repository that tests copy.
var made struct {
	sync.Once

	dir string
}

func makeRepository(t testing.TB) {
	t.Helper()
	top, err := os.MkdirTemp("", "repo-test-*")
	check(t, err)
	dir := filepath.Join(top, "repo")
	for _, sub := range []string{"Packages/i", "images"} {
		check(t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	for _, name := range []string{"zstd", "rich", "empty", "no-reserve"} {
		packages.Copy(t, name, filepath.Join(dir, "Packages/i"))
	}
	packages.Copy(t, "source", dir)
	write(t, filepath.Join(dir, "images/boot.img"), "image")
	write(t, filepath.Join(dir, "README"), "read me")
	check(t, os.Symlink("README", filepath.Join(dir, "LIESMICH")))
	packages.CreateRepo(t, dir, "--general-compress-type=gz", "--content=test", "--repo=first", "--distro=cpe:/o:test,Test OS")
	for kind, text := range map[string]string{"group": comps, "modules": modules, "updateinfo": updateinfo} {
		addMetadata(t, dir, kind, text)
	}
	made.dir = dir
}

func removeMade() error {
	if made.dir == "" {
		return nil
	}
	return os.RemoveAll(filepath.Dir(made.dir))
}

const (
	comps      = `<?xml version="1.0"?><comps><group><id>core</id><name>Core</name><packagelist><packagereq type="mandatory">imatest-zstd</packagereq></packagelist></group></comps>`
	modules    = "---\ndocument: modulemd\nversion: 2\ndata:\n  name: m\n  stream: s\n"
	updateinfo = `<?xml version="1.0"?><updates><update type="security"><id>TEST-1</id><title>t</title></update></updates>`
)

func write(t testing.TB, path, text string) {
	t.Helper()
	check(t, os.WriteFile(path, []byte(text), 0o644))
}

func command(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// snapshot describes everything below dir: type, mode, owner, mtime, content.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		text := fmt.Sprint(info.Mode(), info.ModTime(), info.Sys().(*syscall.Stat_t).Uid, info.Sys().(*syscall.Stat_t).Ino)
		switch {
		case info.Mode().IsRegular():
			text += sum(t, path)
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			check(t, err)
			text += to
		}
		rel, err := filepath.Rel(dir, path)
		all[rel] = text
		return err
	}))
	return all
}

func sum(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// same checks that nothing below dir changed.
func same(t testing.TB, dir string, before map[string]string) {
	t.Helper()
	now := snapshot(t, dir)
	for path := range before {
		if now[path] != before[path] {
			t.Errorf("%s: %s changed: %s, was %s", dir, path, now[path], before[path])
		}
	}
	if len(now) != len(before) {
		t.Errorf("%s has %d entries, had %d", dir, len(now), len(before))
	}
}

// primary is what primary.xml says about the packages.
type primary struct {
	Packages []struct {
		Name     string `xml:"name"`
		Checksum string `xml:"checksum"`
		Location struct {
			Href string `xml:"href,attr"`
		} `xml:"location"`
		Size struct {
			Package int64 `xml:"package,attr"`
		} `xml:"size"`
		Time struct {
			File int64 `xml:"file,attr"`
		} `xml:"time"`
	} `xml:"package"`
}

// agree checks that the metadata of a repository describes its packages, and returns their
// locations.
func agree(t testing.TB, dir string) (listed map[string]bool) {
	t.Helper()
	r, err := readRepomd(dir)
	check(t, err)
	f, err := os.Open(filepath.Join(dir, r.find("primary").Location.Href))
	check(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	check(t, err)
	text, err := io.ReadAll(z)
	check(t, err)
	var p primary
	check(t, xml.Unmarshal(text, &p))
	met := map[string]bool{}
	listed = map[string]bool{}
	for _, q := range p.Packages {
		path := filepath.Join(dir, q.Location.Href)
		listed[q.Location.Href] = true
		info, err := os.Stat(path)
		check(t, err)
		if met[path] = true; q.Checksum != sum(t, path) || q.Size.Package != info.Size() || q.Time.File != info.ModTime().Unix() {
			t.Errorf("%s: metadata say %+v", path, q)
		}
	}
	for _, u := range units(t, dir) {
		if !met[u.Path] {
			t.Errorf("%s is not in the metadata", u.Path)
		}
	}
	return listed
}

func units(t testing.TB, dir string) []rpmfiles.Unit {
	t.Helper()
	list, err := rpmfiles.Find([]string{dir}, "")
	check(t, err)
	return list
}

// signed checks that a repository's metadata agrees with its packages, and that every file of
// every package has a valid signature.
func signed(t testing.TB, dir string) (listed map[string]bool) {
	t.Helper()
	listed = agree(t, dir)
	public, err := ima.BareKey(key().Public())
	check(t, err)
	for _, u := range units(t, dir) {
		p, err := rpmsign.Open(u.Path, rpmsign.Options{})
		check(t, err)
		check(t, p.Check(t.Context(), rpmsign.CheckFiles))
		if info := p.Info(); !p.Source() && (info.Signed != info.Digests || len(p.Defects()) > 0) {
			t.Errorf("%s: %+v", u.Path, info)
		}
		for entry, err := range p.Entries(t.Context()) {
			check(t, err)
			if value := entry.Xattrs[ima.XattrIMA]; value != nil {
				_, err := ima.NewKeyring(public).Verify(value, ima.Statement{Form: ima.ContentSignature(), Hash: entry.Digests[0].Hash, Digest: entry.Digests[0].Sum})
				check(t, err)
			}
		}
		check(t, p.Close())
	}
	return listed
}

// kinds returns the types of a repository's metadata.
func kinds(t testing.TB, dir string) []string {
	t.Helper()
	r, err := readRepomd(dir)
	check(t, err)
	set := map[string]bool{}
	for _, m := range r.Data {
		set[m.Type] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// alone checks that only names are beside a repository.
func alone(t testing.TB, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(dir))
	check(t, err)
	var there []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".xml") {
			there = append(there, e.Name())
		}
	}
	if slices.Sort(names); !slices.Equal(there, names) {
		t.Errorf("beside %s are %q, want %q", dir, there, names)
	}
}

var errStop = errors.New("stop")
