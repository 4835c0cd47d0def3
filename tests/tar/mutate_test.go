package tar

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// This file contains a small writer of tar archives in which every field can be wrong.

// hdr is a header block. Unset fields get the values of an ordinary file.
type hdr struct {
	name, link, mode, size, typeflag, magic, tail string
}

func (h hdr) block() []byte {
	b := make([]byte, 512)
	set := func(at, size int, text, usual string) {
		if text == "" {
			text = usual
		}
		copy(b[at:at+size], text)
	}
	set(0, 100, h.name, "")
	set(100, 8, h.mode, "0000755\x00")
	set(108, 8, "0000000\x00", "")
	set(116, 8, "0000000\x00", "")
	set(124, 12, h.size, "00000000000\x00")
	set(136, 12, "07000000000\x00", "")
	set(156, 1, h.typeflag, "0")
	set(157, 100, h.link, "")
	set(257, 8, h.magic, "ustar\x0000")
	set(329, 8, "0000000\x00", "")
	set(337, 8, "0000000\x00", "")
	set(345, 167, h.tail, "")
	return checksummed(b)
}

func octal(n int) string { return fmt.Sprintf("%011o\x00", n) }

func filled(text []byte) []byte {
	return append(bytes.Clone(text), make([]byte, (512-len(text)%512)%512)...)
}

// file returns an entry with content.
func (h hdr) file(content string) []byte {
	if h.size == "" {
		h.size = octal(len(content))
	}
	return append(h.block(), filled([]byte(content))...)
}

// record returns a pax record.
func record(key, value string) string {
	rest := len(key) + len(value) + 3
	n := rest + len(strconv.Itoa(rest))
	if len(strconv.Itoa(n)) != len(strconv.Itoa(rest)) {
		n = rest + len(strconv.Itoa(n))
	}
	return fmt.Sprintf("%d %s=%s\n", n, key, value)
}

func paxHeader(records ...string) []byte {
	return hdr{name: "PaxHeaders.0/x", typeflag: "x"}.file(strings.Join(records, ""))
}

func gnuLong(typeflag, name string) []byte {
	return hdr{name: "././@LongLink", typeflag: typeflag, magic: "ustar  \x00"}.file(name + "\x00")
}

func ended(parts ...[]byte) []byte {
	return append(bytes.Join(parts, nil), make([]byte, 1024)...)
}

const evilContent = "#!/bin/sh\necho evil\n"

// evil returns an entry to hide in the content of another one. Nothing may extract it.
func evil() []byte { return hdr{name: "bin/evil"}.file(evilContent) }

func hidden() []byte { return hdr{name: "bin/pad"}.file(string(evil())) }

func gnuSparse(spans [][2]int, size int, content string) []byte {
	h := hdr{name: "sparse", typeflag: "S", magic: "ustar  \x00", tail: strings.Repeat("\x00", 41), size: octal(len(content))}
	for i := range 4 {
		if i < len(spans) {
			h.tail += octal(spans[i][0]) + octal(spans[i][1])
		} else {
			h.tail += strings.Repeat("\x00", 24)
		}
	}
	h.tail += "\x00" + octal(size)
	return h.file(content)
}

func paxSparse(numbers []int, size int, content string) []byte {
	var lines strings.Builder
	for _, n := range numbers {
		fmt.Fprintln(&lines, n)
	}
	return append(paxHeader(record("GNU.sparse.major", "1"), record("GNU.sparse.minor", "0"), record("GNU.sparse.name", "dir/sparse"), record("GNU.sparse.realsize", strconv.Itoa(size))),
		hdr{name: "GNUSparseFile.1/sparse"}.file(string(filled([]byte(lines.String())))+content)...)
}

