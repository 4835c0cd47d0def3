package signing

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"iter"
	"os"
	"slices"
	"sync"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// Reuse reads the signatures of an earlier run from the lines of a manifest, and returns how
// many of them have the id of a key of the Engine. Plans take them, instead of making new
// ones, for entries with the same digest in the same form, wherever in a container they are.
// They are verified as those of a [Cache], which they take precedence over. Of several signatures
// for the same digest, the first valid one is taken; only the first 8 different ones are kept.
//
// Reuse must not be called while the Engine plans. Errors are those of lines, or that the
// signatures could not be written to the directory for spools ([ErrSpool]).
func (e *Engine) Reuse(lines iter.Seq2[manifest.Line, error]) (int64, error) {
	if e.archive == nil {
		e.archive = &archive{dir: e.spool, observe: e.observe, places: map[[archiveKey]byte]place{}, others: map[[archiveKey]byte][]place{}, seed: maphash.MakeSeed()}
		for _, q := range e.queues() {
			q.caches = append([]Cache{e.archive}, q.caches...)
		}
	}
	var n int64
	for line, err := range lines {
		if err != nil {
			return n, err
		}
		added, err := e.reuse(&line)
		if err != nil {
			return n, err
		}
		n += added
	}
	return n, nil
}

func (e *Engine) reuse(line *manifest.Line) (n int64, err error) {
	if len(line.Digest) == 0 {
		return 0, nil
	}
	entry := statedEntry(line)
	var before []Value
	for i := range e.stages {
		s := &e.stages[i]
		v, err := ima.Parse(line.Xattrs[s.Xattr])
		if err != nil { // there is none, or somebody else's
			continue
		}
		form := v.Form(s.Xattr)
		if key := s.key().Public; v.IsSignature() && v.Version > 1 && key != nil && key.ID() == v.KeyID {
			digest, err := s.over(form, v.Hash, &entry, before)
			if err == nil && digest != nil { // no file can get a value that is over nothing
				if err := e.archive.add(v.KeyID, statement{form, v.Hash, string(digest)}, v.Signature); err != nil {
					return n, err
				}
				n++
			}
		}
		before = append(before, Value{Form: form, Bytes: line.Xattrs[s.Xattr]})
	}
	return n, nil
}

// archive has the signatures of manifests. It stores them in a file without a name, and
// remembers where they are.
type archive struct {
	observe Observer
	warned  sync.Once
	dir     string

	places map[[archiveKey]byte]place   // the first signature of each digest
	others map[[archiveKey]byte][]place // further signatures of a digest; nearly always empty
	seed   maphash.Seed
	file   *os.File
	size   int64
	buffer []byte // what is not in the file yet
}

// archiveKey is the size in bytes of the part of a SHA-256 digest that a signature is found
// by.
const archiveKey = 16

// candidates is how many signatures of one digest are kept. A wrong one does not hide a good
// one behind it, and many wrong ones cost little.
const candidates = 8

type place struct {
	offset int64
	length int32
	sum    uint32 // of the signature, to recognise equal ones
}

func keyOf(id ima.KeyID, st statement) (key [archiveKey]byte) {
	f := st.form
	text := append(make([]byte, 0, 128), byte(f.Type), f.Version, byte(f.Over), byte(st.hash), byte(len(f.Xattr)))
	text = binary.BigEndian.AppendUint32(append(text, f.Xattr...), uint32(id))
	sum := sha256.Sum256(append(text, st.digest...))
	copy(key[:], sum[:])
	return key
}

func (a *archive) add(id ima.KeyID, st statement, signature []byte) error {
	key, at := keyOf(id, st), place{a.size, int32(len(signature)), uint32(maphash.Bytes(a.seed, signature))}
	same := func(p place) bool { return p.length == at.length && p.sum == at.sum }
	first, there := a.places[key]
	switch others := a.others[key]; {
	case !there:
		a.places[key] = at
	case same(first), slices.ContainsFunc(others, same), 1+len(others) == candidates:
		return nil
	default:
		a.others[key] = append(others, at)
	}
	a.size += int64(len(signature))
	if a.buffer = append(a.buffer, signature...); len(a.buffer) < spoolInMemory {
		return nil
	}
	if err := a.write(); err != nil {
		if a.file != nil {
			_ = a.file.Close() // the run ends
		}
		return fmt.Errorf("keep the signatures of a manifest: %w", spoolError(a.dir, err))
	}
	a.buffer = a.buffer[:0]
	return nil
}

func (a *archive) write() (err error) {
	if a.file == nil {
		if a.file, err = input.Spool(a.dir); err != nil { // closed by the garbage collector
			return err
		}
	}
	_, err = a.file.Write(a.buffer)
	return err
}

// Get implements Cache. Of several signatures of a digest, it returns the first valid one.
func (a *archive) Get(_ context.Context, b Batch) [][]byte {
	found := make([][]byte, len(b.Digests))
	for i, digest := range b.Digests {
		key := keyOf(b.Key.ID(), statement{b.Form, b.Hash, string(digest)})
		at, there := a.places[key]
		if !there {
			continue
		}
		found[i] = a.read(at)
		for _, at := range a.others[key] {
			if b.valid(i, found[i]) {
				break
			}
			if found[i] != nil {
				a.warn()
			}
			found[i] = a.read(at)
		}
	}
	return found
}

// read returns a signature, or nil if it cannot be read. It is then made again.
func (a *archive) read(at place) []byte {
	signature := make([]byte, at.length)
	if buffered := at.offset - (a.size - int64(len(a.buffer))); buffered >= 0 {
		copy(signature, a.buffer[buffered:])
	} else if _, err := a.file.ReadAt(signature, at.offset); err != nil {
		return nil
	}
	return signature
}

// Put implements Cache. An archive stays as it is, but warns of signatures that are not valid.
func (a *archive) Put(_ context.Context, _ Batch, _, refused [][]byte) [][]byte {
	if slices.ContainsFunc(refused, func(s []byte) bool { return s != nil }) {
		a.warn()
	}
	return nil
}

func (a *archive) warn() {
	a.warned.Do(func() {
		a.observe.Warn("", "a manifest of an earlier run has signatures that are not valid; they are replaced")
	})
}

// offer stores the signatures of slots, which an archive had, in caches that have none. It does
// not ask what the caches have: the archive decides.
func (q *queue) offer(ctx context.Context, caches []Cache, slots []*slot) {
	if len(slots) == 0 || len(caches) == 0 {
		return
	}
	b, signatures := q.batchOf(slots), make([][]byte, len(slots))
	for i, s := range slots {
		signatures[i] = signature(s.value)
	}
	for _, cache := range caches {
		cache.Put(context.WithoutCancel(ctx), b, signatures, make([][]byte, len(slots)))
	}
}
