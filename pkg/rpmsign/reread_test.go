package rpmsign

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// rereads lets the second reader compare the package in b with p.
func rereads(t testing.TB, p *Package, b []byte) error {
	t.Helper()
	return p.reread(bytes.NewReader(b), p.mainAt-leadSize, p.sig.kept())
}

// TestReread changes what was written, or what should have been written, and checks that
// the second reader finds it.
func TestReread(t *testing.T) {
	for _, name := range []string{"zstd", "no-reserve", "rich", "openpgp-rsa"} {
		path := packages.Copy(t, name, t.TempDir())
		run(t, signer(t, "p256"), path)
		b := content(t, path)
		p := mustParse(t, b)
		check(t, rereads(t, p, b))
		wanted := p.sig.kept()
		for i, v := range wanted {
			changed := bytes.Clone(v.data)
			changed[0] ^= 1
			for what, want := range map[string][]value{
				"missing": slices.Delete(slices.Clone(wanted), i, i+1),
				"content": slices.Replace(slices.Clone(wanted), i, i+1, value{v.tag, v.typ, v.count, changed}),
				"longer":  slices.Replace(slices.Clone(wanted), i, i+1, value{v.tag, v.typ, v.count + 1, append(bytes.Clone(v.data), v.data...)}),
				"type":    slices.Replace(slices.Clone(wanted), i, i+1, value{v.tag, v.typ%9 + 1, v.count, v.data}),
				"more":    append(slices.Clone(wanted), value{9999, typeInt32, 1, make([]byte, 4)}),
			} {
				if err := p.reread(bytes.NewReader(b), p.mainAt-leadSize, want); !errors.Is(err, errReread) {
					t.Errorf("%s, %s %s: %v", name, signatureTagName(v.tag), what, err)
				}
			}
		}
		e, _ := p.sig.find(tagFileSignatures)
		signatures := p.mainAt - padded(int64(len(p.sig.data))) + int64(e.offset)
		for what, at := range map[string]int64{"lead": 10, "magic": leadSize, "count": leadSize + 11, "signatures": signatures, "main header": p.mainAt + 200} {
			other := bytes.Clone(b)
			other[at] ^= 1
			if err := rereads(t, p, other); !errors.Is(err, errReread) {
				t.Errorf("%s, changed %s: %v", name, what, err)
			}
		}
		if err := rereads(t, p, b[:p.payload-1]); err == nil {
			t.Errorf("%s: a package that ends before its payload was read", name)
		}
	}
}

// TestRereadBeforeReplacing checks that a package stays as it was when the second reader
// does not find what should have been written.
func TestRereadBeforeReplacing(t *testing.T) {
	path := packages.Copy(t, "zstd", t.TempDir())
	before := content(t, path)
	p, err := Open(path, Options{})
	check(t, err)
	defer p.Close()
	wrong := rewritten{slices.Concat(p.sig.raw, p.pad), append(p.sig.kept(), value{tagFileSignatureLength, typeInt32, 1, int32s(70)})}
	if err := p.replace(t.Context(), wrong, 0); !errors.Is(err, errReread) || !errors.Is(err, errRestored) || !strings.Contains(err.Error(), "FILESIGNATURELENGTH") {
		t.Errorf("%v", err)
	}
	if !bytes.Equal(content(t, path), before) {
		t.Error("the package was replaced")
	}
}

// TestRereadFormats checks that the second reader agrees about packages of every format.
func TestRereadFormats(t *testing.T) {
	list := seeds(t)
	for _, name := range []string{"rpm3", "el5", "el6", "source", "empty"} {
		list = append(list, content(t, packages.Path(t, name)))
	}
	for i, b := range list {
		if p, err := parsed(b); err == nil {
			if err := rereads(t, p, b); err != nil {
				t.Errorf("package %d: %v", i, err)
			}
		}
	}
}

// TestRereadLimits checks that the second reader gets nothing over its limit, and nothing
// that it would need much memory for.
func TestRereadLimits(t *testing.T) {
	f := parts(t, "empty")
	const items = 1 << 19
	for tag := range uint32(20) {
		f.Header = insert(f.Header, packages.Tag{Tag: 20000 + tag, Type: packages.TypeStringArray, Count: items, Data: make([]byte, items)})
	}
	b := pack(f)
	p := mustParse(t, b)
	check(t, lean(t, "20 arrays of empty strings", func() error { return rereads(t, p, b) }))

	f = parts(t, "empty")
	f.Header = insert(f.Header, packages.Tag{Tag: 20000, Type: packages.TypeStringArray, Count: 1, Data: strings0(strings.Repeat("x", maxReread))})
	b = pack(f)
	p = mustParse(t, b)
	check(t, rereads(t, p, b))
}