// bases returns ordinary archives with every kind of entry.
func bases() map[string][]byte {
	long, block := strings.Repeat("long/", 30)+"name", strings.Repeat("x", 512)
	return map[string][]byte{
		"ustar": ended(hdr{name: "dir/", typeflag: "5"}.block(), hdr{name: "dir/a"}.file("first"), hidden(), hdr{name: "dir/b", typeflag: "1", link: "dir/a"}.block(),
			hdr{name: "c", typeflag: "2", link: "dir/a"}.block(), hdr{name: "d", tail: "prefix"}.file(block), hdr{name: "e"}.file("last")),
		"gnu": ended(hdr{name: "dir/", typeflag: "5", magic: "ustar  \x00"}.block(), gnuLong("L", long), hdr{name: "a", magic: "ustar  \x00"}.file("first"), hidden(),
			gnuLong("K", long), hdr{name: "b", typeflag: "1", link: long[:99], magic: "ustar  \x00"}.block(), gnuSparse([][2]int{{1024, 512}, {2048, 3}}, 2051, block+"end"), hdr{name: "e", magic: "ustar  \x00"}.file("last")),
		"pax": ended(paxHeader(record("path", long)), hdr{name: "a"}.file("first"), hidden(), paxHeader(record("linkpath", long)), hdr{name: "b", typeflag: "1", link: long[:99]}.block(),
			paxSparse([]int{2, 1024, 512, 2048, 0}, 2048, block), hdr{name: "g", typeflag: "g"}.file(record("comment", "hello")), hdr{name: "e", typeflag: "7"}.file("last")),
		"v7": ended(hdr{name: "dir/", typeflag: "\x00", magic: strings.Repeat("\x00", 8)}.block(), hdr{name: "dir/a", typeflag: "\x00", magic: strings.Repeat("\x00", 8)}.file("first"),
			hidden(), hdr{name: "b", typeflag: "1", link: "dir/a", magic: strings.Repeat("\x00", 8)}.block()),
	}
}

// headers returns the offsets of an ordinary archive's header blocks.
func headers(text []byte) (offsets []int) {
	for at := 0; at+512 <= len(text) && text[at] != 0; {
		offsets = append(offsets, at)
		size, err := strconv.ParseInt(strings.Trim(string(text[at+124:at+136]), " \x00"), 8, 32)
		if err != nil || size < 0 {
			size = 0
		}
		at += 512 + (int(size)+511)/512*512
	}
	return offsets
}

