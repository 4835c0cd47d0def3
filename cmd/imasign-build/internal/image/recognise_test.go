package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// makeImage runs a shell script that makes the file "out" from the directory "tree", and returns
// its path.
func makeImage(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-ec", "mkdir tree; echo content >tree/file\n"+script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/sbin:"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return filepath.Join(dir, "out")
}

func opened(t *testing.T, path string) (*os.File, int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return f, info.Size()
}

const (
	makeExt4 = "mke2fs -q -t ext4 -d tree out 4M\n"
	mebi     = "truncate -s 16M out\n"
	signCMS  = `openssl req -x509 -newkey rsa:2048 -nodes -keyout k -out c -subj /CN=t 2>/dev/null
cms() { openssl cms -sign -in "$1" -signer c -inkey k -outform DER -out sig $2 -binary
cat sig >>out; python3 -c "import os, sys; sys.stdout.buffer.write(os.path.getsize(\"sig\").to_bytes(8, \"big\"))" >>out; }
`
)

// TestMade recognises what the programs of Debian make, as blkid does.
func TestMade(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, want, sealed, blkid, script string }{
		{"ext2", "ext2", "", "ext2", "mke2fs -q -t ext2 -d tree out 4M"},
		{"ext3", "ext3", "", "ext3", "mke2fs -q -t ext3 -d tree out 4M"},
		{"ext4", "ext4", "", "ext4", makeExt4},
		{"journal", "jbd", "", "jbd", "mke2fs -q -O journal_dev out 4M"},
		{"squashfs", "squashfs", "", "squashfs", "mksquashfs tree out -quiet -no-progress"},
		{"erofs", "erofs", "", "erofs", "mkfs.erofs out tree"},
		{"vfat", "vfat", "", "vfat", "mkfs.vfat -C out 4096"},
		{"vfat 32", "vfat", "", "vfat", "mkfs.vfat -F 32 -C out 65536"},
		{"swap", "swap", "", "swap", mebi + "mkswap out"},
		{"btrfs", "btrfs", "", "btrfs", "truncate -s 120M out; mkfs.btrfs -q out"},
		{"f2fs", "f2fs", "", "f2fs", "truncate -s 64M out; mkfs.f2fs -q out"},
		{"ubifs", "ubifs", "", "ubifs", "mkfs.ubifs -m 2048 -e 124KiB -c 100 -r tree -o out"},
		{"jffs2", "jffs2", "", "", "mkfs.jffs2 -r tree -o out"},
		{"jffs2, big-endian", "jffs2", "", "", "mkfs.jffs2 -b -r tree -o out"},
		{"ubi", "ubi", "", "", "printf '[a]\nmode=ubi\nvol_id=0\nvol_size=1MiB\nvol_type=dynamic\nvol_name=a\n' >ini; ubinize -m 2048 -p 128KiB -o out ini"},
		{"LUKS1", "LUKS", "", "crypto_LUKS", mebi + "printf k | cryptsetup -q luksFormat --type luks1 --pbkdf-force-iterations 1000 out -"},
		{"LUKS2", "LUKS", "", "crypto_LUKS", mebi + "printf k | cryptsetup -q luksFormat --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 out -"},
		{"dm-verity", "dm-verity", "", "DM_verity_hash", "truncate -s 1M data; veritysetup format data out"},
		{"dm-verity behind ext4", "ext4", "a dm-verity hash tree", "ext4", makeExt4 + "veritysetup format --hash-offset=4194304 out out"},
		{"dm-verity behind squashfs", "squashfs", "a dm-verity hash tree", "squashfs", "mksquashfs tree out -quiet -no-progress; veritysetup format --data-blocks=$(($(stat -c %s out) / 4096)) --hash-offset=$(stat -c %s out) out out"},
		{"dm-verity behind erofs", "erofs", "a dm-verity hash tree", "erofs", "mkfs.erofs out tree; s=$(stat -c %s out); veritysetup format --data-blocks=$((s / 4096)) --hash-offset=$s out out"},
		{"dm-verity without a superblock", "ext4", "data of an unknown format", "ext4", makeExt4 + "veritysetup format --no-superblock --hash-offset=4194304 out out"},
		{"ext4, larger partition", "ext4", "", "ext4", makeExt4 + "truncate -s 8M out"},
		{"RAUC, plain", "RAUC bundle", "", "squashfs", "mksquashfs tree out -quiet -no-progress\n" + signCMS + "cms out"},
		{"RAUC, verity", "RAUC bundle", "", "squashfs", "mksquashfs tree out -quiet -no-progress; echo manifest >m\n" + signCMS + "cms m -nodetach"},
		{"RAUC, crypt", "RAUC bundle", "", "", "head -c 8192 /dev/urandom >out; echo manifest >m\n" + signCMS + "cms m -nodetach"},
		{"cpio", "cpio", "", "", "cd tree; find . | cpio -o -H newc --quiet >../out"},
		{"cpio, odc", "cpio", "", "", "cd tree; find . | cpio -o -H odc --quiet >../out"},
		{"cpio, bin", "cpio", "", "", "cd tree; find . | cpio -o -H bin --quiet >../out"},
		{"swu", "SWUpdate image", "", "", "touch sw-description; printf 'sw-description\\ntree/file\\n' | cpio -o -H crc --quiet >out"},
		{"tar", "tar", "", "", "tar -cf out tree"},
		{"deb", "deb", "", "", "mkdir tree/DEBIAN; printf 'Package: a\nVersion: 1\nArchitecture: all\nMaintainer: a\nDescription: a\n' >tree/DEBIAN/control; dpkg-deb -b tree out"},
		{"ipk", "ipk", "", "", "echo 2.0 >debian-binary; tar -czf control.tar.gz tree; cp control.tar.gz data.tar.gz; ar -crf out debian-binary control.tar.gz data.tar.gz"},
		{"ipk, tar", "ipk", "", "", "echo 2.0 >debian-binary; tar -czf control.tar.gz tree; tar -cf out ./debian-binary ./control.tar.gz"},
		{"ELF", "ELF", "", "", "cp /bin/sh out"},
		{"gzip", "gzip", "", "", "tar -cf - tree | gzip >out"},
		{"zstd", "zstd", "", "", "tar -cf - tree | zstd -q >out"},
		{"text", "", "", "", "echo text >out"},
		{"empty", "", "", "", ": >out"},
		{"disk", "", "", "", mebi + "printf 'label: gpt\\nsize=4M\\n' | sfdisk -q out"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file := makeImage(t, test.script)
			f, err := Recognise(opened(t, file))
			if err != nil || f.Name != test.want || f.Sealed != test.sealed {
				t.Errorf("got %+v, %v", f, err)
			}
			if out, _ := exec.CommandContext(t.Context(), "/usr/sbin/blkid", "-p", "-o", "value", "-s", "TYPE", file).Output(); strings.TrimSpace(string(out)) != test.blkid {
				t.Errorf("blkid: %s", out)
			}
		})
	}
}

