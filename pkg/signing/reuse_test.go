package signing_test

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

// withEVM returns an engine whose two keys make random signatures.
func withEVM(t *testing.T, content, metadata key, v3 bool) (*signing.Engine, *countingSigner) {
	t.Helper()
	s := &countingSigner{Signer: content.signer()}
	if !v3 {
		s.Signer = content.random()
	}
	first := signing.ContentStage(&signing.Key{Signer: s, Public: content.public}, 0)
	if v3 {
		first = first.V3()
	}
	second := &countingSigner{Signer: metadata.random()}
	return engine(t, signing.Options{Stages: []signing.Stage{first,
		signing.PortableStage(&signing.Key{Signer: second, Public: metadata.public}, ima.SHA512, func() ima.EVMTarget { return ima.EVMTarget{} }),
	}}), second
}

// everyKind are entries of which a manifest states different things.
func everyKind() (list []signing.Entry) {
	for i := range 200 {
		e := file(fmt.Sprintf("f%03d", i), fmt.Sprint("content ", i%150))
		e.UID, e.GID = uint32(i), uint32(1<<31+i)
		if i%2 == 0 {
			e.Xattrs = map[string][]byte{"security.selinux": []byte("label\x00"), "security.capability": {1, 0, 0, 2}, "security.odd": {1}}
		}
		switch i % 10 {
		case 1:
			e.HashOnly = true
		case 2:
			params := manifest.Verity{BlockSize: 1024, Salt: []byte("salt")}
			e.Verity = &params
		}
		list = append(list, e)
	}
	return append(append(list, linked(10)...), signing.Entry{Path: "z", Mode: 0o755, Reason: "excluded"})
}

func values(t *testing.T, p *signing.Plan) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, r := range records(t, p) {
		for name, value := range r.ByXattr() {
			all[r.Path+" "+name] = string(value)
		}
	}
	return all
}

// TestReuse signs as a manifest of an earlier run says, although both keys make random
// signatures, and makes only what has changed.
func TestReuse(t *testing.T) {
	for version, v3 := range map[string]bool{"version 2": false, "version 3": true} {
		content, metadata := newKey(t), newKey(t)
		if v3 {
			content = content.purposed(t, ima.ForV3)
		}
		list := everyKind()
		if !v3 {
			for i := range list {
				list[i].Verity = nil
			}
		}
		e, _ := withEVM(t, content, metadata, v3)
		p := plan(t, e, list...)
		m, want := text(t, p, manifest.Archive), values(t, p)
		e, made := withEVM(t, content, metadata, v3)
		n, err := e.Reuse(manifestLines(t, m))
		check(t, err)
		p = plan(t, e, list...)
		if got := values(t, p); !maps.Equal(got, want) {
			t.Errorf("%s: other values", version)
		}
		// The manifest has the signatures of each name of a link, and of files that HashOnly leaves
		// without a signature in security.ima, but not in security.evm.
		if c := p.Counts(); made.digests.Load() != 0 || c.Cached != c.Signed || c.Signed != 210 || n != 2*220-20 {
			t.Errorf("%s: %d signatures made, %d read, %+v", version, made.digests.Load(), n, c)
		}
		list[0].Mode, list[4].Xattrs, list[6] = 0o700, map[string][]byte{"security.selinux": []byte("other")}, file("f006", "changed")
		if p = plan(t, e, list...); made.digests.Load() != 3 || p.Counts().Cached != 207 {
			t.Errorf("%s: %d signatures made for changes, %+v", version, made.digests.Load(), p.Counts())
		}
	}
}

