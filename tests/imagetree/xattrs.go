package imagetree

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// set sets an xattr of a file, or of a symbolic link itself.
func (m *maker) set(name, xattr string, value []byte) {
	m.Helper()
	m.must(name+": "+xattr, unix.Lsetxattr(m.path(name), xattr, value, 0))
}

// signature returns a value of security.ima in the form of a signature, which is not one.
func signature(name string, size int) []byte {
	header := []byte{3, 2, 4, 1, 2, 3, 4}
	return append(binary.BigEndian.AppendUint16(header, uint16(size)), random("signature of "+name, size)...)
}

// capability returns a value of security.capability (struct vfs_cap_data, revision 2).
func capability(permitted uint32) []byte {
	var b []byte
	for _, word := range []uint32{0x02000001, permitted, 0, 0, 0} {
		b = binary.LittleEndian.AppendUint32(b, word)
	}
	return b
}

// acl returns an ACL as the kernel takes it (struct posix_acl_xattr_header), which gives
// rights to users and groups.
func acl(ids ...uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	entry := func(tag, permissions uint16, id uint32) {
		b = binary.LittleEndian.AppendUint16(b, tag)
		b = binary.LittleEndian.AppendUint16(b, permissions)
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	const nobody = 0xffffffff
	entry(1, 6, nobody) // the owner
	for _, id := range ids {
		entry(2, 5, id)
	}
	entry(4, 4, nobody) // the group
	for _, id := range ids {
		entry(8, 4, id)
	}
	entry(0x10, 5, nobody) // the mask
	entry(0x20, 4, nobody) // others
	return b
}

// xattrs makes files with xattrs of all kinds, on files of all types.
func (m *maker) xattrs() {
	for _, name := range []string{"file", "executable", "capable", "full", "small"} {
		m.file("xattrs/"+name, 0o755, []byte(name))
	}
	m.mkdir("xattrs/directory", 0o755)
	m.must("xattrs/symlink", unix.Symlink("target", m.path("xattrs/symlink")))
	m.must("xattrs/fifo", unix.Mknod(m.path("xattrs/fifo"), unix.S_IFIFO|0o600, 0))
	m.must("xattrs/device", unix.Mknod(m.path("xattrs/device"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))))
	for _, name := range []string{"file", "directory", "symlink", "fifo", "device"} {
		m.set("xattrs/"+name, "trusted.origin", []byte(name))
		m.set("xattrs/"+name, "security.selinux", []byte("system_u:object_r:etc_t:s0\x00"))
	}
	m.set("xattrs/capable", "security.capability", capability(1<<10))
	m.set("xattrs/executable", "security.ima", signature("executable", 512))
	m.set("xattrs/executable", "user.binary", []byte("\x00\xff\n="))
	m.set("xattrs/small", "user.x", []byte("1"))
	m.set("xattrs/directory", "user.comment", []byte("a directory"))
	for i := range 25 {
		m.set("xattrs/full", fmt.Sprintf("user.number%d", i), fmt.Appendf(nil, "value %d", i))
	}
	m.set("links/a/second", "security.ima", signature("links", 256)) // shared by its other names
	m.unusual()
	m.acls()
}

// unusual sets values that are empty or large, and values that many files share.
func (m *maker) unusual() {
	if m.with(EmptyXattrs) {
		m.set("xattrs/file", "user.empty", nil)
		m.set("xattrs/symlink", "trusted.empty", nil)
		m.file("xattrs/empty", 0, nil)
		m.set("xattrs/empty", "user.empty", nil)
	}
	if m.with(LargeXattrs) {
		for i := range 3 {
			name := fmt.Sprintf("xattrs/large%d", i)
			m.file(name, 0o644, nil)
			m.set(name, "security.large", random(fmt.Sprint("large", i%2), 2500))
			m.set(name, "user.long-name-of-an-attribute-"+fmt.Sprint(i), []byte("x"))
		}
	}
	for i := range 40 {
		name := fmt.Sprintf("xattrs/shared%d", i)
		m.file(name, 0o644, fmt.Appendf(nil, "%d", i%4))
		m.set(name, "security.selinux", []byte("system_u:object_r:lib_t:s0\x00"))
		m.set(name, "security.ima", signature("shared", 256))
		m.set(name, "user.some", fmt.Appendf(nil, "%d", i%2))
	}
}

func (m *maker) acls() {
	if !m.with(ACLs) {
		return
	}
	m.file("acls/file", 0o644, []byte("ACL"))
	m.mkdir("acls/directory", 0o755)
	m.set("acls/file", "system.posix_acl_access", acl(0, 1000, 70000))
	m.set("acls/file", "security.ima", signature("acl", 256))
	m.set("acls/directory", "system.posix_acl_access", acl(1))
	m.set("acls/directory", "system.posix_acl_default", acl(4_000_000_000))
}
