package rpmsign

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// small is a signature header with a number, a digest and a reserve.
func small() []byte {
	return build([]value{
		{tagSize, typeInt32, 1, int32s(7)},
		{tagSHA1, typeString, 1, strings0("0123456789012345678901234567890123456789")},
		{tagReservedSpace, typeBin, 32, make([]byte, 32)},
	})
}

func word(raw []byte, at int, n uint32) []byte {
	raw = bytes.Clone(raw)
	binary.BigEndian.PutUint32(raw[at:], n)
	return raw
}

// at returns the offset of a word of an index entry. Entry 0 is the region's.
func at(entry, word int) int { return introSize + entry*entrySize + 4*word }

func TestParseHeaderRefuses(t *testing.T) {
	raw := small()
	trailer := len(raw) - trailerSize
	for name, bad := range map[string][]byte{
		"no magic":              append([]byte{0}, raw[1:]...),
		"no entries":            word(raw[:introSize+len(raw)-at(4, 0)], 8, 0),
		"more entries":          word(raw, 8, 5),
		"33 entries":            word(raw, 8, 33),
		"more data":             word(raw, 12, 1<<20),
		"too much data":         word(raw, 12, 64<<20+1),
		"region type":           word(raw, at(0, 1), uint32(typeInt8)),
		"region count":          word(raw, at(0, 3), 17),
		"region offset":         word(raw, at(0, 2), binary.BigEndian.Uint32(raw[at(0, 2):])+1),
		"region offset far":     word(raw, at(0, 2), 0xffff_fff8),
		"trailer tag":           word(raw, trailer, 63),
		"trailer type":          word(raw, trailer+4, 6),
		"trailer odd":           word(raw, trailer+8, ^uint32(63)+2),
		"trailer positive":      word(raw, trailer+8, 64),
		"trailer beyond":        word(raw, trailer+8, ^uint32(79)),
		"trailer count":         word(raw, trailer+12, 15),
		"tag below 100":         word(raw, at(1, 0), 99),
		"negative tag":          word(raw, at(1, 0), 1<<31),
		"type 0":                word(raw, at(2, 1), 0),
		"type 10":               word(raw, at(2, 1), 10),
		"count 0":               word(raw, at(2, 3), 0),
		"count beyond":          word(raw, at(3, 3), 1<<30),
		"data beyond":           word(raw, at(3, 3), 33+trailerSize),
		"data over trailer":     word(raw, at(3, 3), 33),
		"not aligned":           word(raw, at(2, 2), 42),
		"overlap":               word(raw, at(2, 2), 40),
		"two strings":           word(raw, at(1, 3), 2),
		"offset beyond":         word(raw, at(3, 2), 1<<20),
		"string without end":    packages.Compose(0, []packages.Tag{{Tag: 200, Type: 6, Count: 1, Data: []byte("abc")}}),
		"shorter than it says":  raw[:len(raw)-1],
		"shorter than an intro": raw[:15],
	} {
		if _, err := parseHeader(bad, signatureLimits()); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := parseHeader(raw, signatureLimits()); err != nil {
		t.Fatal(err)
	}
}

// TestHeaderImageTrailer checks that a trailer can have the tag of a main header's region, as
// in some old signature headers.
func TestHeaderImageTrailer(t *testing.T) {
	raw := small()
	h, err := parseHeader(word(raw, len(raw)-trailerSize, uint32(tagHeaderImage)), signatureLimits())
	check(t, err)
	if h.inRegion != 4 {
		t.Errorf("%d entries in the region", h.inRegion)
	}
}

func TestNoRegion(t *testing.T) {
	raw := packages.Compose(0, []packages.Tag{{Tag: uint32(tagSize), Type: 4, Count: 1, Data: int32s(7)}})
	h, err := parseHeader(raw, signatureLimits())
	check(t, err)
	if n, ok := h.number(tagSize); h.inRegion != 0 || !ok || n != 7 {
		t.Errorf("%d entries in a region, size %d, %t", h.inRegion, n, ok)
	}
}

// TestOutsideRegion reads tags that were appended after the region, in any order, and lays
// them out inside it.
func TestOutsideRegion(t *testing.T) {
	raw := small()
	data := append(bytes.Clone(raw[at(4, 0):]), strings0("ab", "")...)
	index := appendEntry(bytes.Clone(raw[introSize:at(4, 0)]), entry{tagFileSignatures, typeStringArray, uint32(len(data) - 4), 2, 0})
	out := binary.BigEndian.AppendUint32([]byte(headerMagic), 5)
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	h, err := parseHeader(slices.Concat(out, index, data), signatureLimits())
	check(t, err)
	if h.inRegion != 4 || !slices.Equal(h.strings(tagFileSignatures), []string{"ab", ""}) {
		t.Errorf("region of %d, signatures %q", h.inRegion, h.strings(tagFileSignatures))
	}
	again, err := parseHeader(build(h.kept()), signatureLimits())
	check(t, err)
	if again.inRegion != 4 || again.entries[2].tag != tagFileSignatures {
		t.Errorf("laid out: %v", again.entries)
	}
}

func TestRepeatedTags(t *testing.T) {
	raw := build([]value{
		{tagSHA1, typeString, 1, strings0("first")}, {tagSHA1, typeString, 1, strings0("second")},
	})
	h, err := parseHeader(raw, signatureLimits())
	check(t, err)
	if h.text(tagSHA1) != "first" || h.times(tagSHA1) != 2 || !bytes.Equal(build(h.kept()), raw) {
		t.Errorf("%q, %d times", h.text(tagSHA1), h.times(tagSHA1))
	}
}

func TestNumbers(t *testing.T) {
	raw := build([]value{
		{200, typeInt8, 2, []byte{1, 255}}, {201, typeInt16, 2, []byte{1, 0, 255, 255}}, {202, typeInt32, 1, int32s(1 << 31)},
		{203, typeInt64, 1, []byte{255, 255, 255, 255, 255, 255, 255, 254}}, {204, typeBin, 4, int32s(1)}, {205, typeString, 1, strings0("12")},
	})
	h, err := parseHeader(raw, signatureLimits())
	check(t, err)
	for tag, want := range map[tagNumber][]uint64{200: {1, 255}, 201: {256, 65535}, 202: {1 << 31}, 203: {1<<64 - 2}, 204: nil, 205: nil, 206: nil} {
		if got := h.numbers(tag); !slices.Equal(got, want) {
			t.Errorf("tag %d: %d, want %d", tag, got, want)
		}
	}
	if n, _ := h.size(203); n != 1<<63-1 {
		t.Errorf("size %d", n)
	}
}

// TestBuild lays out the signature headers of real packages and compares every byte with
// those by rpm.
func TestBuild(t *testing.T) {
	for _, name := range []string{"zstd", "rich", "empty", "source", "no-reserve", "large-reserve", "el6", "openpgp-rsa", "openpgp-rpmv3"} {
		h := mustParse(t, content(t, packages.Path(t, name))).sig
		values := h.values(func(t tagNumber) bool { return t != tagHeaderSignatures })
		if raw := build(values); !bytes.Equal(raw, h.raw) || buildLength(values) != len(raw) {
			t.Errorf("%s: %x, want %x", name, raw, h.raw)
		}
	}
}

// TestReserve signs, signs again and strips headers with reserves of every size, with
// signatures of every size.
func TestReserve(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	original := mustParse(t, content(t, packages.Path(t, "zstd"))).sig
	tags := fileSignatureTags()
	for range 4000 {
		room := 1 + r.IntN(1<<r.IntN(15))
		first := build(append(original.kept(), value{tagReservedSpace, typeBin, uint32(room), make([]byte, room)}))
		h, err := parseHeader(first, signatureLimits())
		check(t, err)
		for range 1 + r.IntN(4) {
			own := fileSignatureValues(randomSignatures(r))
			takes := buildLength(append(h.kept(tags...), own...)) - buildLength(h.kept(tags...))
			raw := build(h.withReserve(h.kept(tags...), own, h.having(tags...)))
			want := len(first)
			if takes >= room {
				want += takes
			}
			if len(raw) != want {
				t.Fatalf("reserve %d, signatures %d: header of %d bytes becomes %d, want %d", room, takes, len(first), len(raw), want)
			}
			h, err = parseHeader(raw, signatureLimits())
			check(t, err)
			if _, left := h.reserve(); left < 1 || takes < room && left != room-takes {
				t.Fatalf("reserve %d, signatures %d: %d left", room, takes, left)
			}
		}
		stripped := build(h.withReserve(h.kept(tags...), nil, h.having(tags...)))
		if !bytes.Equal(stripped, first) {
			t.Fatalf("reserve %d: stripped header of %d bytes is not the one of %d that there was", room, len(stripped), len(first))
		}
	}
}

func randomSignatures(r *rand.Rand) [][]byte {
	list := make([][]byte, r.IntN(12))
	for i := range list {
		list[i] = make([]byte, r.IntN(4)*r.IntN(300))
	}
	return list
}

// TestReserveOfOthers checks packages signed by rpmsign, which does not record signatures
// beside the reserve: they keep their size when they are stripped.
func TestReserveOfOthers(t *testing.T) {
	base := []value{{tagSize, typeInt32, 1, int32s(7)}}
	own := fileSignatureValues([][]byte{make([]byte, 4000)})
	raw := build(slices.Concat(base, own, []value{{tagReservedSpace, typeBin, 32, make([]byte, 32)}}))
	h, err := parseHeader(raw, signatureLimits())
	check(t, err)
	if stripped := build(h.withReserve(h.kept(fileSignatureTags()...), nil, own)); len(stripped) != len(raw) {
		t.Errorf("%d bytes, want %d", len(stripped), len(raw))
	}
}

func TestNoReserveTag(t *testing.T) {
	h, err := parseHeader(build([]value{{tagSize, typeInt32, 1, int32s(7)}}), signatureLimits())
	check(t, err)
	own := fileSignatureValues([][]byte{make([]byte, 40)})
	if values := h.withReserve(h.kept(), own, nil); len(values) != 3 {
		t.Errorf("%v", values)
	}
}

func TestLimits(t *testing.T) {
	for _, l := range []uint32{limit8K, limit64K, limit64M} {
		fits := []value{{tagReservedSpace, typeBin, l - trailerSize, make([]byte, l-trailerSize)}}
		check(t, checkLimit(fits, l))
		over := []value{{tagReservedSpace, typeBin, l, make([]byte, l-trailerSize+1)}}
		if err := checkLimit(over, l); !errors.Is(err, ErrHeaderTooLarge) {
			t.Errorf("%d: %v", l, err)
		}
	}
	if err := checkLimit(slices.Repeat([]value{{200, typeInt8, 1, []byte{1}}}, 32), limit64M); !errors.Is(err, ErrHeaderTooLarge) {
		t.Errorf("33 entries: %v", err)
	}
}

// manyPaths makes a main header whose directory name is part of n long paths.
func manyPaths(n, dir int) []packages.Tag {
	return []packages.Tag{
		{Tag: uint32(tagDirIndexes), Type: 4, Count: uint32(n), Data: make([]byte, 4*n)},
		{Tag: uint32(tagBaseNames), Type: 8, Count: uint32(n), Data: bytes.Repeat([]byte("f\x00"), n)},
		{Tag: uint32(tagDirNames), Type: 8, Count: 1, Data: strings0("/" + string(bytes.Repeat([]byte("d"), dir-2)) + "/")},
	}
}

func TestPathsAreBounded(t *testing.T) {
	for _, c := range []struct {
		files, dir int
		fits       bool
	}{{10, 4000, true}, {1, 4096, false}, {100_000, 4000, false}, {100_000, 50, true}} {
		h, err := parseHeader(packages.Compose(packages.TagImmutable, manyPaths(c.files, c.dir)), mainLimits())
		check(t, err)
		names, err := readPaths(h)
		if c.fits != (err == nil) || !c.fits && !errors.Is(err, ErrMalformed) {
			t.Errorf("%d paths of %d bytes: %d, %v", c.files, c.dir, len(names), err)
		}
	}
}
