package rpmsign

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// TestHeaderDigests compares the digests of a header with those of its package, for every
// package of the vectors.
func TestHeaderDigests(t *testing.T) {
	files, err := filepath.Glob(vectors + "v*/*.rpm")
	check(t, err)
	read := 0
	for _, file := range files {
		p := mustParse(t, content(t, file))
		h, digests, built, err := HeaderDigests(p.main.raw)
		name := filepath.Base(file)
		switch {
		case strings.HasPrefix(name, "md5."), strings.HasPrefix(name, "sha1."):
			wantError(t, name, err, ErrWeakDigest)
			continue
		case strings.HasPrefix(name, "source."):
			wantError(t, name, err, ErrSource)
			continue
		case err != nil:
			t.Errorf("%s: %v", name, err)
			continue
		}
		read++
		var want [][]byte
		for _, f := range p.files {
			if f.Digest != nil {
				want = append(want, f.Digest)
			}
		}
		if h != p.hash() || !bytes.Equal(bytes.Join(digests, nil), bytes.Join(want, nil)) || built.Unix() != 1700000000 {
			t.Errorf("%s: %s, %x, built at %s", name, h, digests, built)
		}
	}
	if read < 20 {
		t.Errorf("only %d headers were read", read)
	}
}

func wantError(t *testing.T, name string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", name, err, want)
	}
}

func headerOf(t testing.TB, name string) []packages.Tag {
	t.Helper()
	f, err := packages.Read(vectors + name)
	check(t, err)
	return f.Header
}

func TestHeaderDigestsRefuses(t *testing.T) {
	tags := func() []packages.Tag { return headerOf(t, "v4/sha256.rpm") }
	compose := func(tags []packages.Tag) []byte { return packages.Compose(packages.TagImmutable, tags) }
	find := func(tag tagNumber) packages.Tag {
		found, ok := packages.Find(tags(), uint32(tag))
		if !ok {
			t.Fatalf("no tag %d", tag)
		}
		return found
	}
	algorithm, built, digests := find(tagFileDigestAlgo), find(tagBuildTime), find(tagFileDigests)
	two := algorithm
	two.Count, two.Data = 2, append(bytes.Clone(two.Data), two.Data...)
	short := algorithm
	short.Type, short.Data = packages.TypeInt16, []byte{0, 8}
	number := digests
	number.Type, number.Count, number.Data = packages.TypeBinary, uint32(len(digests.Data)), digests.Data
	fewer := digests
	fewer.Count, fewer.Data = 1, digests.Data[:65]
	replace := func(tag packages.Tag) []byte {
		return compose(packages.Insert(packages.Without(tags(), tag.Tag), tag))
	}
	plain := compose(tags())
	if _, _, _, err := HeaderDigests(plain); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		header []byte
		err    error
		words  string
	}{
		"no region":           {packages.Compose(0, tags()), ErrMalformed, "no immutable region"},
		"another region":      {packages.Compose(packages.TagSignatures, tags()), ErrMalformed, ""},
		"digests twice":       {compose(packages.Insert(tags(), digests)), ErrMalformed, "tag 1035 is in it twice"},
		"build time twice":    {compose(packages.Insert(tags(), built)), ErrMalformed, "tag 1006 is in it twice"},
		"no build time":       {compose(packages.Without(tags(), built.Tag)), ErrMalformed, "when the package was built"},
		"two algorithms":      {replace(two), ErrMalformed, "tag 5011 has type 4 and 2 items"},
		"a short algorithm":   {replace(short), ErrMalformed, "tag 5011 has type 3"},
		"no algorithm":        {compose(packages.Without(tags(), algorithm.Tag)), ErrMalformed, "not a md5 digest"},
		"digests as bytes":    {replace(number), ErrMalformed, ""},
		"fewer digests":       {replace(fewer), ErrMalformed, "with 1 digests"},
		"source":              {compose(packages.Without(tags(), uint32(tagSourceRPM))), ErrSource, ""},
		"a dribble":           {dribble(t, plain), ErrMalformed, "its immutable region covers"},
		"data after it":       {append(bytes.Clone(plain), 0), ErrMalformed, ""},
		"cut":                 {plain[:len(plain)-1], ErrMalformed, ""},
		"a whole package":     {content(t, vectors+"v4/sha256.rpm"), ErrMalformed, "magic"},
		"a signature header":  {mustParse(t, content(t, vectors+"v4/sha256.rpm")).sig.raw, ErrMalformed, ""},
		"nothing":             {nil, ErrMalformed, "magic"},
		"digests by SHA-1":    {mustParse(t, content(t, vectors+"v4/sha1.rpm")).main.raw, ErrWeakDigest, ima.ErrSHA1.Error()},
		"digests of no known": {replace(packages.Tag{Tag: algorithm.Tag, Type: packages.TypeInt32, Count: 1, Data: int32s(99)}), ErrMalformed, "unknown file digest algorithm 99"},
	} {
		_, digests, _, err := HeaderDigests(c.header)
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.words) || digests != nil {
			t.Errorf("%s: got %v with %d digests, want %v with %q", name, err, len(digests), c.err, c.words)
		}
	}
}

// dribble adds an entry after the immutable region, as rpm's headerPut does to an installed
// package. Its digests are others.
func dribble(t *testing.T, raw []byte) []byte {
	t.Helper()
	h, err := parseHeader(raw, mainLimits())
	check(t, err)
	data := append(bytes.Clone(h.data), strings0(strings.Repeat("ab", 32))...)
	index := append(slices.Clone(h.entries), entry{tag: tagFileDigests, typ: typeStringArray, offset: uint32(len(h.data)), count: 1})
	out := append([]byte(headerMagic), int32s(uint32(len(index)), uint32(len(data)))...)
	for _, e := range index {
		out = appendEntry(out, e)
	}
	out = append(out, data...)
	if _, err := parseHeader(out, mainLimits()); err != nil {
		t.Fatalf("the header with a dribble is refused for another reason: %v", err)
	}
	return out
}

// FuzzHeaderDigests reads any bytes as a main header.
func FuzzHeaderDigests(f *testing.F) {
	for _, name := range []string{"v4/no-reserve.rpm", "v4/empty.rpm", "v4/md5.rpm", "v6/no-reserve.rpm"} {
		f.Add(packages.Compose(packages.TagImmutable, headerOf(f, name)))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		h, digests, _, err := HeaderDigests(header)
		if err != nil {
			if !refused(err) && !errors.Is(err, ErrSource) && !errors.Is(err, ErrWeakDigest) || digests != nil {
				t.Fatalf("%v with %d digests", err, len(digests))
			}
			return
		}
		for _, digest := range digests {
			if h.CheckSigns() != nil || len(digest) != h.Size() {
				t.Fatalf("a digest by %s of %d bytes", h, len(digest))
			}
		}
	})
}