// TestReuseOfBadManifests has lines of which nothing may be taken, and some that can be.
func TestReuseOfBadManifests(t *testing.T) {
	k, other := newKey(t), newKey(t)
	good := k.value(t, ima.SHA256, "x")
	verity := lineOf("f", "x", good)
	verity.Verity = &manifest.Verity{BlockSize: 4096}
	evm := lineOf("f", "x", nil)
	evm.Xattrs = map[string][]byte{ima.XattrEVM: good}
	none := lineOf("f", "x", good)
	none.Digest = nil
	wrong := func(n int) (lines []manifest.Line) {
		for i := range n {
			lines = append(lines, lineOf("f", "x", k.value(t, ima.SHA256, fmt.Sprint("wrong ", i))))
		}
		return lines
	}
	for name, c := range map[string]struct {
		lines []manifest.Line
		read  int64
		used  bool
	}{
		"nothing":                  {nil, 0, false},
		"the signature":            {[]manifest.Line{lineOf("elsewhere", "x", good)}, 1, true},
		"twice":                    {[]manifest.Line{lineOf("f", "x", good), lineOf("f", "x", good)}, 2, true},
		"no values":                {[]manifest.Line{lineOf("f", "x", nil)}, 0, false},
		"garbage":                  {[]manifest.Line{lineOf("f", "x", []byte("garbage"))}, 0, false},
		"only a header":            {[]manifest.Line{lineOf("f", "x", good[:9])}, 0, false},
		"a digest":                 {[]manifest.Line{lineOf("f", "x", ima.DigestValue(ima.SHA256, sum(ima.SHA256, "x")))}, 0, false},
		"version 1":                {[]manifest.Line{lineOf("f", "x", version1())}, 0, false},
		"another key's":            {[]manifest.Line{lineOf("f", "x", other.value(t, ima.SHA256, "x"))}, 0, false},
		"another key's, same id":   {[]manifest.Line{lineOf("f", "x", withID(k, other.value(t, ima.SHA256, "x")))}, 1, false},
		"of another content":       {[]manifest.Line{lineOf("f", "x", k.value(t, ima.SHA256, "y"))}, 1, false},
		"of another version":       {[]manifest.Line{lineOf("f", "x", k.made(t, ima.ContentSignature().V3(), sum(ima.SHA256, "x")))}, 1, false},
		"over another hash":        {[]manifest.Line{lineOf("f", "x", k.value(t, ima.SHA512, "x"))}, 0, false},
		"of an fs-verity digest":   {[]manifest.Line{verity}, 0, false},
		"in another xattr":         {[]manifest.Line{evm}, 0, false},
		"without a digest":         {[]manifest.Line{none}, 0, false},
		"a wrong one, then a good": {[]manifest.Line{lineOf("f", "x", k.value(t, ima.SHA256, "y")), lineOf("g", "x", good)}, 2, true},
		"most wrong":               {append(wrong(7), lineOf("g", "x", good)), 8, true},
		"too many wrong":           {append(wrong(8), lineOf("g", "x", good)), 9, false},
		"one wrong many times":     {append(slices.Concat(wrong(2), wrong(2), wrong(2), wrong(2), wrong(2)), lineOf("g", "x", good)), 11, true},
	} {
		e, s := k.cachedEngine(t)
		n, err := e.Reuse(seq(c.lines, nil))
		check(t, err)
		p := plan(t, e, file("f", "x"))
		value := k.valid(t, p)["f"]
		if n != c.read || (value == string(good)) != c.used || (s.digests.Load() == 0) != c.used || (p.Counts().Cached == 1) != c.used {
			t.Errorf("%s: %d read, %d made, %+v", name, n, s.digests.Load(), p.Counts())
		}
	}
	e, _ := k.cachedEngine(t)
	if n, err := e.Reuse(seq([]manifest.Line{lineOf("f", "x", good)}, errBroken)); n != 1 || !errors.Is(err, errBroken) {
		t.Errorf("broken lines: %d, %v", n, err)
	}
}

// TestReuseWarnsOnce checks the warning of signatures that are not valid.
func TestReuseWarnsOnce(t *testing.T) {
	k, warned := newKey(t), []string{}
	e := k.engine(t, signing.Options{
		Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: k.random(), Public: k.public}, 0)},
		Observe: signing.NewObserver(func(e signing.Event) {
			if e.Kind == signing.Warning {
				warned = append(warned, e.Message)
			}
		}),
	})
	_, err := e.Reuse(seq([]manifest.Line{lineOf("f", "x", k.value(t, ima.SHA256, "z")), lineOf("g", "y", k.value(t, ima.SHA256, "z")), lineOf("h", "z", k.value(t, ima.SHA256, "z"))}, nil))
	check(t, err)
	k.valid(t, plan(t, e, file("f", "x"), file("h", "z")))
	k.valid(t, plan(t, e, file("g", "y")))
	if len(warned) != 1 || !strings.Contains(warned[0], "manifest of an earlier run") {
		t.Errorf("%q", warned)
	}
}

func seq(lines []manifest.Line, err error) iter.Seq2[manifest.Line, error] {
	return func(yield func(manifest.Line, error) bool) {
		for _, l := range lines {
			if !yield(l, nil) {
				return
			}
		}
		if err != nil {
			yield(manifest.Line{}, err)
		}
	}
}

