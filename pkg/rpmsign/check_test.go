package rpmsign

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/tests/rpm/packages"
)

func TestCheckRealPackages(t *testing.T) {
	for _, name := range packages.Names() {
		if name == "many" {
			continue // 20,000 files of the same kind as in the other packages
		}
		t.Run(name, func(t *testing.T) {
			p := mustParse(t, content(t, packages.Path(t, name)))
			for _, l := range []Level{CheckHeader, CheckPayload, CheckFiles} {
				if err := p.Check(t.Context(), l); err != nil {
					t.Errorf("%s: %v", l, err)
				}
			}
		})
	}
}

// checked is what each level says about a package; "" means no error.
func checked(t *testing.T, b []byte) (header, payload, files error) {
	t.Helper()
	p, err := parsed(b)
	if err != nil {
		return err, err, err
	}
	return p.Check(t.Context(), CheckHeader), p.Check(t.Context(), CheckPayload), p.Check(t.Context(), CheckFiles)
}

func TestCheckDamage(t *testing.T) {
	whole := content(t, packages.Path(t, "zstd"))
	p := mustParse(t, whole)
	flip := func(at int) []byte {
		b := slices.Clone(whole)
		b[at] ^= 0x10
		return b
	}
	stated := func(tag tagNumber) int {
		e, _ := p.sig.find(tag)
		return leadSize + len(p.sig.raw) - len(p.sig.data) + int(e.offset)
	}
	digit := func(at int) []byte {
		b := slices.Clone(whole)
		b[at] = '0' + (b[at]+1)%8
		return b
	}
	for name, c := range map[string]struct {
		b               []byte
		header, payload error
	}{
		"whole":          {whole, nil, nil},
		"truncated":      {whole[:len(whole)-1], ErrTruncated, ErrTruncated},
		"no payload":     {whole[:p.payload], ErrTruncated, ErrTruncated},
		"half a header":  {whole[:p.mainAt+20], ErrTruncated, ErrTruncated},
		"only a lead":    {whole[:96], ErrTruncated, ErrTruncated},
		"half a lead":    {whole[:95], ErrTruncated, ErrTruncated},
		"oversized":      {append(slices.Clone(whole), 0), ErrOversized, ErrOversized},
		"payload":        {flip(int(p.payload) + 40), nil, ErrDigest},
		"last byte":      {flip(len(whole) - 1), nil, ErrDigest},
		"main header":    {flip(int(p.payload) - 40), ErrDigest, ErrDigest},
		"MD5":            {flip(stated(tagMD5)), nil, ErrDigest},
		"SHA-1":          {digit(stated(tagSHA1)), ErrDigest, ErrDigest},
		"SHA-256":        {digit(stated(tagSHA256)), ErrDigest, ErrDigest},
		"SIZE too small": {word(whole, stated(tagSize), 100), ErrOversized, ErrOversized},
		"SIZE too large": {word(whole, stated(tagSize), 1<<31), ErrTruncated, ErrTruncated},
		"text":           {[]byte("hello"), ErrNotRPM, ErrNotRPM},
		"nothing":        {nil, ErrNotRPM, ErrNotRPM},
		"lead version":   {slices.Concat(whole[:4], []byte{5}, whole[5:]), ErrMalformed, ErrMalformed},
		"lead type":      {slices.Concat(whole[:79], []byte{4}, whole[80:]), ErrMalformed, ErrMalformed},
	} {
		header, payload, files := checked(t, c.b)
		if !errors.Is(header, c.header) || !errors.Is(payload, c.payload) || (c.payload == nil) != (files == nil) {
			t.Errorf("%s: header %v, payload %v, files %v", name, header, payload, files)
		}
	}
}

