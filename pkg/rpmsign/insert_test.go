package rpmsign

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// peculiarities are packages whose signature headers rpm reads but would lay out differently
// today.
func peculiarities(t testing.TB) map[string][]byte {
	t.Helper()
	reserve := func(b ...byte) packages.Tag {
		return packages.Tag{Tag: packages.TagReserved, Type: packages.TypeBinary, Count: uint32(len(b)), Data: b}
	}
	made := map[string][]byte{}
	for _, name := range []string{"no-reserve", "zstd"} {
		made["reversed "+name] = withTags(t, name, func(tags []packages.Tag) []packages.Tag { slices.Reverse(tags); return tags })
		made["size first "+name] = withTags(t, name, func(tags []packages.Tag) []packages.Tag {
			size, _ := packages.Find(tags, packages.TagSize)
			return append([]packages.Tag{size}, packages.Without(tags, packages.TagSize)...)
		})
		for edit, change := range map[string]func(h *rawHeader){
			"no region":        func(h *rawHeader) { h.dropRegion() },
			"garbage between":  func(h *rawHeader) { h.fill(0xa5) },
			"gap":              func(h *rawHeader) { h.gap(2, 16, 0) },
			"gap of garbage":   func(h *rawHeader) { h.gap(2, 16, 0xa5) },
			"gap at the start": func(h *rawHeader) { h.gap(1, 8, 0) },
			"gap at the end":   func(h *rawHeader) { h.gap(len(h.index), 3, 7) },
			"bytes behind":     func(h *rawHeader) { h.data = append(h.data, "garbage"...) },
			"entries behind": func(h *rawHeader) {
				h.behind(packages.Tag{Tag: 500, Type: packages.TypeInt32, Count: 1, Data: int32s(7)})
			},
			"lower entries behind": func(h *rawHeader) {
				h.behind(packages.Tag{Tag: 264, Type: packages.TypeString, Count: 1, Data: strings0("x")})
			},
			"data behind": func(h *rawHeader) { // of an entry inside the region
				h.behind(packages.Tag{Tag: 264, Type: packages.TypeString, Count: 1, Data: strings0("x")})
				binary.BigEndian.PutUint32(h.data[h.trailer()+8:], -uint32(len(h.index)*entrySize))
			},
			"bytes and entries": func(h *rawHeader) {
				h.data = append(h.data, 1, 2, 3)
				h.behind(packages.Tag{Tag: 500, Type: packages.TypeString, Count: 1, Data: strings0("x")})
			},
			"old trailer":        func(h *rawHeader) { binary.BigEndian.PutUint32(h.data[h.trailer():], uint32(tagHeaderImage)) },
			"no padding's zeros": func(h *rawHeader) { h.pad = 0x55 },
		} {
			h := takeApart(t, name)
			change(h)
			made[edit+" "+name] = h.pack(t)
		}
	}
	for text, b := range map[string][]byte{"ones": bytes.Repeat([]byte{0xff}, 300), "mark": {onTop}, "mark and zeros": append([]byte{onTop}, make([]byte, 499)...), "mark and ones": bytes.Repeat([]byte{onTop}, 4128)} {
		made["reserve of "+text] = withTags(t, "no-reserve", func(tags []packages.Tag) []packages.Tag { return insert(tags, reserve(b...)) })
	}
	made["two reserves"] = withTags(t, "no-reserve", func(tags []packages.Tag) []packages.Tag {
		old := reserve(0, 0, 0)
		old.Tag = packages.TagReservedV6
		return insert(insert(tags, reserve(0, 0)), old)
	})
	made["reserve twice"] = withTags(t, "zstd", func(tags []packages.Tag) []packages.Tag { return append(tags, reserve(0, 0)) })
	made["empty reserve's neighbour"] = withTags(t, "zstd", func(tags []packages.Tag) []packages.Tag {
		return append(tags, packages.Tag{Tag: 2000, Type: packages.TypeString, Count: 1, Data: strings0("x")})
	})
	return made
}

func withTags(t testing.TB, name string, change func([]packages.Tag) []packages.Tag) []byte {
	t.Helper()
	f := parts(t, name)
	f.Signature = change(f.Signature)
	return f.Pack()
}

// rawHeader is a signature header in which every byte can be changed.
type rawHeader struct {
	name  string
	index []entry
	data  []byte
	pad   byte
}

func takeApart(t testing.TB, name string) *rawHeader {
	t.Helper()
	h := mustParse(t, parts(t, name).Pack()).sig
	return &rawHeader{name: name, index: slices.Clone(h.entries), data: slices.Clone(h.data)}
}

func (h *rawHeader) trailer() int { return int(h.index[0].offset) }

func (h *rawHeader) dropRegion() {
	h.data = slices.Delete(h.data, h.trailer(), h.trailer()+trailerSize)
	h.index = h.index[1:]
}

// gap puts n bytes before the data of entry i, or before the trailer.
func (h *rawHeader) gap(i, n int, fill byte) {
	at := h.trailer()
	if i < len(h.index) {
		at = int(h.index[i].offset)
	}
	h.data = slices.Insert(h.data, at, bytes.Repeat([]byte{fill}, n)...)
	for k := range h.index {
		if int(h.index[k].offset) >= at {
			h.index[k].offset += uint32(n)
		}
	}
}