// parts is content of a size with bytes at offsets; a negative offset counts from the end.
type parts struct {
	size int64
	at   map[int64]string
}

func (p parts) bytes() []byte {
	b := make([]byte, p.size)
	for at, text := range p.at {
		if at < 0 {
			at += p.size
		}
		copy(b[at:], text)
	}
	return b
}

// TestHeaders recognises headers of formats whose programs the tests do not need. They were
// compared with what those programs make.
func TestHeaders(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	for _, test := range []struct {
		want string
		parts
	}{
		{"xfs", parts{size, map[int64]string{0: "XFSB"}}},
		{"ntfs", parts{size, map[int64]string{0: "\xeb\x52\x90NTFS    ", 510: "\x55\xaa"}}},
		{"exfat", parts{size, map[int64]string{0: "\xeb\x76\x90EXFAT   ", 510: "\x55\xaa"}}},
		{"cramfs", parts{size, map[int64]string{0: "\x45\x3d\xcd\x28", 16: "Compressed ROMFS"}}},
		{"cramfs", parts{size, map[int64]string{512: "\x28\xcd\x3d\x45", 528: "Compressed ROMFS"}}},
		{"romfs", parts{size, map[int64]string{0: "-rom1fs-"}}},
		{"iso9660", parts{size, map[int64]string{32769: "CD001"}}},
		{"udf", parts{size, map[int64]string{32769: "BEA01", 34817: "NSR02"}}},
		{"swap", parts{size, map[int64]string{65526: "SWAPSPACE2"}}},
		{"LVM", parts{size, map[int64]string{512: "LABELONE", 536: "LVM2 001"}}},
		{"MD RAID", parts{size, map[int64]string{4096: "\xfc\x4e\x2b\xa9"}}},
		{"MD RAID", parts{size, map[int64]string{-8192: "\xfc\x4e\x2b\xa9"}}},
		{"MD RAID", parts{size, map[int64]string{-65536: "\xa9\x2b\x4e\xfc"}}},
		{"AVB", parts{size, map[int64]string{0: "AVB0"}}},
		{"Android sparse", parts{size, map[int64]string{0: "\x3a\xff\x26\xed\x01"}}},
		{"Android boot", parts{size, map[int64]string{0: "ANDROID!"}}},
		{"qcow2", parts{size, map[int64]string{0: "QFI\xfb"}}},
		{"vmdk", parts{size, map[int64]string{0: "KDMV"}}},
		{"vdi", parts{size, map[int64]string{0: "<<< Oracle VM VirtualBox Disk Image >>>\n", 64: "\x7f\x10\xda\xbe"}}},
		{"vhdx", parts{size, map[int64]string{0: "vhdxfile"}}},
		{"vhd", parts{size, map[int64]string{0: "conectix"}}},
		{"rpm", parts{size, map[int64]string{0: "\xed\xab\xee\xdb"}}},
		{"U-Boot image", parts{size, map[int64]string{0: "\x27\x05\x19\x56"}}},
		{"FIT", parts{size, map[int64]string{0: "\xd0\x0d\xfe\xed"}}},
		{"kernel", parts{size, map[int64]string{0x202: "HdrS", 510: "\x55\xaa"}}},
		{"kernel", parts{size, map[int64]string{0x38: "ARM\x64"}}},
		{"composefs", parts{size, map[int64]string{0: "\x9a\x62\x78\xd0", 1024: erofsMagic}}},
		{"squashfs", parts{size, map[int64]string{0: "sqsh"}}},
		{"", parts{size, map[int64]string{-8: "\x00\x00\x00\x00\x00\x00\x01\x00"}}},                        // no CMS
		{"", parts{200, map[int64]string{-8: "\x00\x00\x00\x00\x00\x00\x00\xff"}}},                         // longer than the content
		{"", parts{size, map[int64]string{1080: "\x53\xef"}}},                                              // no ext4
		{"", parts{size, map[int64]string{0: "\xeb\x3c\x90mkfs.fat", 510: "\x55\xaa"}}},                    // no FAT
		{"", parts{1090, map[int64]string{1080: "\x53\xef"}}},                                              // cut off
		{"erofs", parts{2048, map[int64]string{1024: erofsMagic, 1036: "\xff", 1060: "\xff\xff\xff\xff"}}}, // a size that overflows
	} {
		b := test.bytes()
		f, err := Recognise(bytes.NewReader(b), test.size)
		if err != nil || f.Name != test.want || f.Sealed != "" {
			t.Errorf("%s: got %+v, %v", test.want, f, err)
		}
		if f.Name != "" && (f.What == "" || f.Readable == (f.Advice != "")) {
			t.Errorf("%s: %+v", test.want, f)
		}
	}
}

