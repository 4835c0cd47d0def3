package signing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/imasign/imasign-build/internal/input"
)

// spoolInMemory is how many bytes of a plan stay in memory. The plans of small containers
// (most packages) are never written to disk.
const spoolInMemory = 1 << 20

// spool stores records outside of Go's heap, in an unnamed file that disappears with the
// process, however the process ends (input.Spool).
type spool struct {
	dir  string // directory of the file; "" for the system's default
	mem  bytes.Buffer
	file *os.File
	size int64         // of the file, in bytes
	last string        // the path added last
	out  *cbor.Encoder // writes to mem; nil before the first record
}

// add writes a record as two CBOR items: the number of leading bytes that its path shares
// with the path before, and the record with the rest of the path.
func (s *spool) add(r *Record) error {
	if err := s.encode(r); err != nil {
		return fmt.Errorf("spool %s: %w", r.Path, err)
	}
	if s.mem.Len() < spoolInMemory {
		return nil
	}
	return s.flush()
}

func (s *spool) encode(r *Record) error {
	if s.out == nil {
		mode, err := encoding()
		if err != nil {
			return err
		}
		s.out = mode.NewEncoder(&s.mem)
	}
	path := r.Path
	shared := common(s.last, path)
	s.last, r.Path = path, path[shared:]
	err := errors.Join(s.out.Encode(shared), s.out.Encode(r))
	r.Path = path
	return err
}

func (s *spool) flush() error {
	if err := s.write(); err != nil {
		return spoolError(s.dir, err)
	}
	s.mem.Reset()
	return nil
}

// spoolError names the directory of a spool, and wraps ErrSpool if it is the system's default.
func spoolError(dir string, err error) error {
	if dir != "" {
		return fmt.Errorf("spool the plan in %s: %w", dir, err)
	}
	return fmt.Errorf("%w in %s: %w", ErrSpool, os.TempDir(), err)
}

func (s *spool) write() (err error) {
	if s.file == nil {
		if s.file, err = input.Spool(s.dir); err != nil {
			return err
		}
	}
	n, err := s.file.Write(s.mem.Bytes())
	s.size += int64(n)
	return err
}

func (s *spool) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// from returns a reader of the spool's bytes that starts at offset.
func (s *spool) from(offset int64) io.Reader {
	if offset >= s.size {
		return bytes.NewReader(s.mem.Bytes()[offset-s.size:])
	}
	return io.MultiReader(io.NewSectionReader(s.file, offset, s.size-offset), bytes.NewReader(s.mem.Bytes()))
}

// all yields the records in the order in which they were added. Each has its offset, which
// the method record takes.
func (s *spool) all() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		records, err := decoding()
		if err != nil {
			yield(Record{}, err)
			return
		}
		var path pathReader
		for dec := records.NewDecoder(s.from(0)); ; {
			r, err := decode(dec, path.next)
			if err == io.EOF || !yield(r, err) || err != nil { //nolint:errorlint // the decoder returns it unwrapped
				return
			}
		}
	}
}

// record reads the record at offset. The caller knows its path.
func (s *spool) record(offset int64, path string) (Record, error) {
	records, err := decoding()
	if err != nil {
		return Record{}, err
	}
	return decode(records.NewDecoder(s.from(offset)), func(int, string) (string, error) { return path, nil })
}

// common returns the number of leading bytes that two paths share.
func common(a, b string) int {
	n, at := min(len(a), len(b)), 0
	for block := 4096; block > 0; {
		switch {
		case at+block <= n && a[at:at+block] == b[at:at+block]:
			at += block
		default:
			block /= 2
		}
	}
	return at
}

// pathReader restores the paths of a spool. If a path continues the whole path before, as
// in a chain of directories, both share memory.
type pathReader struct{ b strings.Builder }

var errSpooledPath = errors.New("read the spooled plan: a path has lost its beginning")

func (p *pathReader) next(shared int, rest string) (string, error) {
	last := p.b.String()
	if shared < 0 || shared > len(last) {
		return "", errSpooledPath
	}
	if shared < len(last) {
		p.b = strings.Builder{}
		p.b.Grow(shared + len(rest))
		p.b.WriteString(last[:shared])
	}
	p.b.WriteString(rest)
	return p.b.String(), nil
}

// encoding returns a mode that writes strings as byte strings. Paths, names of xattrs and
// reasons come from file systems and command lines, and need not be UTF-8.
func encoding() (cbor.EncMode, error) {
	return cbor.EncOptions{String: cbor.StringToByteString}.EncMode()
}

func decoding() (cbor.DecMode, error) {
	return cbor.DecOptions{ByteStringToString: cbor.ByteStringToStringAllowed}.DecMode()
}

func decode(dec *cbor.Decoder, pathOf func(shared int, rest string) (string, error)) (Record, error) {
	at := int64(dec.NumBytesRead())
	var shared int
	var r Record
	switch err := dec.Decode(&shared); {
	case err == io.EOF: //nolint:errorlint // the decoder returns it unwrapped
		return Record{}, err
	case err != nil:
		return Record{}, fmt.Errorf("read the spooled plan: %w", err)
	}
	if err := dec.Decode(&r); err != nil {
		return Record{}, fmt.Errorf("read the spooled plan: %w", err)
	}
	path, err := pathOf(shared, r.Path)
	r.Path, r.offset = path, at
	return r, err
}
