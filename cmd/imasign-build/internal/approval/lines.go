package approval

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"

	"github.com/imasign/imasign-build/pkg/manifest"
)

// lines finds the lines of a manifest by path, without having them in memory: for each line, the
// beginning of the hash of its path, its place in the file, and the beginning of its own hash,
// by which a changed file is found. A million lines take 32 MB.
type lines struct {
	file  io.ReaderAt
	index digests
}

// Sizes of the parts of a record of lines, in bytes.
const (
	pathSize  = 8
	placeSize = 8 // 40 bits of offset, 24 bits of length
	lineSize  = 16
)

func newLines(file io.ReaderAt) *lines {
	return &lines{file, digests{size: pathSize + placeSize + lineSize, key: pathSize}}
}

func pathKey(path string) []byte {
	sum := sha256.Sum256([]byte(path))
	return sum[:pathSize]
}

func (x *lines) add(path string, at lineAt) {
	x.index.data = append(x.index.data, pathKey(path)...)
	x.index.data = binary.BigEndian.AppendUint64(x.index.data, uint64(at.offset)<<24|uint64(at.length))
	x.index.data = append(x.index.data, at.sum[:lineSize]...)
}

// errChanged means that a manifest changed after it was read.
var errChanged = errors.New("the file of the manifest was changed")

// find returns the lines with a path. Errors wrap errChanged, or are those of reading the file.
func (x *lines) find(path string) (found []manifest.Line, err error) {
	records := x.index.find(pathKey(path))
	for at := 0; at < len(records); at += x.index.size {
		record := records[at:][:x.index.size]
		place := binary.BigEndian.Uint64(record[pathSize:])
		text := make([]byte, place&(1<<24-1))
		if _, err := x.file.ReadAt(text, int64(place>>24)); err != nil {
			return nil, err
		}
		if sum := sha256.Sum256(text); !bytes.Equal(sum[:lineSize], record[pathSize+placeSize:]) {
			return nil, errChanged
		}
		l, err := manifest.ParseLine(text)
		if err != nil {
			return nil, err
		}
		if l.Path == path {
			found = append(found, l)
		}
	}
	return found, nil
}

// lineAt is the place of a line in a file, in bytes, with its newline, and its SHA-256.
type lineAt struct {
	offset, length int64
	sum            [sha256.Size]byte
}

// tap passes on what it reads, and finds the lines in it.
type tap struct {
	from   io.Reader
	sum    hash.Hash
	offset int64
	length int64
	ended  []lineAt // lines that were read and not yet taken
}

func newTap(r io.Reader) *tap { return &tap{from: r, sum: sha256.New()} }

func (t *tap) Read(b []byte) (int, error) {
	n, err := t.from.Read(b)
	for rest := b[:n]; len(rest) > 0; {
		line := rest
		end := bytes.IndexByte(rest, '\n')
		if end >= 0 {
			line = rest[:end+1]
		}
		rest = rest[len(line):]
		t.sum.Write(line)
		if t.length += int64(len(line)); end >= 0 {
			t.ended = append(t.ended, lineAt{t.offset, t.length, [sha256.Size]byte(t.sum.Sum(nil))})
			t.offset, t.length = t.offset+t.length, 0
			t.sum.Reset()
		}
	}
	return n, err
}

// next takes the first line that was read. The reader of a manifest reads a whole line, and
// usually more, before it returns it.
func (t *tap) next() (at lineAt) {
	if len(t.ended) > 0 {
		at, t.ended = t.ended[0], t.ended[1:]
	}
	return at
}