// TestCheckWithoutDigests checks that each level refuses a package without the digests that
// it needs.
func TestCheckWithoutDigests(t *testing.T) {
	for name, c := range map[string]struct {
		signature, main []tagNumber
		header, payload error
	}{
		"nothing":             {[]tagNumber{tagSHA1, tagSHA256, tagMD5}, nil, ErrDigest, ErrDigest},
		"no payload digest":   {[]tagNumber{tagMD5}, []tagNumber{tagPayloadSHA256, tagPayloadSHA256Algo}, nil, ErrDigest},
		"MD5 alone":           {[]tagNumber{tagSHA1, tagSHA256}, []tagNumber{tagPayloadSHA256, tagPayloadSHA256Algo}, nil, nil},
		"SHA-256 and payload": {[]tagNumber{tagSHA1, tagMD5}, nil, nil, nil},
	} {
		f := parts(t, "zstd")
		f.Signature, f.Header = packages.Without(f.Signature, numbersOf(c.signature)...), packages.Without(f.Header, numbersOf(c.main)...)
		header, payload, _ := checked(t, pack(f))
		if !errors.Is(header, c.header) || !errors.Is(payload, c.payload) {
			t.Errorf("%s: header %v, payload %v", name, header, payload)
		}
	}
}

// TestCheckMD5Alone checks that the level header reads everything that MD5 covers if only MD5
// covers the main header.
func TestCheckMD5Alone(t *testing.T) {
	f := parts(t, "zstd")
	f.Signature = packages.Without(f.Signature, packages.TagSHA1, packages.TagSHA256)
	b := pack(f)
	b[mustParse(t, b).payload-40] ^= 1
	if header, _, _ := checked(t, b); !errors.Is(header, ErrDigest) {
		t.Errorf("changed main header: %v", header)
	}
}

func numbersOf(tags []tagNumber) (list []uint32) {
	for _, t := range tags {
		list = append(list, uint32(t))
	}
	return list
}

func TestCheckUpperCaseDigest(t *testing.T) {
	b := content(t, packages.Path(t, "zstd"))
	p := mustParse(t, b)
	e, _ := p.sig.find(tagSHA256)
	at := leadSize + len(p.sig.raw) - len(p.sig.data) + int(e.offset)
	copy(b[at:], strings.ToUpper(string(b[at:at+64])))
	header, _, _ := checked(t, b)
	check(t, header)
	check(t, rpmChecksig(t, put(t, b)))
}

// TestSignatureTagTypes checks that wrong types and sizes of tags are refused.
func TestSignatureTagTypes(t *testing.T) {
	for _, wrong := range []packages.Tag{
		{Tag: packages.TagSHA1, Type: packages.TypeBinary, Count: 41, Data: make([]byte, 41)},
		{Tag: packages.TagSHA256, Type: packages.TypeString, Count: 1, Data: strings0("00")},
		{Tag: packages.TagMD5, Type: packages.TypeBinary, Count: 15, Data: make([]byte, 15)},
		{Tag: packages.TagSize, Type: 5, Count: 1, Data: make([]byte, 8)},
		{Tag: packages.TagReserved, Type: packages.TypeString, Count: 1, Data: strings0("x")},
	} {
		f := parts(t, "zstd")
		f.Signature = insert(packages.Without(f.Signature, wrong.Tag), wrong)
		signature := packages.Compose(packages.TagSignatures, f.Signature)
		signature = append(signature, make([]byte, -len(signature)&7)...)
		b := slices.Concat(f.Lead, signature, packages.Compose(packages.TagImmutable, f.Header), f.Payload)
		if _, err := parsed(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("tag %d: %v", wrong.Tag, err)
		}
	}
}

// TestPayloadAlgorithm checks payload digests other than SHA-256.
func TestPayloadAlgorithm(t *testing.T) {
	f := parts(t, "zstd")
	set(f.Header, uint32(tagPayloadSHA256Algo), int32s(3)) // RIPEMD-160, which this program cannot compute
	if _, payload, _ := checked(t, pack(f)); !errors.Is(payload, ErrMalformed) {
		t.Errorf("RIPEMD-160: %v", payload)
	}
	set(f.Header, uint32(tagPayloadSHA256Algo), int32s(10))
	if _, payload, _ := checked(t, pack(f)); !errors.Is(payload, ErrDigest) || !strings.Contains(payload.Error(), "sha512") {
		t.Errorf("SHA-512: %v", payload)
	}
}