// TestReuseBeforeCaches checks the order, and that a manifest's signatures end up in a cache that
// has none of the same digest, but not those that are not valid.
func TestReuseBeforeCaches(t *testing.T) {
	k, c := newKey(t), newCache()
	e, _ := k.cachedEngine(t, c)
	inCache := k.valid(t, plan(t, e, file("a", "a"), file("b", "b"), file("c", "c")))
	e, s := k.cachedEngine(t, c)
	_, err := e.Reuse(seq([]manifest.Line{lineOf("a", "a", k.value(t, ima.SHA256, "a")), lineOf("b", "b", k.value(t, ima.SHA256, "x"))}, nil))
	check(t, err)
	_, err = e.Reuse(seq([]manifest.Line{lineOf("d", "d", k.value(t, ima.SHA256, "d"))}, nil))
	check(t, err)
	got := k.valid(t, plan(t, e, file("a", "a"), file("b", "b"), file("c", "c"), file("d", "d")))
	want := map[string]string{
		"a": string(k.value(t, ima.SHA256, "a")), "b": inCache["b"], "c": inCache["c"], "d": string(k.value(t, ima.SHA256, "d")),
	}
	if !maps.Equal(got, want) || s.digests.Load() != 0 || c.refused != 0 || c.size() != 4 {
		t.Errorf("%d made, %d refused, the cache has %d", s.digests.Load(), c.refused, c.size())
	}
	want["a"] = inCache["a"]
	e, s = k.cachedEngine(t, c)
	if got := k.valid(t, plan(t, e, file("a", "a"), file("b", "b"), file("c", "c"), file("d", "d"))); !maps.Equal(got, want) || s.digests.Load() != 0 {
		t.Errorf("then %d made: the cache keeps what it has, and what the manifest had of others", s.digests.Load())
	}
}

// TestReuseOfALargeManifest reads 200,000 signatures, which must not stay in memory, and uses
// some of each part of the file that has them.
func TestReuseOfALargeManifest(t *testing.T) {
	const n = 200_000
	k := bare(t, newRSA(t))
	e, s := k.cachedEngineOf(t, t.TempDir())
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	good := map[int][]byte{}
	for i := 0; i < n; i += n / 20 {
		good[i] = k.value(t, ima.SHA256, fmt.Sprint(i))
	}
	good[n-1] = k.value(t, ima.SHA256, fmt.Sprint(n-1))
	filler := k.value(t, ima.SHA256, "filler")
	read, err := e.Reuse(func(yield func(manifest.Line, error) bool) {
		for i := range n {
			value := filler
			if good[i] != nil {
				value = good[i]
			}
			if !yield(lineOf(fmt.Sprint(i), fmt.Sprint(i), value), nil) {
				return
			}
		}
	})
	check(t, err)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); read != n || grown > 24<<20 {
		t.Errorf("%d read, %d bytes of memory", read, grown)
	}
	var list []signing.Entry
	for i := range good {
		list = append(list, file(fmt.Sprint(i), fmt.Sprint(i)))
	}
	for path, value := range k.valid(t, plan(t, e, list...)) {
		var i int
		_, err := fmt.Sscan(path, &i)
		check(t, err)
		if !bytes.Equal([]byte(value), good[i]) {
			t.Errorf("%s has another signature", path)
		}
	}
	if s.digests.Load() != 0 {
		t.Errorf("%d signatures were made", s.digests.Load())
	}
}

// cachedEngineOf returns an engine with a directory for its spools, and its signer.
func (k key) cachedEngineOf(t *testing.T, dir string) (*signing.Engine, *countingSigner) {
	t.Helper()
	s := &countingSigner{Signer: k.signer()}
	return k.engine(t, signing.Options{SpoolDir: dir, Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: s}, 0)}}), s
}

// TestReuseWithoutSpace fills the file system that has the signatures of a manifest.
func TestReuseWithoutSpace(t *testing.T) {
	k := newKey(t)
	for dir, want := range map[string]string{smallFileSystem(t): "no space left on device", "/nowhere/at/all": "no such file or directory"} {
		e, _ := k.cachedEngineOf(t, dir)
		_, err := e.Reuse(endlessLines(k.value(t, ima.SHA256, "x")))
		if err == nil || !strings.Contains(err.Error(), "keep the signatures of a manifest: spool the plan in "+dir) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	t.Setenv("TMPDIR", "/nowhere/at/all")
	e, _ := k.cachedEngineOf(t, "")
	if _, err := e.Reuse(endlessLines(k.value(t, ima.SHA256, "x"))); !errors.Is(err, signing.ErrSpool) {
		t.Errorf("the system's directory: %v", err)
	}
}

func endlessLines(value []byte) iter.Seq2[manifest.Line, error] {
	return func(yield func(manifest.Line, error) bool) {
		for i := 0; yield(lineOf("f", fmt.Sprint(i), value), nil); i++ {
		}
	}
}
