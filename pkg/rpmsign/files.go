package rpmsign

import (
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"

	"github.com/imasign/imasign-build/internal/stmode"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

// file is one file of a package, as the main header describes it.
type file struct {
	Path   string // relative to the root of the system it is installed on, raw bytes
	Mode   fs.FileMode
	Size   int64
	Flags  uint32 // rpmfileAttrs of include/rpm/rpmfiles.h
	Link   string // target of a symbolic link
	Hash   ima.HashID
	Digest []byte // nil if the header states none, or zeros
	Device string // number of a device node, "major:minor"
	Inode  uint64 // the same for the names of one hard link; 0 if the header has none

	traits signing.Traits
}

// undigested reports whether rpm will not install the file because the header states no
// digest of it, or zeros. Old packages have no digests of empty files.
func (f *file) undigested() bool {
	return f.Digest == nil && f.Mode.IsRegular() && f.Flags&fileGhost == 0 && (f.Size > 0 || f.Hash != ima.MD5)
}

// fileGhost marks a file that the package does not contain: RPMFILE_GHOST of
// include/rpm/rpmfiles.h.
const fileGhost uint32 = 1 << 6

// maxFiles is rpm's own limit on the items of an array.
const maxFiles = maxArray

// maxPath is Linux's PATH_MAX.
const maxPath = 4096

// maxPathBytes limits the bytes of all paths in a header of n bytes, because a few long
// directory names can stand for many long paths.
func maxPathBytes(n int) int { return 1<<20 + 16*n }

// readFiles reads the parallel arrays that describe files. All must be as long as the list
// of names.
func readFiles(h *header) ([]file, error) {
	paths, err := readPaths(h)
	if err != nil || len(paths) == 0 {
		return nil, err
	}
	files := make([]file, len(paths))
	for i, path := range paths {
		files[i].Path = path
	}
	for _, read := range []func(*header, []file) error{readModes, readSizes, readDigests, readOptional} {
		if err := read(h, files); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func readPaths(h *header) ([]string, error) {
	if names := h.strings(tagOldFileNames); len(names) > 0 && !h.has(tagBaseNames) {
		for i := range names {
			names[i] = strings.TrimPrefix(names[i], "/")
		}
		return names, nil
	}
	names, dirs, indexes, all := h.strings(tagBaseNames), h.strings(tagDirNames), h.numbers(tagDirIndexes), 0
	if len(names) != len(indexes) || len(names) > maxFiles {
		return nil, fmt.Errorf("main header: %w: %d file names with %d directories", ErrMalformed, len(names), len(indexes))
	}
	for i, name := range names {
		if indexes[i] >= uint64(len(dirs)) {
			return nil, fmt.Errorf("main header: %w: file %d lies in directory %d of %d", ErrMalformed, i, indexes[i], len(dirs))
		}
		dir := dirs[indexes[i]]
		all += len(dir) + len(name)
		if len(dir)+len(name) > maxPath || all > maxPathBytes(len(h.raw)) {
			return nil, fmt.Errorf("main header: %w: the path of file %d has %d bytes, all so far have %d", ErrMalformed, i, len(dir)+len(name), all)
		}
		if names[i] = strings.TrimPrefix(dir+name, "/"); names[i] == "" {
			names[i] = "." // the root directory, which the package "filesystem" has
		}
	}
	return names, nil
}

func readModes(h *header, files []file) error {
	modes := h.numbers(tagFileModes)
	if err := parallel(files, len(modes), "modes"); err != nil {
		return err
	}
	for i, mode := range modes {
		files[i].Mode = stmode.FileMode(uint32(mode & 0xffff))
	}
	return nil
}

func readSizes(h *header, files []file) error {
	sizes := h.numbers(tagLongFileSizes)
	if len(sizes) == 0 {
		sizes = h.numbers(tagFileSizes)
	}
	if err := parallel(files, len(sizes), "sizes"); err != nil {
		return err
	}
	for i, size := range sizes {
		if files[i].Size = int64(size); files[i].Size < 0 {
			return fmt.Errorf("main header: %w: %s has %d bytes", ErrMalformed, files[i].Path, size)
		}
	}
	return nil
}

func parallel(files []file, n int, what string) error {
	if n != len(files) {
		return fmt.Errorf("main header: %w: %d files with %d %s", ErrMalformed, len(files), n, what)
	}
	return nil
}

// readDigests reads digests in hex. Packages that state no algorithm have MD5 digests.
func readDigests(h *header, files []file) error {
	id := ima.MD5
	if n, ok := h.number(tagFileDigestAlgo); ok {
		if id, ok = hashOf(n); !ok {
			return fmt.Errorf("main header: %w: unknown file digest algorithm %d", ErrMalformed, n)
		}
	}
	digests := h.strings(tagFileDigests)
	if err := parallel(files, len(digests), "digests"); err != nil {
		return err
	}
	for i, text := range digests {
		f := &files[i]
		if f.Hash = id; strings.Trim(text, "0") == "" {
			continue // none, or zeros: nothing to sign
		}
		digest, err := hex.DecodeString(text)
		if err != nil || len(digest) != id.Size() {
			return fmt.Errorf("main header: %w: the digest of %s is not a %s digest: %q", ErrMalformed, f.Path, id, text)
		}
		f.Digest = digest
	}
	return nil
}

// readOptional reads the arrays that a package can lack. Arrays of another length than files
// are ignored.
func readOptional(h *header, files []file) error {
	if links := h.strings(tagFileLinkTos); len(links) == len(files) {
		for i := range files {
			files[i].Link = links[i]
		}
	}
	if flags := h.numbers(tagFileFlags); len(flags) == len(files) {
		for i := range files {
			files[i].Flags = uint32(flags[i])
		}
	}
	readTraits(h, files)
	if devices := h.numbers(tagFileRdevs); len(devices) == len(files) {
		for i, n := range devices { // rpm stores only the low 16 bits
			files[i].Device = manifest.Device(files[i].Mode, uint32(n>>8&0xff), uint32(n&0xff))
		}
	}
	inodes, devices := h.numbers(tagFileInodes), h.numbers(tagFileDevices)
	if len(inodes) == len(files) && len(devices) == len(files) {
		for i := range files {
			if inodes[i] != 0 {
				files[i].Inode = devices[i]<<32 | inodes[i]&0xffff_ffff
			}
		}
	}
	return nil
}

// hashOf returns the kernel's id of a hash algorithm by rpm's number (rpmHashAlgo of
// include/rpm/rpmcrypto.h, from RFC 4880 and its successors), and false if it is unknown.
func hashOf(n uint64) (ima.HashID, bool) {
	switch n {
	case 1:
		return ima.MD5, true
	case 2:
		return ima.SHA1, true
	case 3:
		return ima.RIPEMD160, true
	case 6:
		return ima.Tiger192, true
	case 8:
		return ima.SHA256, true
	case 9:
		return ima.SHA384, true
	case 10:
		return ima.SHA512, true
	case 11:
		return ima.SHA224, true
	case 12:
		return ima.SHA3_256, true
	case 14:
		return ima.SHA3_512, true
	}
	return 0, false
}
