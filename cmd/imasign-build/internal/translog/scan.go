package translog

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/imasign/imasign-build/internal/protocol"
)

// scan reads a journal from its beginning, and compares it with the checkpoint and the index.
type scan struct {
	journal  *os.File
	origin   string
	promised protocol.Checkpoint // of the file checkpoint; Size is -1 if there is none
	index    *comparison
	visit    func(*frame) error // called for each record; may be nil

	mark           // after the last whole frame
	indexed mark   // where the index begins to differ, if it does
	rows    rows   // of the last record
	signed  []byte // the last checkpoint of the journal
	last    protocol.Checkpoint
	torn    bool // the journal has more bytes after mark
}

const readSize = 64 << 10

// run reads the whole journal. It changes nothing.
func (s *scan) run(ctx context.Context) error {
	r := bufio.NewReaderSize(s.journal, readSize)
	name, err := readStart(r)
	if err != nil {
		return s.damage(-1, err.Error())
	}
	if name != s.origin {
		return s.damage(-1, fmt.Sprintf("it is of the log %q, the key is that of %q", name, s.origin))
	}
	s.offset = int64(len(start(name)))
	return s.frames(ctx, r)
}

func (s *scan) frames(ctx context.Context, r io.Reader) error {
	var buffer []byte
	var f frame
	var err error
	for {
		if f, buffer, err = readFrame(r, buffer); err != nil {
			break
		}
		if err = errors.Join(ctx.Err(), s.frame(&f)); err != nil {
			return err
		}
	}
	switch {
	case errors.Is(err, io.EOF):
	case errors.Is(err, errFrame):
		s.torn = true
	default:
		return fmt.Errorf("read the log %s: %w", s.journal.Name(), err)
	}
	return s.atEnd()
}

// atEnd decides what the end of the whole frames means.
func (s *scan) atEnd() error {
	if err := s.checkPromise(); err != nil {
		return err
	}
	switch {
	case s.promised.Size > s.tree.size && s.torn:
		return s.damage(s.tree.size, fmt.Sprintf("it is damaged; the checkpoint is for %d records", s.promised.Size))
	case s.promised.Size > s.tree.size:
		return s.damage(s.tree.size, fmt.Sprintf("it is missing: the journal was cut; the checkpoint is for %d records", s.promised.Size))
	case s.promised.Size < 0 && s.torn:
		return s.damage(s.tree.size, "it is damaged, and without the file checkpoint nobody knows whether it was acknowledged; restore that file")
	}
	return nil
}

func (s *scan) frame(f *frame) error {
	if f.index != s.tree.size {
		return s.damage(s.tree.size, fmt.Sprintf("the journal has record %d here", f.index))
	}
	if f.kind == kindCheckpoint {
		return s.checkpoint(f)
	}
	if err := s.checkPromise(); err != nil {
		return err
	}
	if !s.index.differs {
		s.indexed.set(&s.mark)
	}
	s.rows.reset()
	if err := s.rows.add(&s.mark, f); err != nil {
		return s.damage(f.index, err.Error())
	}
	s.index.compare(f.index, &s.rows)
	if s.visit != nil {
		return s.visit(f)
	}
	return nil
}

// checkpoint compares a checkpoint in the journal with the records before it.
func (s *scan) checkpoint(f *frame) error {
	text, _, _ := bytes.Cut(f.body, []byte("\n\n"))
	c, err := protocol.ParseCheckpoint(string(text) + "\n")
	if err != nil || c.Origin != s.origin || c.Size != f.index {
		return s.damage(-1, fmt.Sprintf("the checkpoint after %d records is not one of this log", f.index))
	}
	if err := s.compare(c, s.last.Size); err != nil {
		return err
	}
	s.offset += f.size()
	s.signed, s.last = bytes.Clone(f.body), c
	return nil
}

// checkPromise compares the file checkpoint with the records, if they are as many. The
// checkpoint in the journal was compared before: if that is wrong too, it names the record.
func (s *scan) checkPromise() error {
	if s.promised.Size != s.tree.size {
		return nil
	}
	return s.compare(s.promised, -1)
}

// compare compares the tree with a checkpoint. The records before sound are those that were
// signed; sound is -1 if nothing is known of them.
func (s *scan) compare(c protocol.Checkpoint, sound int64) error {
	if s.tree.Root() == c.Root {
		return nil
	}
	first := sound
	if at := s.index.first; at > first && at < c.Size {
		first = at
	}
	if first < 0 {
		return s.damage(-1, fmt.Sprintf("the %d records are not those that the file checkpoint signed: they are of a fork of the log", c.Size))
	}
	return s.damage(first, fmt.Sprintf("the records from here to %d are not those that the checkpoint signed: changed, moved, or of a fork of the log", c.Size-1))
}

func (s *scan) damage(record int64, reason string) error {
	return &DamageError{Path: s.journal.Name(), Record: record, Reason: reason}
}

// comparison reads the index beside the journal.
type comparison struct {
	hashes, offsets, leaves io.Reader
	differs                 bool
	first                   int64 // the record whose hash differs first, or -1
}

func compareIndex(x *index) *comparison {
	read := func(f *os.File) io.Reader {
		if f == nil {
			return strings.NewReader("")
		}
		return bufio.NewReaderSize(io.NewSectionReader(f, 0, 1<<62), readSize/8)
	}
	return &comparison{hashes: read(x.hashes), offsets: read(x.offsets), leaves: read(x.leaves), first: -1}
}

// compare notes whether the index has these rows of a record next.
func (c *comparison) compare(record int64, r *rows) {
	hashes, missing := next(c.hashes, r.hashBytes())
	if !hashes && !missing && c.first < 0 {
		c.first = record
	}
	offsets, _ := next(c.offsets, r.offsets)
	leaves, _ := next(c.leaves, r.leaves)
	c.differs = c.differs || !hashes || !offsets || !leaves
}

// next reports whether r has these bytes next, and whether it ends before.
func next(r io.Reader, want []byte) (same, missing bool) {
	got := make([]byte, len(want))
	_, err := io.ReadFull(r, got)
	return err == nil && bytes.Equal(got, want), err != nil
}

// readPromise reads the file checkpoint.
func readPromise(path string, key note.Signer) (protocol.Checkpoint, error) {
	signed, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist), err == nil && len(signed) == 0:
		return protocol.Checkpoint{Size: -1}, nil
	case err != nil:
		return protocol.Checkpoint{}, fmt.Errorf("open the log: %w", err)
	}
	c, err := openOwn(signed, key)
	if err != nil {
		return protocol.Checkpoint{}, &DamageError{Path: path, Record: -1, Reason: err.Error()}
	}
	return c, nil
}