// mutated mutates one of the seeds. The same number gives the same archive.
func mutated(number uint64, seeds [][]byte) (name string, text []byte) {
	r := rand.New(rand.NewPCG(number, 21))
	which := r.IntN(len(seeds))
	name, text = fmt.Sprintf("mutation %d of archive %d:", number, which), bytes.Clone(seeds[which])
	for range 1 + r.IntN(2) {
		all := headers(text)
		if len(all) == 0 {
			break
		}
		m := mutators[r.IntN(len(mutators))]
		at := all[r.IntN(len(all))]
		var what string
		what, text = m(r, text, at)
		name += fmt.Sprintf(" %s at %d;", what, at)
	}
	return name, text
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// inserted returns text with what inserted at an offset.
func inserted(text []byte, at int, what []byte) []byte {
	return bytes.Join([][]byte{text[:at], what, text[at:]}, nil)
}

var mutators = []func(r *rand.Rand, text []byte, at int) (string, []byte){
	mutateField, mutateField, mutateField, mutateType, mutateType, mutateByte, mutateByte,
	mutateRecords, mutateRecords, mutateRecords, mutateRecordText, mutateLong, mutateBlocks, mutateOrder, mutateEnd, mutateLink, mutateLink, mutateSignature,
}

// fields are the offsets and lengths of a header's fields.
var fields = [][2]int{{0, 100}, {100, 8}, {108, 8}, {116, 8}, {124, 12}, {124, 12}, {124, 12}, {136, 12}, {148, 8}, {157, 100}, {257, 8}, {265, 32}, {329, 8}, {337, 8}, {345, 12}, {357, 12}, {369, 12}, {386, 12}, {398, 12}, {410, 12}, {482, 1}, {483, 12}, {345, 155}, {475, 25}, {500, 12}}

var fieldTexts = []string{
	"", " ", "        ", "            ", "0", "1", "5", "\x001", "\x000000024", "\x0000000001000", "+24", "-24", " 24", "24 ", "24\x00junk", "24x", "0000024 junk", "\t24", "\n24",
	"00000001000\x00", "00000001000 ", "000000010000", "777777777777", "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00", "\x81\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00", "\xc0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00",
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x05", "\x80\x00\x00\x00\x00\x00\x00\x05", "8", "0x10", "1e3", "0100755\x00", "0120777\x00", "0040755\x00", "0010644\x00", "0060644\x00", "1000644\x00",
	"ustar\x0000", "ustar  \x00", "ustar   ", "ustar\x00\x00\x00", "ustar\x00 \x00", "ustar00\x00", "ustar \x0000", "USTAR\x0000", "tar\x00", "dir/a", "dir/", "/", ".", "./", "..", "../x", "c:x", "\\x", "/../x", "dir//a", "./dir/a", "dir/a/", "x\x00y", "prefix", "\x1f\x8b\x08", "PK\x03\x04", "BZh91AY&SY", "#mtree\n", "070707", "!<arch>\n", "begin 644 x\nM",
	"07000000000 07000000000 ", "\x00", "\x01",
}

func mutateField(r *rand.Rand, text []byte, at int) (string, []byte) {
	field, value := pick(r, fields), pick(r, fieldTexts)
	to := text[at+field[0] : at+field[0]+field[1]]
	if r.IntN(3) > 0 {
		clear(to)
	}
	copy(to, value)
	if field[0] != 148 {
		checksummed(text[at:])
	}
	return fmt.Sprintf("%q in field %d", value, field[0]), text
}

func mutateType(r *rand.Rand, text []byte, at int) (string, []byte) {
	kind := "\x000123456789ABDEGIKLMNQRSTVXZaghnxyz!\xff"[r.IntN(36)]
	text[at+156] = kind
	checksummed(text[at:])
	return fmt.Sprintf("type %q", kind), text
}

func mutateByte(r *rand.Rand, text []byte, at int) (string, []byte) {
	where, value := r.IntN(512), byte(r.IntN(256))
	text[at+where] = value
	checksummed(text[at:])
	return fmt.Sprintf("byte %d is %d", where, value), text
}

var keywords = []string{
	"path", "linkpath", "size", "uid", "gid", "mtime", "atime", "uname", "hdrcharset", "charset", "comment", "GNU.sparse.name", "GNU.sparse.size", "GNU.sparse.realsize", "GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.map",
	"GNU.sparse.numblocks", "GNU.sparse.offset", "GNU.sparse.numbytes", "GNU.dumpdir", "GNU.volume.label", "SCHILY.realsize", "SCHILY.filetype", "SCHILY.dev", "SCHILY.ino", "SCHILY.nlink", "SCHILY.devmajor", "SCHILY.offset", "SCHILY.xattr.security.ima", "SCHILY.xattr.user.a",
	"LIBARCHIVE.xattr.security.ima", "LIBARCHIVE.xattr.security%2Eima", "LIBARCHIVE.xattr.security.ima%00x", "LIBARCHIVE.creationtime", "SUN.holesdata", "RHT.security.selinux", "VENDOR.key", "SCHILY.acl.access", " path", "path\x00", "PATH", "SCHILY.xattr.security%3Dima", "SCHILY.fflags",
}

var recordValues = []string{
	"", "0", "1", "5", "9", "20", "512", "1024", "2048", "+20", "-20", " 20", "20 ", "020", "0x20", "20.5", "18446744073709551616", "9223372036854775807", "dir/a", "dir/", "new", "new/", "/abs", "../up", "c:x", "x\x00y", "BINARY", "ISO-IR 10646 2000 UTF-8",
	"0,512", "0,5,512,0", "512,512", " 0 512", " 512 1024", "sparse", "1,1,1", "\x04\x04stale", "BARzdGFsZQ", "BARz\ndGFsZQ==", "caf\xe9", "u::rwx,g::r-x,o::r--", "Yfile\x00\x00", "long" + "\n5 x=1",
}

func mutateRecords(r *rand.Rand, text []byte, at int) (string, []byte) {
	var records []string
	for range 1 + r.IntN(3) {
		records = append(records, record(pick(r, keywords), pick(r, recordValues)))
	}
	if r.IntN(4) == 0 {
		records = append(records, records[0])
	}
	kind := pick(r, []string{"x", "x", "x", "x", "g", "X"})
	if text[at+156] == 'x' && r.IntN(2) == 0 { // into the existing header
		size, _ := strconv.ParseInt(strings.Trim(string(text[at+124:at+136]), " \x00"), 8, 32)
		if old := at + 512 + int(size); size >= 0 && old <= len(text) {
			new := bytes.Join([][]byte{[]byte(strings.Join(records, "")), text[at+512 : old]}, nil)
			if r.IntN(2) == 0 {
				new = bytes.Join([][]byte{text[at+512 : old], []byte(strings.Join(records, ""))}, nil)
			}
			head := bytes.Clone(text[at : at+512])
			copy(head[124:], octal(len(new)))
			rest := text[min(at+512+(int(size)+511)/512*512, len(text)):]
			return fmt.Sprintf("records %q with others", records), bytes.Join([][]byte{text[:at], checksummed(head), filled(new), rest}, nil)
		}
	}
	return fmt.Sprintf("records %s %q", kind, records), inserted(text, at, hdr{name: "PaxHeaders/x", typeflag: kind}.file(strings.Join(records, "")))
}

// mutateRecordText damages the text of records, including their lengths.
func mutateRecordText(r *rand.Rand, text []byte, at int) (string, []byte) {
	line := record(pick(r, keywords), pick(r, recordValues))
	broken := pick(r, []string{" " + line, "0" + line, strings.Replace(line, " ", "\t", 1), strings.Replace(line, " ", "  ", 1), line[:len(line)-1] + "x", line + "\x00", "\x00" + line, "+" + line, strings.Replace(line, "=", "", 1), line + line + "junk", "3 =\n" + line, "1 \n", "99999999999 a=b\n"})
	return fmt.Sprintf("records %q", broken), inserted(text, at, hdr{name: "PaxHeaders/x", typeflag: "x"}.file(broken))
}

func mutateLong(r *rand.Rand, text []byte, at int) (string, []byte) {
	kind, name := pick(r, []string{"L", "K"}), pick(r, []string{"dir/a", "new", "new/", "", "x\x00y", "/abs", "c:x", strings.Repeat("n", 300), "bin/evil"})
	entry := gnuLong(kind, name)
	if r.IntN(4) == 0 { // without the zero at its end, or with data after it
		entry = hdr{name: "././@LongLink", typeflag: kind, magic: "ustar  \x00"}.file(name)
		copy(entry[512+len(name):], pick(r, []string{"", "more", "\x00more"}))
	}
	return fmt.Sprintf("%s %q", kind, name), inserted(text, at, entry)
}

func mutateBlocks(r *rand.Rand, text []byte, at int) (string, []byte) {
	blocks := map[string][]byte{
		"a zero block": make([]byte, 512), "two zero blocks": make([]byte, 1024), "an unsigned file": evil(), "a label": hdr{name: "label", typeflag: "V"}.block(),
		"a directory": hdr{name: "dir/a", typeflag: "5"}.block(), "a symbolic link": hdr{name: "dir", typeflag: "2", link: "bin"}.block(), "twenty labels": bytes.Repeat(hdr{name: "label", typeflag: "V"}.block(), 20), "forty globals": bytes.Repeat(hdr{name: "g", typeflag: "g"}.file(record("comment", "x")), 40),
		"what Apple adds": hdr{name: "bin/._evil"}.file("\x00\x05\x16\x07\x00\x02\x00\x00"), "a name list": hdr{name: "n", typeflag: "N"}.file("Rename a to b\n"), "an ACL": hdr{name: "acl", typeflag: "A"}.file("1000001\x00user::rwx\x00"),
	}
	names := []string{"a zero block", "two zero blocks", "an unsigned file", "a label", "a directory", "a symbolic link", "twenty labels", "forty globals", "a name list", "an ACL", "what Apple adds"}
	name := pick(r, names)
	return name, inserted(text, at, blocks[name])
}

// mutateOrder inserts a copy of another entry before this one.
func mutateOrder(r *rand.Rand, text []byte, at int) (string, []byte) {
	all := headers(text)
	from := r.IntN(len(all))
	end := len(text)
	if from+1 < len(all) {
		end = all[from+1]
	}
	return fmt.Sprintf("what is at %d", all[from]), inserted(text, at, bytes.Clone(text[all[from]:end]))
}

func mutateEnd(r *rand.Rand, text []byte, _ int) (string, []byte) {
	cut := len(bytes.TrimRight(text, "\x00"))
	switch r.IntN(6) {
	case 0:
		return "cut", text[:r.IntN(len(text))]
	case 1:
		return "end cut", text[:min(len(text), cut+r.IntN(1100))]
	case 2:
		return "data behind the end", append(text, evil()...)
	case 3:
		return "joined", bytes.Join([][]byte{text, text}, nil)
	case 4:
		return "gzip", gzipped(text)
	}
	return "gzip in two members", append(gzipped(text[:cut/2]), gzipped(text[cut/2:])...)
}

func gzipped(text []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(text)
	_ = z.Close()
	return out.Bytes()
}

func mutateLink(r *rand.Rand, text []byte, at int) (string, []byte) {
	h := hdr{name: pick(r, []string{"l", "dir/a", "bin/pad"}), typeflag: pick(r, []string{"1", "1", "2"}), link: pick(r, []string{"dir/a", "./dir/a", "/dir/a", "e", "c:e", "dir/../e", "dir", "nothing", ""}), size: pick(r, []string{"", octal(512), octal(20)})}
	if r.IntN(2) == 0 {
		signature := pick(r, append(signatures(text), "\x04\x04stale"))
		return fmt.Sprintf("link %+v with an xattr of %d bytes", h, len(signature)), inserted(text, at, append(paxHeader(record("SCHILY.xattr.security.ima", signature)), h.block()...))
	}
	return fmt.Sprintf("link %+v", h), inserted(text, at, h.block())
}

// signatures returns the signatures in an archive.
func signatures(text []byte) (all []string) {
	const key = " SCHILY.xattr.security.ima="
	for at := bytes.Index(text, []byte(key)); at >= 0; {
		start := at
		for start > 0 && '0' <= text[start-1] && text[start-1] <= '9' {
			start--
		}
		length, err := strconv.Atoi(string(text[start:at]))
		if from := at + len(key); err == nil && start+length-1 >= from && start+length <= len(text) {
			all = append(all, string(text[from:start+length-1]))
		}
		next := bytes.Index(text[at+1:], []byte(key))
		if at += 1 + next; next < 0 {
			return all
		}
	}
	return all
}

// mutateSignature gives an entry the signature of another one, in a record of either kind.
func mutateSignature(r *rand.Rand, text []byte, at int) (string, []byte) {
	all := signatures(text)
	if len(all) == 0 {
		return "nothing", text
	}
	value := pick(r, all)
	line := record("SCHILY.xattr.security.ima", value)
	if r.IntN(2) == 0 {
		line = record("LIBARCHIVE.xattr.security.ima", base64.RawStdEncoding.EncodeToString([]byte(value)))
	}
	if r.IntN(2) == 0 { // in place of the existing records
		if size, err := strconv.ParseInt(strings.Trim(string(text[at+124:at+136]), " \x00"), 8, 16); err == nil && text[at+156] == 'x' && size >= 0 && at+512+int(size) <= len(text) {
			rest := text[min(at+512+(int(size)+511)/512*512, len(text)):]
			return fmt.Sprintf("alone %.40q", line), bytes.Join([][]byte{text[:at], paxHeader(line), rest}, nil)
		}
	}
	return fmt.Sprintf("signature %.40q", line), inserted(text, at, paxHeader(line))
}
