package tarball

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/imasign/imasign-build/internal/compress"
)

// fill adds the zeros that are missing where the last entry's content does not
// fill its block, and where the end of the archive is no whole block.
func (a *Archive) fill() {
	if a.stored = a.size; a.size%blockSize != 0 {
		a.file, a.size = filled{a.file, a.size}, padded(a.size)
	}
}

// filled is a file of stored bytes with zeros behind it, up to a whole block.
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

// signatures are what files begin with that bsdtar takes for something else than
// a tar archive, whatever checksum the first block has: it unpacks compressions
// one in the other, and some formats outbid tar's oldest.
var signatures = []struct{ magic, name string }{
	{"\x1f\x9d", "compress"}, {"\x02\x21\x4c\x18", "lz4"}, {"LZIP\x00", "lzip"}, {"LZIP\x01", "lzip"}, {"\x5d\x00", "lzma"}, {"\x5e\x00", "lzma"},
	{"\x89LZO\x00", "lzop"}, {"LRZI\x00", "lrzip"}, {"GRZipII\x00", "grzip"}, {"\xed\xab\xee\xdb", "RPM"},
	{"!<arch>\n", "ar"}, {"MSCF\x00", "CAB"}, {"xar!\x00", "xar"}, {"WARC/", "WARC"},
}

var uuencoded = regexp.MustCompile("(?m)^begin(-base64)? [0-7]{3} ")

// checkBeginning refuses an archive that is another kind of file as well.
func (a *Archive) checkBeginning() error {
	head := make([]byte, min(a.size, 128<<10))
	if n, err := a.file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read: %w", err)
	} else {
		head = head[:n]
	}
	if len(head) < blockSize || !(*block)(head).checksumHolds() {
		return nil // no tar archive to anybody
	}
	kind := foreign(head)
	// A cabinet in a program for Windows, and only against tar's oldest form.
	if bytes.HasPrefix(head, []byte("MZ")) && !bytes.HasPrefix(head[257:], []byte("ustar")) && bytes.Contains(head, []byte("MSCF\x00\x00\x00\x00")) {
		kind = "CAB"
	}
	if kind == string(compress.None) {
		return nil
	}
	return fmt.Errorf("%w: it begins as %s does, for which bsdtar takes it", ErrAmbiguous, kind)
}

// foreign names the kind of file that head begins, other than a tar archive;
// "none" for no other.
func foreign(head []byte) string {
	for _, s := range signatures {
		if bytes.HasPrefix(head, []byte(s.magic)) {
			return s.name
		}
	}
	// Frames that are skipped, of zstd and lz4.
	if len(head) > 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte("\x2a\x4d\x18")) {
		return "zstd"
	}
	// uuencoded text may follow lines of any text.
	text := head
	if at := bytes.IndexFunc(head, func(c rune) bool { return c < ' ' && c != '\n' && c != '\r' || c > '~' }); at >= 0 {
		text = head[:at]
	}
	if uuencoded.Match(text) {
		return "uuencode"
	}
	return string(compress.Archives().Recognise(head))
}
