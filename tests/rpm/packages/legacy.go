package packages

import (
	"crypto/md5"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Tags of the main header that newer versions of rpm introduced, or that old ones used.
const (
	tagOldFilenames     = 1027 // rpm 3: full paths
	tagDirIndexes       = 1116
	tagBasenames        = 1117
	tagDirNames         = 1118
	tagFileDigestAlgo   = 5011
	tagPayloadDigest    = 5092
	tagPayloadAlgo      = 5093
	tagPayloadDigestAlt = 5097
	tagEncoding         = 5062
)

// legacy makes a package as older versions of rpm wrote it. None of them runs here, so it
// rewrites the headers of a package by rpmbuild and keeps the payload.
type legacy struct {
	from    string
	regions bool
	convert func([]Tag) []Tag
}

func legacies() map[string]legacy {
	return map[string]legacy{
		// rpm 4.4 to 4.8: MD5 of files, SHA-1 of the header, no digest of only the payload.
		"el5": {from: "md5", regions: true, convert: withoutNewTags},
		// The same with SHA-256 of files, as in el6.
		"el6": {from: "sha256", regions: true, convert: withoutNewTags},
		// rpm 3: no regions, no header digest, whole paths.
		"rpm3": {from: "md5", convert: func(tags []Tag) []Tag { return oldFilenames(withoutNewTags(tags)) }},
	}
}

func withoutNewTags(tags []Tag) []Tag {
	return Without(tags, tagPayloadDigest, tagPayloadAlgo, tagPayloadDigestAlt, tagEncoding)
}

func oldFilenames(tags []Tag) []Tag {
	indexes, _ := Find(tags, tagDirIndexes)
	bases, _ := Find(tags, tagBasenames)
	dirs, _ := Find(tags, tagDirNames)
	var names strings.Builder
	for i, base := range bases.Strings() {
		names.WriteString(dirs.Strings()[binary.BigEndian.Uint32(indexes.Data[4*i:])] + base + "\x00")
	}
	tags = append(Without(tags, tagDirIndexes, tagBasenames, tagDirNames),
		Tag{tagOldFilenames, TypeStringArray, bases.Count, []byte(names.String())})
	slices.SortFunc(tags, func(a, b Tag) int { return int(a.Tag) - int(b.Tag) })
	return tags
}

func (l legacy) build(name string, from func() (string, error)) (string, error) {
	path, err := from()
	if err != nil {
		return "", err
	}
	dir, err := directory(name)
	if err != nil {
		return "", err
	}
	file, err := Read(path)
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "imatest-"+name+"-1.0-1.x86_64.rpm")
	return path, os.WriteFile(path, l.rewrite(file), 0o644)
}

// rewrite converts the main header and recomputes the digests of the signature header.
func (l legacy) rewrite(f *File) []byte {
	signatures, immutable := uint32(0), uint32(0)
	drop := []uint32{TagSHA256, TagReserved, TagSHA1}
	if l.regions {
		signatures, immutable = TagSignatures, TagImmutable
		drop = drop[:2]
	}
	header := Compose(immutable, l.convert(f.Header))
	sum, digest := md5.Sum(append(slices.Clone(header), f.Payload...)), sha1.Sum(header)
	tags := Without(f.Signature, drop...)
	for i, t := range tags {
		switch t.Tag {
		case TagSize:
			tags[i].Data = binary.BigEndian.AppendUint32(nil, uint32(len(header)+len(f.Payload)))
		case TagMD5:
			tags[i].Data = sum[:]
		case TagSHA1:
			tags[i].Data = append([]byte(hex.EncodeToString(digest[:])), 0)
		}
	}
	signature := Compose(signatures, tags)
	signature = append(signature, make([]byte, padding(len(signature)))...)
	return slices.Concat(f.Lead, signature, header, f.Payload)
}
