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

// spoolInMemory is how much of a plan stays in memory: the plans of small
// containers (most packages) never touch the disk.
const spoolInMemory = 1 << 20

// spool holds records outside of Go's heap: in a file that has no name, so that
// no ending of the process leaves it behind (input.Spool).
type spool struct {
	dir  string // where the file is made; "" for the system's choice
	mem  bytes.Buffer
	file *os.File
	size int64         // of the file
	last string        // the path added last
	out  *cbor.Encoder // to mem; nil before the first record
}

// add writes a record: the number of bytes that its path has in common with the one
// before, and the record with the rest of it.
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
		if s.dir != "" {
			return fmt.Errorf("spool the plan in %s: %w", s.dir, err)
		}
		return fmt.Errorf("%w in %s: %w", ErrSpool, os.TempDir(), err)
	}
	s.mem.Reset()
	return nil
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

// from reads the spool's bytes from offset on.
func (s *spool) from(offset int64) io.Reader {
	if offset >= s.size {
		return bytes.NewReader(s.mem.Bytes()[offset-s.size:])
	}
	return io.MultiReader(io.NewSectionReader(s.file, offset, s.size-offset), bytes.NewReader(s.mem.Bytes()))
}

// all yields the records as they were added, each with the offset that it has
// for record.
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
			if err == io.EOF || !yield(r, err) || err != nil { //nolint:errorlint // the decoder's own
				return
			}
		}
	}
}

// record reads the one record at offset, which is known to be path's.
func (s *spool) record(offset int64, path string) (Record, error) {
	records, err := decoding()
	if err != nil {
		return Record{}, err
	}
	return decode(records.NewDecoder(s.from(offset)), func(int, string) (string, error) { return path, nil })
}

// common returns how many bytes two paths begin with in common.
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

// pathReader puts paths together again. Each shares its memory with the one before
// where it goes on from that one's end, as a chain of directories does.
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

// encoding writes strings as bytes: paths, names of xattrs and reasons come from file
// systems and command lines, and need not be UTF-8.
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
	case err == io.EOF: //nolint:errorlint // the decoder's own
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