// TestSealed recognises what is behind an ext4 file system.
func TestSealed(t *testing.T) {
	t.Parallel()
	image, err := os.ReadFile(makeImage(t, makeExt4))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		want string
		at   map[int64]string
	}{
		{"", nil},
		{"a footer of Android Verified Boot", map[int64]string{-64: "AVBf"}},
		{"a superblock of an MD RAID", map[int64]string{-65536: "\xfc\x4e\x2b\xa9"}},
		{"a dm-verity hash tree", map[int64]string{4 << 20: "verity\x00\x00"}},
		{"data of an unknown format", map[int64]string{4<<20 + 1000: "x"}},
	} {
		b := parts{8 << 20, test.at}.bytes()
		copy(b, image)
		f, err := Recognise(bytes.NewReader(b), int64(len(b)))
		if err != nil || f.Name != "ext4" || f.Sealed != test.want {
			t.Errorf("%s: got %+v, %v", test.want, f, err)
		}
	}
}

// TestContent decides between file systems and tables of partitions.
func TestContent(t *testing.T) {
	t.Parallel()
	const table = "printf 'label: %s\\n1: start=1MiB,size=2MiB\\n' >script\n"
	mbr := strings.Replace(table, "%s", "dos", 1)
	for _, test := range []struct {
		name, format, script string
		partitions           int
		err                  error
	}{
		{"ext4", "ext4", makeExt4, 0, nil},
		{"boot sector", "ext4", makeExt4 + "printf '\\125\\252' | dd of=out bs=1 seek=510 conv=notrunc status=none", 0, nil},
		{"MBR", "", mebi + mbr + "sfdisk -q out <script", 1, nil},
		{"GPT", "", mebi + strings.Replace(table, "%s", "gpt", 1) + "sfdisk -q out <script", 1, nil},
		{"both", "", makeExt4 + mbr + "sfdisk -q --wipe never out <script", 0, filesystem.ErrCorrupt},
		{"FAT", "vfat", "mkfs.vfat -C out 4096", 0, nil},
		{"FAT with a table", "vfat", "mkfs.vfat -C out 4096\nprintf '\\200\\0\\0\\0\\203\\0\\0\\0\\10\\0\\0\\0\\10\\0\\0\\0' | dd of=out bs=1 seek=446 conv=notrunc status=none", 0, nil},
		{"old btrfs", "", "truncate -s 120M out; mkfs.btrfs -q out\n" + mbr + "sfdisk -q --wipe never out <script", 1, nil},
		{"btrfs", "btrfs", "truncate -s 120M out; mkfs.btrfs -q out", 0, nil},
		{"nothing", "", mebi, 0, nil},
		{"broken", "", mebi + mbr + "sfdisk -q out <script; truncate -s 2M out", 0, filesystem.ErrCorrupt},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file, size := opened(t, makeImage(t, test.script))
			f, table, err := Inspect(file, size, 0)
			if f.Name != test.format || !errors.Is(err, test.err) || (table != nil) != (test.partitions > 0) {
				t.Fatalf("got %+v, %+v, %v", f, table, err)
			}
			if table != nil && len(table.Partitions) != test.partitions {
				t.Errorf("got %+v", table.Partitions)
			}
		})
	}
}

