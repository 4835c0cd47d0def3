package tarball

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// aclRecords are the pax records of POSIX ACLs. The kernel has ACLs as xattrs, but no program
// restores them from an xattr record. The records have the text of acl_to_text(3).
var aclRecords = map[string]string{
	"system.posix_acl_access":  "SCHILY.acl.access",
	"system.posix_acl_default": "SCHILY.acl.default",
}

// aclText returns the text of an ACL in the kernel's form: version 2, then eight bytes for
// each entry, all little-endian (include/uapi/linux/posix_acl_xattr.h). Ids stay numeric. ok
// is false for any other form.
func aclText(value []byte) (text string, ok bool) {
	if len(value)%8 != 4 || binary.LittleEndian.Uint32(value) != 2 {
		return "", false
	}
	var lines []string
	for value = value[4:]; len(value) > 0; value = value[8:] {
		tag, id := binary.LittleEndian.Uint16(value), binary.LittleEndian.Uint32(value[4:])
		perm := []byte("rwx")
		for i := range perm {
			if value[2]&(4>>i) == 0 {
				perm[i] = '-'
			}
		}
		who := map[uint16]string{
			0x01: "user:", 0x02: fmt.Sprintf("user:%d", id), 0x04: "group:", 0x08: fmt.Sprintf("group:%d", id), 0x10: "mask:", 0x20: "other:",
		}[tag]
		if who == "" {
			return "", false
		}
		lines = append(lines, who+":"+string(perm))
	}
	return strings.Join(lines, ","), true
}
