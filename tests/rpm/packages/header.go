package packages

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
)

// Tags and types that tests use (rpm's include/rpm/rpmtag.h).
const (
	TagSignatures          = 62   // region of the signature header
	TagImmutable           = 63   // region of the main header
	TagSHA1                = 269  // of the main header, in the signature header
	TagSHA256              = 273  // of the main header, in the signature header
	TagFileSignatures      = 274  // string array
	TagFileSignatureLength = 275  // int32
	TagSize                = 1000 // of main header and payload, in the signature header
	TagMD5                 = 1004 // of main header and payload, in the signature header
	TagReserved            = 1008 // in the signature header of v4 packages
	TagReservedV6          = 999  // in the signature header of v6 packages

	TypeInt16       = 3
	TypeInt32       = 4
	TypeString      = 6
	TypeBinary      = 7
	TypeStringArray = 8
)

const (
	leadSize   = 96
	introSize  = 16
	entrySize  = 16
	regionSize = entrySize
)

// Tag is one entry of a header. Data is as stored: numbers are big-endian, strings end with
// NUL.
type Tag struct {
	Tag, Type, Count uint32
	Data             []byte
}

// Strings returns the items of a string, a string array or a table of translations.
func (t Tag) Strings() []string {
	var all []string
	for _, s := range bytes.Split(bytes.TrimSuffix(t.Data, []byte{0}), []byte{0}) {
		all = append(all, string(s))
	}
	return all
}

// Int32 returns the first number of an int32 entry.
func (t Tag) Int32() uint32 { return binary.BigEndian.Uint32(t.Data) }

// File is a parsed package. The parser trusts its input: it reads packages by real tools and
// writes the faults that a test wants.
type File struct {
	Lead      []byte
	Signature []Tag // without the region's entry
	Header    []Tag // without the region's entry
	Payload   []byte
}

// Read parses the package at path.
func Read(path string) (*File, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	signature, rest, err := parse(content[leadSize:])
	if err != nil {
		return nil, fmt.Errorf("%s: signature header: %w", path, err)
	}
	header, payload, err := parse(rest[padding(len(content)-len(rest)-leadSize):])
	if err != nil {
		return nil, fmt.Errorf("%s: main header: %w", path, err)
	}
	return &File{content[:leadSize], signature, header, payload}, nil
}

// SignatureHeader returns the bytes of the signature header of the package at path, from its
// magic to its padding.
func SignatureHeader(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return content[leadSize : leadSize+headerSize(content[leadSize:])], nil
}

// Find returns the first entry with the tag.
func Find(tags []Tag, tag uint32) (Tag, bool) {
	i := slices.IndexFunc(tags, func(t Tag) bool { return t.Tag == tag })
	if i < 0 {
		return Tag{}, false
	}
	return tags[i], true
}

// Without returns tags without the entries with the numbers.
func Without(tags []Tag, drop ...uint32) []Tag {
	return slices.DeleteFunc(slices.Clone(tags), func(t Tag) bool { return slices.Contains(drop, t.Tag) })
}

func headerSize(b []byte) int {
	return introSize + int(binary.BigEndian.Uint32(b[8:]))*entrySize + int(binary.BigEndian.Uint32(b[12:]))
}

func padding(n int) int { return -n & 7 }

// parse returns the entries of the header at the start of b, and the bytes after it.
func parse(b []byte) ([]Tag, []byte, error) {
	if !bytes.HasPrefix(b, magic()) {
		return nil, nil, fmt.Errorf("magic is %x", b[:8])
	}
	count := int(binary.BigEndian.Uint32(b[8:]))
	data := b[introSize+count*entrySize : headerSize(b)]
	var tags []Tag
	for i := range count {
		e := b[introSize+i*entrySize:]
		tag := Tag{binary.BigEndian.Uint32(e), binary.BigEndian.Uint32(e[4:]), binary.BigEndian.Uint32(e[12:]), nil}
		if tag.Tag == TagSignatures || tag.Tag == TagImmutable {
			continue
		}
		at := data[binary.BigEndian.Uint32(e[8:]):]
		size, err := tag.size(at)
		if err != nil {
			return nil, nil, err
		}
		tag.Data = at[:size]
		tags = append(tags, tag)
	}
	return tags, b[headerSize(b):], nil
}

