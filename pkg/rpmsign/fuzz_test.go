package rpmsign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/imasign/imasign-build/pkg/ima"
)

// FuzzPackage reads any bytes as a package. The second reader must agree with the first. A
// package that passes CheckHeader is signed, and must read back with everything else
// unchanged.
func FuzzPackage(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsed(b)
		if err != nil {
			if !refused(err) {
				t.Fatalf("%v is no sentinel", err)
			}
			return
		}
		info := p.Info()
		if _, err := json.Marshal(info); err != nil {
			t.Fatal(err)
		}
		if len(info.Tags) != len(p.sig.entries) || info.Signed > len(p.files) {
			t.Fatalf("%+v", info)
		}
		_ = p.Signable(t.Context(), 265, nil)
		_ = p.checkFiles(t.Context())
		if err := rereads(t, p, b); err != nil {
			t.Fatal(err)
		}
		if err := p.Check(t.Context(), CheckHeader); err == nil {
			layOut(t, p)
		}
		for e, err := range p.Entries(context.Background()) {
			if err != nil || (e.Reason == "") != (e.Digests != nil) || e.Digests != nil && len(e.Digests[0].Sum) != e.Digests[0].Hash.Size() {
				t.Fatalf("%+v, %v", e, err)
			}
		}
	})
}

// layOut signs a header that was read, as Prepare does.
func layOut(t *testing.T, p *Package) {
	t.Helper()
	signatures := make([][]byte, len(p.files))
	for i := range signatures {
		if p.files[i].Digest != nil {
			signatures[i] = []byte{3, 2, byte(ima.SHA256), 1, 2, 3, 4, 0, 1, 9}
		}
	}
	own, tags := fileSignatureValues(signatures), fileSignatureTags()
	values := p.sig.withReserve(p.sig.kept(tags...), own, p.sig.having(tags...))
	if checkLimit(values, limit64M) != nil {
		return
	}
	raw := build(values)
	if len(raw) != buildLength(values) {
		t.Fatalf("%d bytes, %d were predicted", len(raw), buildLength(values))
	}
	h, err := parseHeader(raw, signatureLimits())
	if err != nil {
		t.Fatalf("what was written is not read: %v", err)
	}
	kept := sorted(p.sig.kept(tags...))
	if h.inRegion != len(h.entries) || !slices.EqualFunc(h.kept(tags...), kept, value.equal) || !slices.EqualFunc(h.having(tags...), own, value.equal) {
		t.Fatal("not all entries are as they were")
	}
	if s := (&Package{sig: h, main: p.main, files: p.files}).readFileSignatures(); len(s.defects) > 0 && p.signaturesIn() != inMain && p.signaturesIn() != inBoth {
		t.Fatalf("defects %v in what was written", s.defects)
	}
}

// seeds returns the smallest packages among rpmsign's vectors, signed and unsigned.
func seeds(t testing.TB) (list [][]byte) {
	t.Helper()
	for _, name := range []string{"v4/no-reserve.rpm", "v4/no-reserve.p256.rpm", "v4/empty.rpm", "v6/no-reserve.rpm", "v6/no-reserve.p256.rpm"} {
		list = append(list, content(t, vectors+name))
	}
	files, err := filepath.Glob("testdata/seeds/*.rpm")
	check(t, err)
	for _, file := range files {
		list = append(list, content(t, file))
	}
	return list
}

// FuzzScreen passes any archive through the screen. The reader after it must then hold no
// more than a name in memory.
func FuzzScreen(f *testing.F) {
	f.Add(append(newc("./usr/a", "content of a"), trailer()...))
	f.Add(append(strippedEntry(0, "content of a"), trailer()...))
	f.Add(append(strippedEntry(1, "b"), trailer()...))
	f.Add([]byte("07070Xffffffff\x00\x00"))
	files := []file{regular("usr/a", "content of a"), regular("usr/b", "b")}
	f.Fuzz(func(t *testing.T, archive []byte) {
		s := &screen{in: bytes.NewReader(archive), sizes: []int64{12, 1}}
		n, err := io.Copy(io.Discard, s)
		if err != nil && !refused(err) {
			t.Fatalf("%v is no sentinel", err)
		}
		if n > int64(2*len(archive)+64) {
			t.Fatalf("%d bytes of %d", n, len(archive))
		}
		if err := unpack(t, archive, files...); err != nil && !refused(err) {
			t.Fatalf("%v is no sentinel", err)
		}
	})
}

// FuzzPayload unpacks any bytes.
func FuzzPayload(f *testing.F) {
	for _, b := range seeds(f) {
		if p, err := parsed(b); err == nil {
			f.Add(b[p.payload:])
		}
	}
	for _, start := range []string{"\x1f\x8b\x08", "BZh9", "\xfd7zXZ\x00", "\x5d\x00\x00\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff"} {
		f.Add([]byte(start))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if err := unpack(t, payload, regular("usr/a", "content of a")); err != nil && !refused(err) {
			t.Fatalf("%v is no sentinel", err)
		}
	})
}

// FuzzOpenPGPKey reads any bytes as a key.
func FuzzOpenPGPKey(f *testing.F) {
	f.Add(content(f, vectors+"keys/openpgp-ed25519.secret.asc"))
	f.Add([]byte("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := ReadOpenPGPKey(bytes.NewReader(text), nil, time.Time{})
		if (key == nil) == (err == nil) || err != nil && !errors.Is(err, ErrOpenPGPKey) && !errors.Is(err, ErrOpenPGPLocked) {
			t.Fatalf("%v, %v", key, err)
		}
	})
}
