package signing

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"

	"github.com/fxamacker/cbor/v2"

	"github.com/imasign/imasign-build/pkg/ima"
)

// spoolInMemory is how much of a plan stays in memory: the plans of small
// containers (most packages) never touch the disk.
const spoolInMemory = 1 << 20

// spool holds records outside of Go's heap: in a file that has no name, so that
// no ending of the process leaves it behind.
type spool struct {
	dir  string // where the file is made; "" for the system's choice
	mem  bytes.Buffer
	file *os.File
	size int64 // of the file
}

// spooled is a Record as it lies in the spool.
type spooled struct {
	_        struct{} `cbor:",toarray"`
	Index    int
	Status   Status
	Path     []byte // not necessarily UTF-8, which a CBOR text must be
	Mode     fs.FileMode
	UID, GID uint32
	Size     int64
	Xattrs   map[string][]byte
	Same     []byte
	Hash     ima.HashID
	Digest   []byte
	HashOnly bool
	Reason   string
	Token    []byte
	Values   map[string][]byte
}

func (s *spool) add(r *Record) error {
	text, err := cbor.Marshal(&spooled{
		Index: r.Index, Status: r.Status, Path: []byte(r.Path), Mode: r.Mode, UID: r.UID, GID: r.GID, Size: r.Size,
		Xattrs: r.Xattrs, Same: []byte(r.Same), Hash: r.Hash, Digest: r.Digest, HashOnly: r.HashOnly,
		Reason: r.Reason, Token: r.Token, Values: r.Values,
	})
	if err != nil {
		return fmt.Errorf("spool %s: %w", r.Path, err)
	}
	if s.mem.Write(text); s.mem.Len() < spoolInMemory {
		return nil
	}
	return s.flush()
}

func (s *spool) flush() (err error) {
	if s.file == nil {
		if s.file, err = unlinkedFile(s.dir); err != nil {
			return fmt.Errorf("spool the plan (TMPDIR chooses where): %w", err)
		}
	}
	n, err := s.file.Write(s.mem.Bytes())
	s.size += int64(n)
	if err != nil {
		return fmt.Errorf("spool the plan (TMPDIR chooses where): %w", err)
	}
	s.mem.Reset()
	return nil
}

func unlinkedFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "imasign-plan-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
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
		for dec := cbor.NewDecoder(s.from(0)); ; {
			r, err := decode(dec)
			if err == io.EOF || !yield(r, err) || err != nil { //nolint:errorlint // the decoder's own
				return
			}
		}
	}
}

// record reads the one record at offset.
func (s *spool) record(offset int64) (Record, error) {
	return decode(cbor.NewDecoder(s.from(offset)))
}

func decode(dec *cbor.Decoder) (Record, error) {
	at := int64(dec.NumBytesRead())
	var x spooled
	switch err := dec.Decode(&x); {
	case err == io.EOF: //nolint:errorlint // the decoder's own
		return Record{}, err
	case err != nil:
		return Record{}, fmt.Errorf("read the spooled plan: %w", err)
	}
	return Record{
		Entry: Entry{
			Index: x.Index, Path: string(x.Path), Mode: x.Mode, UID: x.UID, GID: x.GID, Size: x.Size,
			Xattrs: x.Xattrs, Same: string(x.Same), Hash: x.Hash, Digest: x.Digest, HashOnly: x.HashOnly,
			Reason: x.Reason, Token: x.Token,
		},
		Status: x.Status, Values: x.Values, offset: at,
	}, nil
}