// TestLargeSectors reads an MBR that counts in sectors of 4096 bytes.
func TestLargeSectors(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(makeImage(t, makeExt4))
	if err != nil {
		t.Fatal(err)
	}
	b := parts{8 << 20, map[int64]string{446: "\x00\x00\x00\x00\x83\x00\x00\x00\x00\x02\x00\x00\x00\x04\x00\x00", 510: "\x55\xaa"}}.bytes()
	for _, test := range []struct{ start, sector, want int64 }{{2 << 20, 0, 4096}, {2 << 20, 512, 512}, {256 << 10, 0, 512}, {8 << 20, 0, 512}} {
		b := slices.Clone(b)
		copy(b[test.start:], content)
		f, table, err := Inspect(bytes.NewReader(b), int64(len(b)), test.sector)
		if err != nil || f.Name != "" || table.SectorSize != test.want {
			t.Errorf("%+v: got %+v, %+v, %v", test, f, table, err)
		}
	}
}

func TestTwoFileSystems(t *testing.T) {
	t.Parallel()
	file := makeImage(t, makeExt4+"printf hsqs | dd of=out conv=notrunc status=none")
	if f, err := Recognise(opened(t, file)); !errors.Is(err, filesystem.ErrCorrupt) || !strings.Contains(err.Error(), "both a squashfs file system and an ext4 file system begin here") {
		t.Errorf("got %+v, %v", f, err)
	}
}

// failing fails to read.
type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

func TestReadError(t *testing.T) {
	t.Parallel()
	if _, err := Recognise(failing{}, 4096); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

func FuzzRecognise(f *testing.F) {
	for _, all := range [][]format{wrappers(), readables(), others()} {
		for _, one := range all {
			f.Add([]byte(one.What), uint32(70000), []byte("AVBf"))
		}
	}
	f.Add(parts{2048, map[int64]string{1080: "\x53\xef", 1056: "\x01"}}.bytes(), uint32(1<<20), []byte{})
	f.Add(parts{2048, map[int64]string{1024: erofsMagic, 1036: "\x0c"}}.bytes(), uint32(1<<20), []byte{})
	f.Add([]byte("hsqs"), uint32(1<<20), []byte("\x00\x00\x00\x00\x00\x00\x01\x00"))
	f.Fuzz(func(_ *testing.T, head []byte, size uint32, tail []byte) {
		b := make([]byte, max(int(size%(1<<20)), len(head), len(tail)))
		copy(b, head)
		copy(b[len(b)-len(tail):], tail)
		_, _ = Recognise(bytes.NewReader(b), int64(len(b)))
		_, _, _ = Inspect(bytes.NewReader(b), int64(len(b)), 0)
	})
}
