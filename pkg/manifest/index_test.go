package manifest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

func index(t testing.TB, text []byte) *manifest.Index {
	t.Helper()
	x, err := manifest.NewIndex(bytes.NewReader(text), int64(len(text)))
	check(t, err)
	return x
}

func TestIndexFindsEveryEntry(t *testing.T) {
	want := full()
	x := index(t, render(t, want))
	if !reflect.DeepEqual(x.Header, want.header) {
		t.Errorf("header %+v", x.Header)
	}
	if got := x.Paths(); !slices.Equal(got, []string{want.lines[0].Path, "\xff\xfe", "\xff\xff", "\xff\xff1", "\xff\xff2", "\xff\xff3"}) {
		t.Errorf("paths %q", got)
	}
	for i, l := range want.lines {
		got, ok, err := x.Find(l.Path, 0)
		check(t, err)
		if !ok || !reflect.DeepEqual(got, l) {
			t.Errorf("found %v %+v, want %+v", ok, got, l)
		}
		if x.Attaches(l.Path, 0) != (i == 0) || x.Count(l.Path) != 1 {
			t.Errorf("%q: Attaches %v, Count %d", l.Path, x.Attaches(l.Path, 0), x.Count(l.Path))
		}
	}
	for _, n := range []int{-1, 1} {
		if _, ok, err := x.Find("\xff\xfe", n); ok || err != nil {
			t.Errorf("entry %d: %v, %v", n, ok, err)
		}
	}
	if _, ok, err := x.Find("nowhere", 0); ok || err != nil || x.Count("nowhere") != 0 || x.Attaches("nowhere", 0) {
		t.Errorf("path that is not listed: %v, %v", ok, err)
	}
}

// TestIndexOfRepeatedPaths indexes a tar in which a path repeats.
func TestIndexOfRepeatedPaths(t *testing.T) {
	lines := []manifest.Line{
		{Path: "a", Kind: "file", Size: 1},
		{Path: "a", Kind: "file", Size: 2, Xattrs: map[string][]byte{ima.XattrIMA: {3}}},
		{Path: "a", Kind: "file", Size: 3},
		{Path: "b", Kind: "file"},
	}
	x := index(t, render(t, container{manifest.Header{Container: "tar"}, lines}))
	if !slices.Equal(x.Paths(), []string{"a", "b"}) || x.Count("a") != 3 {
		t.Errorf("paths %q, a %d times", x.Paths(), x.Count("a"))
	}
	for n := range 3 {
		got, ok, err := x.Find("a", n)
		check(t, err)
		if !ok || got.Size != int64(n+1) || x.Attaches("a", n) != (n == 1) {
			t.Errorf("entry %d: %v %+v", n, ok, got)
		}
	}
}

func TestIndexRefuses(t *testing.T) {
	for want, text := range map[string]string{
		"it is empty":             "",
		"more than one container": entries(0) + entries(0),
		"cut short":               entries(2, lineA),
		`"a" appears twice`:       entries(2, lineA, lineA),
		"more entries":            entries(0, lineA),
		"line 3":                  entries(1, lineA) + `{"imasign_manifest":2}` + "\n",
	} {
		_, err := manifest.NewIndex(strings.NewReader(text), int64(len(text)))
		if !errors.Is(err, manifest.ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

func TestIndexNoticesAChangedFile(t *testing.T) {
	text := []byte(entries(2, lineA, lineB))
	x := index(t, text)
	copy(text, bytes.Replace(text, []byte(`"a"`), []byte(`"c"`), 1))
	if _, _, err := x.Find("a", 0); !errors.Is(err, manifest.ErrFormat) || !strings.Contains(err.Error(), "changed while") {
		t.Errorf("got %v", err)
	}
	file := strings.NewReader(entries(1, lineA))
	y, err := manifest.NewIndex(file, file.Size())
	check(t, err)
	file.Reset("")
	if _, _, err := y.Find("a", 0); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}

func packages(n int) (all []container) {
	for i := range n {
		c := container{header: manifest.Header{Container: "rpm", Name: fmt.Sprintf("p%d.rpm", i), KeyID: ima.KeyID(i)}}
		for j := range i {
			c.lines = append(c.lines, manifest.Line{Path: fmt.Sprintf("f%d", j), Kind: "file", Size: int64(i)})
		}
		all = append(all, c)
	}
	return all
}

func TestCatalogFindsEveryContainer(t *testing.T) {
	all := packages(5)
	text := render(t, all...)
	c, err := manifest.NewCatalog(bytes.NewReader(text), int64(len(text)))
	check(t, err)
	if len(c.Headers()) != 5 || c.Headers()[3].Name != "p3.rpm" {
		t.Fatalf("headers %+v", c.Headers())
	}
	var wg sync.WaitGroup
	for i := range all { // concurrently
		wg.Go(func() {
			x, err := c.Index(all[i].header.Name)
			if err != nil {
				t.Error(err)
				return
			}
			if x.Header.KeyID != all[i].header.KeyID || len(x.Paths()) != i {
				t.Errorf("container %d: %+v, %q", i, x.Header, x.Paths())
			}
			for _, l := range all[i].lines {
				if got, ok, err := x.Find(l.Path, 0); err != nil || !ok || !reflect.DeepEqual(got, l) {
					t.Errorf("container %d, %s: %v %v %+v", i, l.Path, err, ok, got)
				}
			}
		})
	}
	wg.Wait()
	if _, err := c.Index("p5.rpm"); !errors.Is(err, manifest.ErrNotListed) || !strings.Contains(err.Error(), `"p5.rpm"`) {
		t.Errorf("got %v", err)
	}
}

func TestCatalogRefuses(t *testing.T) {
	p := strings.Replace(entries(1, lineA), `"tree"`, `"rpm","name":"p"`, 1)
	for want, text := range map[string]string{
		"it is empty": "",
		`line 3: not a valid manifest: a second container has the name "p"`: p + p,
		"cut short": entries(0) + strings.Replace(p, `"entries":1`, `"entries":2`, 1),
	} {
		_, err := manifest.NewCatalog(strings.NewReader(text), int64(len(text)))
		if !errors.Is(err, manifest.ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
	file := []byte(p)
	c, err := manifest.NewCatalog(bytes.NewReader(file), int64(len(file)))
	check(t, err)
	copy(file, bytes.Replace(file, []byte(`"p"`), []byte(`"q"`), 1))
	if _, err := c.Index("p"); !errors.Is(err, manifest.ErrFormat) {
		t.Errorf("a changed file: got %v", err)
	}
}
