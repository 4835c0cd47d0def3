package approval

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

// The ends of the names of files.
const (
	manifestEnd = ".manifest"
	approvalEnd = ".approval"
)

// maxFiles is how many files the directory may have.
const maxFiles = 10_000

// file is a file that was read. What was read is nil if the file does not count.
type file struct {
	state    state
	vote     *vote
	manifest *Manifest
}

// state tells whether a file may have changed.
type state struct {
	inode        uint64
	size         int64
	mtime, ctime syscall.Timespec
	settled      bool // it was old enough when it was read that a later change shows
}

// tick is longer than the clock of a file system takes to advance.
const tick = 50 * time.Millisecond

func stateOf(path string) (state, error) {
	now := time.Now()
	info, err := os.Lstat(path)
	if err != nil {
		return state{}, err
	}
	if !info.Mode().IsRegular() {
		return state{}, input.ErrNotRegular
	}
	sys := info.Sys().(*syscall.Stat_t)
	return state{sys.Ino, sys.Size, sys.Mtim, sys.Ctim, now.Sub(time.Unix(sys.Ctim.Unix())) > tick}, nil
}

// vote is a valid approval by one approver.
type vote struct {
	approver string
	spki     [sha256.Size]byte
	manifest [sha256.Size]byte
	kind     Kind
	origin   string
	made     time.Time
	notAfter time.Time
}

// scan reads the files that are new or changed. Withdrawn ones stop to count before new manifests
// are read, which may take long; scan then calls looked.
func (s *Store) scan(ctx context.Context, looked func()) error {
	names, err := s.names()
	if err != nil {
		return err
	}
	maps.DeleteFunc(s.files, func(name string, _ *file) bool { return !names[name] })
	votes := map[[sha256.Size]byte][]*vote{}
	for name := range names {
		if !strings.HasSuffix(name, approvalEnd) {
			continue
		}
		f := s.update(name, func(path string) (*file, error) {
			v, err := s.readVote(path)
			return &file{vote: v}, err
		})
		if v := f.vote; v != nil {
			votes[v.manifest] = append(votes[v.manifest], v)
		}
	}
	s.publish(votes)
	looked()
	now := time.Now()
	for _, sum := range slices.SortedFunc(maps.Keys(votes), compareSums) {
		name := ManifestName(sum)
		needs := needsOf(votes[sum], now)
		if len(needs) == 0 || !names[name] {
			continue
		}
		if old := s.files[name]; old != nil && old.manifest != nil && !old.manifest.has(needs) {
			delete(s.files, name) // read it again, for more
		}
		s.update(name, func(path string) (*file, error) {
			m, err := load(path, sum, needs, ctx.Err)
			return &file{manifest: m}, err
		})
		if ctx.Err() != nil {
			delete(s.files, name)
			return context.Cause(ctx)
		}
	}
	s.publish(votes)
	return nil
}

func compareSums(a, b [sha256.Size]byte) int { return slices.Compare(a[:], b[:]) }

func (s *Store) names() (map[string]bool, error) {
	list, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, e := range list {
		if strings.HasSuffix(e.Name(), manifestEnd) || strings.HasSuffix(e.Name(), approvalEnd) {
			names[e.Name()] = true
		}
	}
	if len(names) > maxFiles {
		return nil, fmt.Errorf("%s: %d files, at most %d are read: remove those that have expired", s.dir, len(names), maxFiles)
	}
	return names, nil
}

// update returns what is known of a file, and reads it if it may have changed.
func (s *Store) update(name string, read func(path string) (*file, error)) *file {
	path := filepath.Join(s.dir, name)
	now, err := stateOf(path)
	if old := s.files[name]; err == nil && old != nil && old.state == now && old.state.settled {
		return old
	}
	f := &file{}
	if err == nil {
		f, err = read(path)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, context.Canceled) { // withdrawn meanwhile, or closed
			s.options.Warn(fmt.Sprintf("%s does not count: %v", path, err))
		}
		f = &file{}
	}
	f.state = now
	s.files[name] = f
	return f
}

// publish replaces what requests see by the manifests that have been read.
func (s *Store) publish(votes map[[sha256.Size]byte][]*vote) {
	list := make([]approved, 0, len(votes))
	for _, sum := range slices.SortedFunc(maps.Keys(votes), compareSums) {
		one := approved{sum: sum, votes: votes[sum]}
		if f := s.files[ManifestName(sum)]; f != nil {
			one.manifest = f.manifest
		}
		list = append(list, one)
	}
	s.current.Store(&list)
}

func needsOf(votes []*vote, now time.Time) map[need]bool {
	needs := map[need]bool{}
	for _, v := range votes {
		if now.Before(v.notAfter) {
			needs[v.kind.need()] = true
		}
	}
	return needs
}

// errNobody means an approval that no known approver signed.
var errNobody = errors.New("no approver of the configuration signed it")

// readVote reads an approval and verifies it with the key of each approver.
func (s *Store) readVote(path string) (*vote, error) {
	content, err := input.ReadRegular(path, protocol.MaxApproval)
	if err != nil {
		return nil, err
	}
	a, message, signature, err := protocol.OpenApproval(content)
	if err != nil {
		return nil, err
	}
	for i := range s.options.Approvers {
		who := &s.options.Approvers[i]
		if verify(who.Key, message, signature) != nil {
			continue
		}
		form, err := protocol.FormOf(a.Type, a.Signature)
		if err != nil {
			return nil, err
		}
		return &vote{
			who.Name, [sha256.Size]byte(a.SPKI), [sha256.Size]byte(a.Manifest), Kind{form, ima.HashID(a.Hash)}, a.Origin,
			time.Unix(a.Made, 0), time.Unix(a.NotAfter, 0),
		}, nil
	}
	return nil, errNobody
}
