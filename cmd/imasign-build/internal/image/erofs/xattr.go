package erofs

import (
	"fmt"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/quote"
)

const (
	xattrHeader = 12 // bytes
	xattrEntry  = 4  // bytes, without name and value
	longPrefix  = 0x80
)

// prefix is a prefix of xattr names: that of a kernel handler and what follows it.
type prefix struct {
	base  byte
	infix string
}

// Handlers of the kernel, by the numbers of the format. The kernel does not show xattrs of
// other numbers; mkfs.erofs uses number 0 for some of its own.
const (
	userXattr     = 1
	accessACL     = 2
	defaultACL    = 3
	trustedXattr  = 4
	securityXattr = 6
)

// handled returns the first part of a name, or "".
func handled(base byte) string {
	switch base {
	case userXattr:
		return "user."
	case accessACL:
		return "system.posix_acl_access"
	case defaultACL:
		return "system.posix_acl_default"
	case trustedXattr:
		return "trusted."
	case securityXattr:
		return "security."
	}
	return ""
}

// Xattrs returns all xattrs of an inode, by name.
func (f *FileSystem) Xattrs(id filesystem.ID) (map[string][]byte, error) {
	n, err := f.node(id)
	if err != nil {
		return nil, err
	}
	x := xattrs{fs: f, found: map[string][]byte{}}
	if n.body > n.xattrs {
		err = x.read(n)
	}
	return x.found, err
}

// xattrs collects the xattrs of one inode.
type xattrs struct {
	fs     *FileSystem
	filter uint32 // a bit is set if no name with this hash is there
	found  map[string][]byte
	size   int // of all values, in bytes
}

func (x *xattrs) read(n *node) error {
	b := make([]byte, n.body-n.xattrs)
	if err := x.fs.readAt(b, n.xattrs); err != nil {
		return err
	}
	x.filter = u32(b, 0)
	inline := xattrHeader + 4*int(b[4])
	if inline > len(b) {
		return filesystem.Corrupt("%d shared xattrs in %d bytes", b[4], len(b))
	}
	for at := xattrHeader; at < inline; at += 4 {
		if err := x.shared(x.fs.shared + int64(u32(b, at))*4); err != nil {
			return err
		}
	}
	for rest := b[inline:]; len(rest) > 0; {
		size := entrySize(rest)
		if size > len(rest) {
			return filesystem.Corrupt("an xattr of %d bytes in %d bytes", size, len(rest))
		}
		if err := x.add(rest); err != nil {
			return err
		}
		rest = rest[size:]
	}
	return nil
}

// entrySize returns the size of an entry with its padding.
func entrySize(entry []byte) int {
	return int(roundUp(xattrEntry+int64(entry[0])+int64(u16(entry, 2)), 4))
}

// shared adds an xattr that several inodes have.
func (x *xattrs) shared(at int64) error {
	head := make([]byte, xattrEntry)
	if err := x.fs.readAt(head, at); err != nil {
		return err
	}
	entry := make([]byte, xattrEntry+int(head[0])+int(u16(head, 2)))
	if err := x.fs.readAt(entry, at); err != nil {
		return err
	}
	return x.add(entry)
}

// add takes the entry that b begins with.
func (x *xattrs) add(b []byte) error {
	if x.size += int(u16(b, 2)); x.size > filesystem.MaxXattrs {
		return fmt.Errorf("%w: xattrs with more than %d bytes", filesystem.ErrLimit, filesystem.MaxXattrs)
	}
	p := prefix{base: b[1]}
	if i := int(b[1] &^ longPrefix); b[1]&longPrefix != 0 {
		if i >= len(x.fs.prefixes) {
			return nil // the kernel does not show it
		}
		p = x.fs.prefixes[i]
	}
	first := handled(p.base)
	if first == "" {
		return nil
	}
	end := xattrEntry + int(b[0])
	below := p.infix + string(b[xattrEntry:end])
	name, value := first+below, b[end:end+int(u16(b, 2))]
	if _, again := x.found[name]; again {
		return filesystem.Corrupt("the xattr %s repeats", quote.Name(name))
	}
	if x.fs.filtered && x.filter>>(filterHash(p.base, below)&31)&1 != 0 {
		return filesystem.Corrupt("the filter of xattr names hides %s", quote.Name(name))
	}
	if p.base == accessACL || p.base == defaultACL {
		if below != "" {
			return nil
		}
		return x.addACL(name, value)
	}
	x.found[name] = append([]byte{}, value...)
	return nil
}
