package policy

import "slices"

// fileSystem is a kind of file system, with both of its names in rules.
type fileSystem struct {
	name  string
	magic uint64 // include/uapi/linux/magic.h
}

// pseudo lists file systems whose files the kernel makes and that have no security.ima. The
// kernel's built-in appraise_tcb policy exempts them. vital are the names of those that a
// device needs to boot.
func pseudo() (all []fileSystem, vital []string) {
	return []fileSystem{
		{"proc", 0x9fa0}, {"sysfs", 0x62656572}, {"debugfs", 0x64626720}, {"configfs", 0x62656570}, {"tmpfs", 0x01021994}, {"ramfs", 0x858458f6},
		{"devpts", 0x1cd1}, {"binfmt_misc", 0x42494e4d}, {"securityfs", 0x73636673}, {"selinuxfs", 0xf97cff8c}, {"smackfs", 0x43415d53},
		{"nsfs", 0x6e736673}, {"efivarfs", 0xde5e81e4}, {"cgroup", 0x27e0eb}, {"cgroup2", 0x63677270},
	}, []string{"proc", "sysfs", "tmpfs", "ramfs", "securityfs"}
}

// readOnly lists file systems that are never written to.
func readOnly() []fileSystem {
	return []fileSystem{{"squashfs", 0x73717368}, {"erofs", 0xe0f5e1e2}, {"iso9660", 0x9660}, {"cramfs", 0x28cd3d45}, {"romfs", 0x7275}}
}

// writable lists common file systems of disks.
func writable() []fileSystem {
	return []fileSystem{
		{"ext2", 0xef53}, {"ext3", 0xef53}, {"ext4", 0xef53}, {"xfs", 0x58465342}, {"btrfs", 0x9123683e}, {"f2fs", 0xf2f52010},
		{"ubifs", 0x24051905}, {"jffs2", 0x72b6}, {"overlay", 0x794c7630},
	}
}

// names reports whether a rule is about this kind of file system.
func (f fileSystem) names(r *Rule) bool {
	return r.FSName == f.name || r.FSMagic != nil && *r.FSMagic == f.magic
}

func (r *Rule) onReadOnly() bool {
	return slices.ContainsFunc(readOnly(), func(f fileSystem) bool { return f.names(r) })
}

// anywhere reports whether a rule has no condition on the file system, nor on labels.
func (r *Rule) anywhere() bool {
	return r.FSName == "" && r.FSSubtype == "" && r.FSMagic == nil && r.FSUUID == nil && len(r.Labels) == 0
}