// fill sets every byte before aligned data.
func (h *rawHeader) fill(b byte) {
	for i := 1; i < len(h.index)-1; i++ {
		e := &h.index[i]
		length, _ := e.measure(h.data[e.offset:])
		for k := e.offset + length; k < h.index[i+1].offset; k++ {
			h.data[k] = b
		}
	}
}

// behind adds an entry after the region.
func (h *rawHeader) behind(tag packages.Tag) {
	h.data = append(h.data, make([]byte, -len(h.data)&3)...)
	h.index = append(h.index, entry{tag: tagNumber(tag.Tag), typ: dataType(tag.Type), offset: uint32(len(h.data)), count: tag.Count})
	h.data = append(h.data, tag.Data...)
}

func (h *rawHeader) pack(t testing.TB) []byte {
	t.Helper()
	f := parts(t, h.name)
	raw := append([]byte(headerMagic), int32s(uint32(len(h.index)), uint32(len(h.data)))...)
	for _, e := range h.index {
		raw = appendEntry(raw, e)
	}
	raw = append(raw, h.data...)
	pad := bytes.Repeat([]byte{h.pad}, -len(raw)&7)
	if h.pad != 0 && len(pad) == 0 {
		h.pad = 0
		h.data = append(h.data, 0)
		defer func() { h.pad = 0x55 }()
		return h.pack(t)
	}
	return slices.Concat(f.Lead, raw, pad, packages.Compose(packages.TagImmutable, f.Header), f.Payload)
}

// TestPeculiarHeaders checks that rpm reads the signatures in any signature header, and that
// stripping restores every byte of the package.
func TestPeculiarHeaders(t *testing.T) {
	for name, b := range peculiarities(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := put(t, b)
			if _, reads := rpmSees(t, path); !reads {
				if _, err := parsed(b); !errors.Is(err, ErrMalformed) {
					t.Errorf("rpm does not read it; %v", err)
				}
				return
			}
			for i, key := range []string{"p256", "rsa2048", "p256", "rsa3072"} {
				r := run(t, signer(t, key), path)
				p := mustParse(t, content(t, path))
				if got, _ := rpmSees(t, path); !r.Changed || verify(t, path, key) != 4 || !slices.Equal(got, ours(p)) {
					t.Errorf("signed %d times: %+v, rpm sees %d signatures", i+1, r, len(got))
				}
				check(t, rpmChecksig(t, path))
				if len(p.Defects()) > 0 {
					t.Errorf("defects of what was made here: %v", p.Defects())
				}
				if r := run(t, signer(t, key), path); r.Changed {
					t.Error("signed again by the same key, it is another")
				}
			}
			if r := run(t, stripper(t), path); !r.Changed || !bytes.Equal(content(t, path), b) {
				t.Errorf("stripped, the package is not what it was: %+v", r)
			}
			if r := run(t, stripper(t), path); r.Changed {
				t.Error("nothing is left to be stripped")
			}
		})
	}
}

// TestInsertedSize compares the predicted size of a header with more entries with its size.
func TestInsertedSize(t *testing.T) {
	own := fileSignatureValues([][]byte{make([]byte, 80), nil, make([]byte, 64)})
	for name, b := range peculiarities(t) {
		p, err := parsed(b)
		if err != nil {
			continue
		}
		values := withPadding(own, p.pad)
		h, err := parseHeader(p.sig.insert(values), signatureLimits())
		check(t, err)
		if n := uint32(len(h.data)); p.sig.checkInserted(values, n) != nil || p.sig.checkInserted(values, n-1) == nil {
			t.Errorf("%s: it has %d bytes of data", name, n)
		}
	}
}

// FuzzInsert inserts signatures into any header and removes them again.
func FuzzInsert(f *testing.F) {
	for _, b := range seeds(f) {
		if p, err := parsed(b); err == nil {
			f.Add(p.sig.raw, p.pad, uint8(3))
		}
	}
	for _, b := range peculiarities(f) {
		if p, err := parsed(b); err == nil {
			f.Add(p.sig.raw, p.pad, uint8(5))
		}
	}
	f.Fuzz(func(t *testing.T, raw, pad []byte, n uint8) {
		h, err := parseHeader(raw, signatureLimits())
		if err != nil || h.has(tagFileSignatures) || h.has(tagFileSignatureLength) || len(h.entries) > 30 {
			return
		}
		if pad = pad[:min(7, len(pad))]; h.restorable(pad) {
			return
		}
		own := withPadding(fileSignatureValues([][]byte{bytes.Repeat([]byte{7}, int(n)), nil}), pad)
		signed, err := parseHeader(h.insert(own), signatureLimits())
		if err != nil {
			t.Fatalf("what was inserted is not read: %v", err)
		}
		all := func(tagNumber) bool { return true }
		if !slices.EqualFunc(signed.values(all)[min(1, signed.inRegion):], append(h.values(all)[min(1, h.inRegion):], own...), value.equal) {
			t.Fatal("not all entries are as they were")
		}
		if base, was := signed.withoutInserted(); base == nil || !bytes.Equal(base.raw, h.raw) || !zero(pad) && !bytes.Equal(was, pad) {
			t.Fatal("what was inserted is not found again")
		}
	})
}