// width returns the size in bytes of one item, which is also its alignment; 0 for strings.
func (t Tag) width() int {
	return map[uint32]int{1: 1, 2: 1, TypeInt16: 2, TypeInt32: 4, 5: 8, TypeBinary: 1}[t.Type]
}

func (t Tag) size(at []byte) (int, error) {
	if width := t.width(); width > 0 {
		return int(t.Count) * width, nil
	}
	size := 0
	for range t.Count {
		n := bytes.IndexByte(at[size:], 0)
		if n < 0 {
			return 0, errors.New("a string has no end")
		}
		size += n + 1
	}
	return size, nil
}

// Compose writes a header with these entries in their order. region is the tag of its region, or
// 0 for a header without one, as before rpm 4.
func Compose(region uint32, tags []Tag) []byte {
	var index, data []byte
	for _, t := range tags {
		for width := max(1, t.width()); len(data)%width != 0; {
			data = append(data, 0)
		}
		index = appendEntry(index, t.Tag, t.Type, uint32(len(data)), t.Count)
		data = append(data, t.Data...)
	}
	if region != 0 {
		// The region's data is a copy of its entry, with the negative size of the index as offset.
		entry := appendEntry(nil, region, TypeBinary, uint32(len(data)), regionSize)
		data = appendEntry(data, region, TypeBinary, uint32(-(len(index) + entrySize)), regionSize)
		index = append(entry, index...)
	}
	out := append(magic(), make([]byte, 8)...)
	binary.BigEndian.PutUint32(out[8:], uint32(len(index)/entrySize))
	binary.BigEndian.PutUint32(out[12:], uint32(len(data)))
	return append(append(out, index...), data...)
}

func appendEntry(b []byte, fields ...uint32) []byte {
	for _, f := range fields {
		b = binary.BigEndian.AppendUint32(b, f)
	}
	return b
}

func magic() []byte { return []byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0} }

// Pack makes a package from its parts, with a region in both headers. It first updates the sizes
// and digests that the parts state of each other, if they have any.
func (f *File) Pack() []byte {
	sum := sha256.Sum256(f.Payload)
	Set(f.Header, tagPayloadDigest, hexText(sum[:]))
	header := Compose(TagImmutable, f.Header)
	f.cover(header)
	signature := Compose(TagSignatures, f.Signature)
	return slices.Concat(f.Lead, signature, make([]byte, padding(len(signature))), header, f.Payload)
}

// cover updates what the signature header states about the rest.
func (f *File) cover(header []byte) {
	all := slices.Concat(header, f.Payload)
	s1, s256, m5 := sha1.Sum(header), sha256.Sum256(header), md5.Sum(all)
	Set(f.Signature, TagSHA1, hexText(s1[:]))
	Set(f.Signature, TagSHA256, hexText(s256[:]))
	Set(f.Signature, TagMD5, m5[:])
	Set(f.Signature, TagSize, binary.BigEndian.AppendUint32(nil, uint32(len(all))))
}

// Set replaces the data of the entries with the tag.
func Set(tags []Tag, tag uint32, data []byte) {
	for i := range tags {
		if tags[i].Tag == tag {
			tags[i].Data = data
		}
	}
}

// Insert inserts a tag in the order of the numbers.
func Insert(tags []Tag, tag Tag) []Tag {
	i := slices.IndexFunc(tags, func(t Tag) bool { return t.Tag > tag.Tag })
	if i < 0 {
		i = len(tags)
	}
	return slices.Insert(slices.Clone(tags), i, tag)
}

func hexText(b []byte) []byte { return append(hex.AppendEncode(nil, b), 0) }
