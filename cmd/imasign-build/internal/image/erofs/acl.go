package erofs

import (
	"encoding/binary"
	"math"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/quote"
)

// Tags of the entries of a POSIX ACL (struct posix_acl_xattr_entry).
const (
	aclUserObject  = 0x01
	aclUser        = 0x02
	aclGroupObject = 0x04
	aclGroup       = 0x08
	aclMask        = 0x10
	aclOther       = 0x20
)

// addACL adds a POSIX ACL as the kernel shows it: entries that have no id have the id -1,
// and a list without entries does not exist.
func (x *xattrs) addACL(name string, value []byte) error {
	const header, entry, version = 4, 8, 2
	if len(value) < header || u32(value, 0) != version || (len(value)-header)%entry != 0 {
		return filesystem.Corrupt("the value of %s is no list", quote.Name(name))
	}
	if len(value) == header {
		return nil
	}
	shown := append([]byte{}, value...)
	for e := shown[header:]; len(e) > 0; e = e[entry:] {
		switch u16(e, 0) {
		case aclUser, aclGroup:
		case aclUserObject, aclGroupObject, aclMask, aclOther:
			binary.LittleEndian.PutUint32(e[4:], math.MaxUint32)
		default:
			return filesystem.Corrupt("%s has an entry with tag %#x", quote.Name(name), u16(e, 0))
		}
	}
	x.found[name] = shown
	return nil
}
