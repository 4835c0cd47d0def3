package image

import "github.com/imasign/imasign-build/internal/compress"

// format is a format and how it is recognised.
type format struct {
	Format

	is  func(*probe) bool
	end func(*probe) int64 // of a file system that can be read: its size in bytes
}

// magic is a test for bytes at an offset; a negative one counts from the end.
func magic(offset int64, texts ...string) func(*probe) bool {
	return func(p *probe) bool {
		for _, text := range texts {
			if p.has(offset, text) {
				return true
			}
		}
		return false
	}
}

// Advice that several formats share.
const (
	mountIt   = "use the tree that it is made from, or mount it and use that tree"
	noXattrs  = "its files have no xattrs, so they have no signatures"
	noFiles   = "it has no files"
	openIt    = "open it and name the device that appears"
	toRaw     = "`qemu-img convert -O raw` converts it"
	notAnArch = "it is an archive, not an image"
	kernel    = "it is a program that boots, and has no file system"
)

// row returns a format that cannot be read.
func row(name, what, advice string, is func(*probe) bool) format {
	return format{Format: Format{Name: name, What: what, Advice: advice}, is: is}
}

// bundle returns a format that holds images.
func bundle(name, what, unpack string, is func(*probe) bool) format {
	f := row(name, what, unpack+" unpacks it, then verify the images in it", is)
	f.Holds = true
	return f
}

// wrappers are formats that are also one of those that can be read.
func wrappers() []format {
	return []format{
		bundle("RAUC bundle", "a RAUC bundle", "`rauc extract`", isRAUC),
		row("composefs", "a composefs image", "the content of its files is elsewhere, in a directory of objects: use the tree that it is made from", magic(0, "\x9a\x62\x78\xd0")),
	}
}

// readables are the file systems with a reader, at most one of which may match.
func readables() []format {
	return []format{
		{Format{Name: "squashfs", What: "a squashfs file system", Readable: true}, magic(0, "hsqs"), squashfsEnd},
		{Format{Name: "erofs", What: "an erofs file system", Readable: true}, magic(superblock, erofsMagic), erofsEnd},
		{Format{Name: "ext4", What: "an ext4 file system", Readable: true}, isExt, extEnd},
	}
}

// others are the formats that are only named. The first one that matches is taken. The
// places of file systems are those of util-linux (libblkid/src/superblocks), the others
// those of the programs that write them.
func others() []format {
	return append(fileSystems(), append(volumes(), append(archives(), append(programs(), compressions()...)...)...)...)
}

func fileSystems() []format {
	return []format{
		row("ubifs", "a ubifs image", mountIt, magic(0, "\x31\x18\x10\x06")),
		row("ubi", "a UBI image", mountIt, magic(0, "UBI#")),
		row("jffs2", "a jffs2 image", mountIt, isJFFS2),
		row("squashfs", "a squashfs file system before version 4", mountIt, magic(0, "sqsh", "shsq", "qshs")),
		row("xfs", "an xfs file system", mountIt, magic(0, "XFSB")),
		row("ntfs", "an NTFS file system", mountIt, magic(3, "NTFS    ")),
		row("exfat", "an exFAT file system", noXattrs, magic(3, "EXFAT   ")),
		row("vfat", "a FAT file system", noXattrs, isFAT),
		row("cramfs", "a cramfs image", noXattrs, isCramfs),
		row("romfs", "a romfs image", noXattrs, magic(0, "-rom1fs-")),
		row("f2fs", "an f2fs file system", mountIt, magic(superblock, "\x10\x20\xf5\xf2")),
		row("btrfs", "a btrfs file system", mountIt, magic(64<<10+64, "_BHRfS_M")),
		row("jbd", "the journal of an ext4 file system", noFiles, isJournal),
		row("udf", "a UDF file system", noXattrs, isUDF),
		row("iso9660", "an ISO 9660 image", noXattrs, magic(32<<10+1, "CD001")),
		row("swap", "a swap area", noFiles, isSwap),
	}
}

func volumes() []format {
	return []format{
		row("LUKS", "a LUKS volume", "`cryptsetup open --readonly` opens it, then name the device that appears", magic(0, "LUKS\xba\xbe")),
		row("LVM", "a physical volume of LVM", openIt, isLVM),
		row("MD RAID", "a member of an MD RAID", openIt, isRAID),
		row("dm-verity", "a dm-verity hash tree", "name the partition that it belongs to", magic(0, verityMagic)),
		row("AVB", "metadata of Android Verified Boot", noFiles, magic(0, "AVB0")),
		row("Android sparse", "an Android sparse image", "`simg2img` converts it", magic(0, "\x3a\xff\x26\xed")),
		row("qcow2", "a qcow2 image", toRaw, magic(0, "QFI\xfb")),
		row("vmdk", "a VMDK image", toRaw, magic(0, "KDMV", "COWD", "# Disk DescriptorFile")),
		row("vdi", "a VDI image", toRaw, magic(64, "\x7f\x10\xda\xbe")),
		row("vhdx", "a VHDX image", toRaw, magic(0, "vhdxfile")),
		row("vhd", "a VHD image", toRaw, magic(0, "conectix")),
	}
}

func archives() []format {
	return []format{
		bundle("SWUpdate image", "an SWUpdate image", "`cpio -id`", isSWU),
		row("cpio", "a cpio archive", noXattrs, magic(0, "070701", "070702", "070707", "\xc7\x71", "\x71\xc7")),
		row("ipk", "an opkg package", notAnArch, isIPK),
		row("deb", "a Debian package", notAnArch, magic(0, "!<arch>\ndebian-binary ")),
		row("tar", "a tar archive", notAnArch, magic(257, "ustar")),
		row("rpm", "an RPM package", notAnArch, magic(0, "\xed\xab\xee\xdb")),
	}
}

func programs() []format {
	return []format{
		row("Android boot", "an Android boot image", kernel, magic(0, "ANDROID!", "VNDRBOOT")),
		row("U-Boot image", "a U-Boot image", "`dumpimage` extracts its parts", magic(0, "\x27\x05\x19\x56")),
		row("FIT", "a flattened device tree, or a FIT image", "`dumpimage` extracts the parts of a FIT image", magic(0, "\xd0\x0d\xfe\xed")),
		row("kernel", "a Linux kernel", kernel, isKernel),
		row("ELF", "an ELF program", "it is a program, and has no file system", magic(0, "\x7fELF")),
	}
}

// compressions are the formats of compressed data. What is compressed as a whole has been
// decompressed before.
func compressions() (list []format) {
	for _, name := range compress.Images().Words() {
		c := compress.Format(name)
		list = append(list, row(name, name+" data", "decompress it first (only a whole file is decompressed, and only once)", func(p *probe) bool {
			return c != compress.None && compress.Images().Recognise(p.at(0, int(min(p.size, compress.HeadSize)))) == c
		}))
	}
	return list
}
