package kernel

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/tests/harness"
)

// addInode adds a program whose security.evm [bench.inodes] makes when the disk is made. The
// key that is in .ima and .evm signs only contents of files, but the kernel accepts one of
// these signatures for the program's metadata.
func (b *bench) addInode(mode, name string) {
	b.t.Helper()
	path := "inode/" + name + "-" + mode
	s := b.signer(name)
	b.exec(path, strict, s.v3(ima.SHA256, b.named(path)), "")
	b.inode = append(b.inode, inodeProgram{path, s})
}

// inodeProgram is a program on the disk, and the signer of its security.evm.
type inodeProgram struct {
	path   string
	signer signer
}

// number returns the number after a word that debugfs prints.
func number(b *bench, text, word string) uint64 {
	b.t.Helper()
	m := regexp.MustCompile(word + `:\s*(\d+)`).FindStringSubmatch(text)
	if m == nil {
		b.t.Fatalf("no %s in %s", word, text)
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	check(b.t, err)
	return n
}

// inodes puts version 3 signatures of contents, as security.ima has them (type 03), into
// security.evm of files on an ext4 disk. The contents are inputs of EVM digests that are not
// portable: with inode number, generation and the file system's UUID (evm_calc_hmac_or_hash).
func (b *bench) inodes(disk string) {
	b.t.Helper()
	for _, p := range b.inode {
		stat := harness.Must(b.t, "debugfs", "-R", "stat "+p.path, disk)
		head := harness.Must(b.t, "dumpe2fs", "-h", disk)
		uuid := regexp.MustCompile(`Filesystem UUID:\s*(\S+)`).FindStringSubmatch(head)[1]
		id, err := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
		check(b.t, err)
		misc := make([]byte, 24) // struct h_misc
		binary.LittleEndian.PutUint64(misc, number(b, stat, "Inode"))
		binary.LittleEndian.PutUint32(misc[8:], uint32(number(b, stat, "Generation")))
		binary.LittleEndian.PutUint32(misc[12:], strict)
		binary.LittleEndian.PutUint16(misc[20:], unix.S_IFREG|0o755)
		value := make([]byte, 65536)
		n, err := unix.Lgetxattr(filepath.Join(b.dir, p.path), ima.XattrIMA, value)
		check(b.t, err)
		content := slices.Concat(value[:n], misc, id)
		digest := sha256.Sum256(content)
		file := filepath.Join(b.t.TempDir(), "value")
		check(b.t, os.WriteFile(file, p.signer.v3Of(digest[:]), 0o644))
		harness.Must(b.t, "debugfs", "-w", "-R", "ea_set -f "+file+" "+p.path+" security.evm", disk)
	}
}
