package tarball

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/imasign/imasign-build/internal/compress"
)

// fill rounds the archive up to whole blocks with zeros, which are missing if the content
// of the last entry does not fill its block, or if the last block is cut.
func (a *Archive) fill() {
	if a.stored = a.size; a.size%blockSize != 0 {
		a.file, a.size = filled{a.file, a.size}, padded(a.size)
	}
}

// filled is a file of stored bytes, followed by zeros up to a whole block.
type filled struct {
	io.ReaderAt
	stored int64
}

func (f filled) ReadAt(b []byte, at int64) (n int, err error) {
	part := b
	if end := padded(f.stored); at+int64(len(b)) > end {
		part, err = b[:max(end-at, 0)], io.EOF
	}
	have := part[:min(int64(len(part)), max(f.stored-at, 0))]
	if n, failed := f.ReaderAt.ReadAt(have, at); n < len(have) {
		return n, failed
	}
	clear(part[len(have):])
	return len(part), err
}

// signatures are the first bytes of files that bsdtar reads in another format than tar,
// even if the checksum of the first block is right: bsdtar unpacks nested compressions, and
// it prefers some formats to tar's oldest one.
var signatures = []struct{ magic, name string }{
	{"\x1f\x9d", "compress"}, {"\x02\x21\x4c\x18", "lz4"}, {"LZIP\x00", "lzip"}, {"LZIP\x01", "lzip"}, {"\x5d\x00", "lzma"}, {"\x5e\x00", "lzma"},
	{"\x89LZO\x00", "lzop"}, {"LRZI\x00", "lrzip"}, {"GRZipII\x00", "grzip"}, {"\xed\xab\xee\xdb", "RPM"},
	{"!<arch>\n", "ar"}, {"MSCF\x00", "CAB"}, {"xar!\x00", "xar"}, {"WARC/", "WARC"},
}

var uuencoded = regexp.MustCompile("(?m)^begin(-base64)? [0-7]{3} ")

// checkBeginning refuses an archive that is also another kind of file.
func (a *Archive) checkBeginning() error {
	head := make([]byte, min(a.size, 128<<10))
	if n, err := a.file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read: %w", err)
	} else {
		head = head[:n]
	}
	if len(head) < blockSize || !(*block)(head).checksumHolds() {
		return nil // no program reads this as a tar archive
	}
	kind := foreign(head)
	// A cabinet inside a Windows program. bsdtar prefers it only to tar's oldest form.
	if bytes.HasPrefix(head, []byte("MZ")) && !bytes.HasPrefix(head[257:], []byte("ustar")) && bytes.Contains(head, []byte("MSCF\x00\x00\x00\x00")) {
		kind = "CAB"
	}
	if kind == string(compress.None) {
		return nil
	}
	return fmt.Errorf("%w: it begins as %s does, and bsdtar reads it as that", ErrAmbiguous, kind)
}

// foreign returns the kind of file that begins with head, other than a tar archive, or
// "none".
func foreign(head []byte) string {
	for _, s := range signatures {
		if bytes.HasPrefix(head, []byte(s.magic)) {
			return s.name
		}
	}
	// Skippable frames of zstd and lz4.
	if len(head) > 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte("\x2a\x4d\x18")) {
		return "zstd"
	}
	// Any lines of text may come before uuencoded text.
	text := head
	if at := bytes.IndexFunc(head, func(c rune) bool { return c < ' ' && c != '\n' && c != '\r' || c > '~' }); at >= 0 {
		text = head[:at]
	}
	if uuencoded.Match(text) {
		return "uuencode"
	}
	return string(compress.Archives().Recognise(head))
}
