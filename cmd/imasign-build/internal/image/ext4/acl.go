package ext4

import "github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"

// Versions of ACLs on disk, and in system calls.
const (
	aclDiskVersion  = 1
	aclXattrVersion = 2
)

// Tags of ACL entries. Those of named users and groups have an id on disk.
const (
	aclOwner      = 0x01
	aclUser       = 0x02
	aclOwnerGroup = 0x04
	aclGroup      = 0x08
	aclMask       = 0x10
	aclOther      = 0x20
)

// aclFromDisk converts an ACL to the form that getxattr returns, as ext4_acl_from_disk in
// fs/ext4/acl.c and posix_acl_to_xattr in fs/posix_acl.c do together. It returns nil for
// an ACL without entries, which the kernel hides.
func aclFromDisk(disk []byte) ([]byte, error) {
	if len(disk) < 4 || le.Uint32(disk) != aclDiskVersion {
		return nil, filesystem.Corrupt("an ACL that does not have version %d", aclDiskVersion)
	}
	if disk = disk[4:]; len(disk) == 0 {
		return nil, nil
	}
	xattr := le.AppendUint32(nil, aclXattrVersion)
	for len(disk) > 0 {
		entry, n, err := aclEntry(disk)
		if err != nil {
			return nil, err
		}
		xattr, disk = append(xattr, entry...), disk[n:]
	}
	return xattr, nil
}

// aclEntry converts the first entry of disk, which has n bytes there.
func aclEntry(disk []byte) (entry []byte, n int, err error) {
	if len(disk) < 4 {
		return nil, 0, filesystem.Corrupt("an ACL entry of %d bytes", len(disk))
	}
	switch tag := le.Uint16(disk); tag {
	case aclOwner, aclOwnerGroup, aclMask, aclOther:
		return append(append(entry, disk[:4]...), 0xFF, 0xFF, 0xFF, 0xFF), 4, nil
	case aclUser, aclGroup:
		if len(disk) < 8 {
			return nil, 0, filesystem.Corrupt("an ACL entry of %d bytes", len(disk))
		}
		return disk[:8], 8, nil
	default:
		return nil, 0, filesystem.Corrupt("an ACL entry with tag %#x", tag)
	}
}