func TestUnknownLevel(t *testing.T) {
	p := mustParse(t, content(t, packages.Path(t, "zstd")))
	if err := p.Check(t.Context(), "all"); err == nil || !strings.Contains(err.Error(), `"all"`) {
		t.Error(err)
	}
}

func TestCheckEndsWithContext(t *testing.T) {
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	p := mustParse(t, content(t, packages.Path(t, "zstd")))
	if err := p.checkFiles(ctx); !errors.Is(err, stop) {
		t.Error(err)
	}
	if err := p.Check(ctx, CheckPayload); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// TestOpenRefuses opens files that are called like packages but are not.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Mkdir(filepath.Join(dir, "dir.rpm"), 0o755))
	check(t, syscall.Mkfifo(filepath.Join(dir, "fifo.rpm"), 0o644))
	for name, want := range map[string]error{"dir.rpm": ErrNotRPM, "fifo.rpm": ErrNotRPM, "none.rpm": os.ErrNotExist} {
		if _, err := Open(filepath.Join(dir, name), Options{}); !errors.Is(err, want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMalformedFileLists(t *testing.T) {
	for name, change := range map[string]func(*packages.File){
		"no digests":       func(f *packages.File) { f.Header = packages.Without(f.Header, uint32(tagFileDigests)) },
		"no modes":         func(f *packages.File) { f.Header = packages.Without(f.Header, uint32(tagFileModes)) },
		"no sizes":         func(f *packages.File) { f.Header = packages.Without(f.Header, uint32(tagFileSizes)) },
		"no directories":   func(f *packages.File) { f.Header = packages.Without(f.Header, uint32(tagDirNames)) },
		"no indexes":       func(f *packages.File) { f.Header = packages.Without(f.Header, uint32(tagDirIndexes)) },
		"other algorithm":  func(f *packages.File) { set(f.Header, uint32(tagFileDigestAlgo), int32s(10)) },
		"no algorithm":     func(f *packages.File) { set(f.Header, uint32(tagFileDigestAlgo), int32s(99)) },
		"negative size":    func(f *packages.File) { longSizes(f, 1<<63) },
		"directory beyond": func(f *packages.File) { digits(f, tagDirIndexes, 0xff) },
	} {
		f := parts(t, "zstd")
		change(f)
		if _, err := parsed(pack(f)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func digits(f *packages.File, tag tagNumber, b byte) {
	e, _ := packages.Find(f.Header, uint32(tag))
	data := slices.Clone(e.Data)
	data[len(data)-1] = b
	set(f.Header, uint32(tag), data)
}

// longSizes replaces the sizes of files by 64-bit numbers, the first of which is n.
func longSizes(f *packages.File, n uint64) {
	old, _ := packages.Find(f.Header, uint32(tagFileSizes))
	var data []byte
	for i := range old.Count {
		size := uint64(binary.BigEndian.Uint32(old.Data[4*i:]))
		if i == 0 {
			size = n
		}
		data = binary.BigEndian.AppendUint64(data, size)
	}
	f.Header = insert(packages.Without(f.Header, uint32(tagFileSizes)), packages.Tag{Tag: uint32(tagLongFileSizes), Type: 5, Count: old.Count, Data: data})
}

// TestRoot checks that the package "filesystem" has the root directory.
func TestRoot(t *testing.T) {
	h, err := parseHeader(packages.Compose(packages.TagImmutable, []packages.Tag{
		{Tag: uint32(tagDirIndexes), Type: 4, Count: 1, Data: int32s(0)},
		{Tag: uint32(tagBaseNames), Type: 8, Count: 1, Data: strings0("")},
		{Tag: uint32(tagDirNames), Type: 8, Count: 1, Data: strings0("/")},
	}), mainLimits())
	check(t, err)
	if names, err := readPaths(h); err != nil || !slices.Equal(names, []string{"."}) {
		t.Errorf("%q, %v", names, err)
	}
}
