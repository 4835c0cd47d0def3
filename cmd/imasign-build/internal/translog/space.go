package translog

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"
)

// Files that grow, in the order of space.files.
const (
	spaceJournal = iota
	spaceHashes
	spaceOffsets
	spaceLeaves
	spaceFiles
)

// spaceStep is how many bytes are allocated at once, if the disk has them.
const spaceStep = 1 << 20

// space knows how much of the files is allocated on disk, and how much is promised.
type space struct {
	files [spaceFiles]*os.File

	mu        sync.Mutex
	ends      [spaceFiles]int64 // what is written
	allocated [spaceFiles]int64
	records   int64 // promised
	bytes     int64
}

// Reserve allocates disk space for one record whose encoding has, with its details, at most
// that many bytes, and keeps it until release is called. So a full disk is known before
// anything is signed. Errors may wrap [ErrFull], [ErrFailed] or [ErrClosed].
func (l *Log) Reserve(bytes int64) (release func(), err error) {
	l.mu.Lock()
	err = l.failed
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return l.space.reserve(bytes)
}

func (s *space) reserve(bytes int64) (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.allocate(s.records+1, s.bytes+bytes); err != nil {
		return nil, err
	}
	s.records++
	s.bytes += bytes
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.records--
		s.bytes -= bytes
	}), nil
}

// ensure allocates space for a group of records, which usually is reserved.
func (s *space) ensure(group []*waiter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var bytes int64
	for _, w := range group {
		bytes += int64(len(w.frame.body) + len(w.frame.details))
	}
	return s.allocate(max(s.records, int64(len(group))), max(s.bytes, bytes))
}

// move tells how far the files are written.
func (s *space) move(m *mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sizes := m.sizes()
	s.ends = [spaceFiles]int64{m.offset, sizes[0], sizes[1], sizes[2]}
}

// allocate allocates space for that many more records with that many bytes in all.
func (s *space) allocate(records, bytes int64) error {
	more := [spaceFiles]int64{
		spaceJournal: bytes + records*(2*frameOverhead+maxCheckpoint),
		spaceHashes:  tlog.HashSize * (2*records + 64),
		spaceOffsets: offsetSize * records,
		spaceLeaves:  bytes / (tlog.HashSize / prefixSize),
	}
	for i, f := range s.files {
		need := s.ends[i] + more[i]
		if need <= s.allocated[i] {
			continue
		}
		end := (need + spaceStep - 1) / spaceStep * spaceStep
		err := fallocate(f, s.ends[i], end)
		if err != nil {
			end = need
			err = fallocate(f, s.ends[i], end)
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrFull, f.Name(), err)
		}
		s.allocated[i] = end
	}
	return nil
}

// fallocate allocates the bytes from start to end of a file and does not change its size. Where
// the file system cannot do so, it only looks whether there is space.
func fallocate(f *os.File, start, end int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, start, end-start)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return err
	}
	if int64(fs.Bavail)*fs.Bsize < end-start {
		return unix.ENOSPC
	}
	return nil
}

func noSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
