package erofs

import (
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// readPrefixes reads the long prefixes of xattr names (struct erofs_xattr_long_prefix).
// They are in the packed inode, or at the same position of the image.
func (f *FileSystem) readPrefixes() error {
	read := f.readAt
	if f.packed != nil && f.compat&compatPlainPrefixes == 0 {
		c := f.content(f.packed.node)
		defer c.release()
		read = func(p []byte, at int64) error {
			if n, err := c.ReadAt(p, at); n < len(p) {
				return noEOF(err)
			}
			return nil
		}
	}
	at := f.prefixStart
	for range f.prefixCount {
		p, size, err := readPrefix(read, at)
		if err != nil {
			return err
		}
		f.prefixes = append(f.prefixes, p)
		at = roundUp(at+size, 4)
	}
	return nil
}

// readPrefix reads one prefix, and returns its size with its length field.
func readPrefix(read func([]byte, int64) error, at int64) (prefix, int64, error) {
	var b [2 + 1 + 255]byte
	if err := read(b[:2], at); err != nil {
		return prefix{}, 0, err
	}
	n := int(u16(b[:], 0))
	if n < 1 || 2+n > len(b) {
		return prefix{}, 0, filesystem.Corrupt("a prefix of xattr names with %d bytes", n)
	}
	if err := read(b[2:2+n], at+2); err != nil {
		return prefix{}, 0, err
	}
	return prefix{b[2], string(b[3 : 2+n])}, int64(2 + n), nil
}
