package erofs

import (
	"slices"
	"sync"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// maxCached is the size of all decoded extents in the cache, in bytes. The largest extent
// fits.
const maxCached = maxDecoded + 4<<20

// packed is the inode that has the fragments of files. Its decoded extents are cached,
// because files share them.
type packed struct {
	*node

	mu    sync.Mutex
	cache []*decoded // the last one that was used is at the end
	bytes int64
}

// decoded is an extent that is decoded when it is first needed.
type decoded struct {
	extent

	once sync.Once
	data []byte
	err  error
}

// openPacked reads the inode of fragments, if the file system has one.
func (f *FileSystem) openPacked() error {
	if f.incompat&incompatFragments == 0 || f.packedInode == 0 {
		return nil
	}
	n, err := f.node(f.packedInode)
	if err != nil {
		return err
	}
	if !n.Mode.IsRegular() {
		return filesystem.Corrupt("the packed inode is no file")
	}
	f.packed = &packed{node: n}
	return nil
}

// readPacked fills p from a position in the packed inode.
func (f *FileSystem) readPacked(p []byte, at int64) error {
	if f.packed == nil || at < 0 || at > f.packed.Size || int64(len(p)) > f.packed.Size-at {
		return filesystem.Corrupt("a fragment of %d bytes at %d is outside of the packed inode", len(p), at)
	}
	if !f.packed.compressed() {
		c := f.content(f.packed.node)
		defer c.release()
		n, err := c.ReadAt(p, at)
		if n < len(p) {
			return noEOF(err)
		}
		return nil
	}
	for len(p) > 0 {
		d, err := f.packedExtent(at)
		if err != nil {
			return err
		}
		n := copy(p, d.data[at-d.from:])
		p, at = p[n:], at+int64(n)
	}
	return nil
}

// packedExtent returns the decoded extent that holds a position.
func (f *FileSystem) packedExtent(at int64) (*decoded, error) {
	d := f.packed.cached(at)
	if d == nil {
		c := f.content(f.packed.node)
		defer c.release()
		m, err := newMapper(f, c.node, &c.index)
		if err != nil {
			return nil, err
		}
		e, err := m.extentAt(at)
		if err != nil {
			return nil, err
		}
		if e.fragment {
			return nil, filesystem.Corrupt("the packed inode has fragments")
		}
		d = f.packed.add(e)
	}
	d.once.Do(func() { d.err = f.decodePacked(d) })
	return d, d.err
}

func (f *FileSystem) decodePacked(d *decoded) error {
	data := make([]byte, d.end-d.from)
	c := f.content(f.packed.node)
	defer c.release()
	if err := f.decode(data, &d.extent, &c.data); err != nil {
		return err
	}
	d.data = data
	return nil
}

func (k *packed) cached(at int64) *decoded {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.find(at)
}

// find returns an extent in the cache, and makes it the last one that was used.
func (k *packed) find(at int64) *decoded {
	i := slices.IndexFunc(k.cache, func(d *decoded) bool { return d.holds(at) })
	if i < 0 {
		return nil
	}
	d := k.cache[i]
	k.cache = append(slices.Delete(k.cache, i, i+1), d)
	return d
}

// add puts an extent into the cache, unless another goroutine did.
func (k *packed) add(e extent) *decoded {
	k.mu.Lock()
	defer k.mu.Unlock()
	if d := k.find(e.from); d != nil {
		return d
	}
	d := &decoded{extent: e}
	k.cache = append(k.cache, d)
	for k.bytes += e.end - e.from; k.bytes > maxCached; k.cache = slices.Delete(k.cache, 0, 1) {
		k.bytes -= k.cache[0].end - k.cache[0].from
	}
	return d
}
