package ima

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// EVMTarget describes the kernels that an EVM signature is for.
//
// The kernel hashes a C struct as it lies in memory. Therefore even a "portable"
// signature is valid only on kernels of one word size and byte order. The zero value
// is for 64-bit little-endian kernels: x86-64, arm64, riscv64, ppc64le, loong64.
// Machines that align 32-bit integers to two bytes (m68k) have another layout and are not
// supported.
type EVMTarget struct {
	Bits32    bool // arm, x86, riscv32, mips, powerpc
	BigEndian bool // s390x, ppc64, powerpc, mips
}

// String returns the target in words, such as "64-bit little-endian".
func (t EVMTarget) String() string {
	bits, order := 64, "little-endian"
	if t.Bits32 {
		bits = 32
	}
	if t.BigEndian {
		order = "big-endian"
	}
	return fmt.Sprintf("%d-bit %s", bits, order)
}

// EVMMetadata is what EVM protects of an inode besides extended attributes.
type EVMMetadata struct {
	EVMTarget

	// Portable leaves out Inode, Generation and UUID, as in values of type 0x05.
	// Values of type 0x03 include them.
	Portable bool

	UID, GID uint32 // in the initial user namespace
	Mode     uint16 // st_mode: file type and permission bits

	Inode      uint64    // the low 32 bits on a 32-bit machine
	Generation uint32    // FS_IOC_GETVERSION
	UUID       *[16]byte // of the file system; nil for kernels without CONFIG_EVM_ATTR_FSUUID
}

// EVMXattrs returns the names of the extended attributes that EVM protects, in the order
// in which EVM hashes them: evm_config_default_xattrnames of the kernel's
// security/integrity/evm/evm_main.c.
func EVMXattrs() []string {
	return []string{
		"security.selinux",
		"security.SMACK64",
		"security.SMACK64EXEC",
		"security.SMACK64TRANSMUTE",
		"security.SMACK64MMAP",
		"security.apparmor",
		XattrIMA,
		"security.capability",
	}
}

// EVMDigest returns the digest that an EVM signature is over. The hash h is computed
// over the raw values of the protected attributes in the order of [EVMXattrs], then
// struct h_misc, then the UUID, as in evm_calc_hmac_or_hash of the kernel's
// security/integrity/evm/evm_crypto.c.
//
// xattrs maps names to raw values. Names that are not protected are ignored. For a
// portable signature the kernel (since 5.14) hashes every protected attribute of the
// file. Otherwise it hashes only those of the security modules it was built with, and the
// caller must leave out the others.
//
// Errors wrap [ErrUnknownHash] or [ErrUnsupportedHash]. A portable digest without a
// security.ima value is an error too.
func EVMDigest(h HashID, m EVMMetadata, xattrs map[string][]byte) ([]byte, error) {
	if !h.known() {
		return nil, unknownHashError(byte(h))
	}
	std, ok := h.CryptoHash()
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnsupportedHash, h)
	}
	if _, ok := xattrs[XattrIMA]; m.Portable && !ok {
		return nil, fmt.Errorf("portable EVM digest: %w", errNoIMAXattr)
	}
	sum := std.New()
	for _, name := range EVMXattrs() {
		sum.Write(xattrs[name])
	}
	sum.Write(m.layout())
	if m.UUID != nil && !m.Portable {
		sum.Write(m.UUID[:])
	}
	return sum.Sum(nil), nil
}

// maxEVMInput is the largest input of a portable EVM digest in bytes: a value of the
// maximum size, 64 KiB, for each protected xattr, and struct h_misc.
func maxEVMInput() int64 { return int64(len(EVMXattrs()))<<16 + maxMisc }

// Sizes of struct h_misc in bytes, on 32-bit and 64-bit machines.
const (
	minMisc = 20
	maxMisc = 24
)

// MayBeEVMInput reports whether a file of size bytes, whose last bytes are tail, may be
// the input of a portable EVM digest: it ends like struct h_misc of a regular file, with
// inode number and generation 0. tail has at least the last 24 bytes, or the whole content.
//
// A version 2 signature does not cover its type byte. Therefore a signature of such a
// content, put into security.evm, is a valid portable signature of another file's
// metadata, if the kernel trusts the key for both.
func MayBeEVMInput(size int64, tail []byte) bool {
	if size > maxEVMInput() {
		return false
	}
	for _, n := range []int{minMisc, maxMisc} {
		if len(tail) < n {
			continue
		}
		misc := tail[len(tail)-n:]
		mode, padding := misc[n-4:n-2], misc[n-2:]
		if !zero(misc[:n-12]) || !zero(padding) {
			continue
		}
		if mode[0]>>4 == fileType || mode[1]>>4 == fileType { // in either byte order
			return true
		}
	}
	return false
}

// fileType is the type of a regular file in st_mode, S_IFREG >> 12.
const fileType = 0o100000 >> 12

func zero(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) }

// layout returns struct h_misc: ino (unsigned long), generation, uid and gid (32 bits
// each), mode (16 bits), and zero bytes up to a multiple of the word size.
func (m *EVMMetadata) layout() []byte {
	var order binary.AppendByteOrder = binary.LittleEndian
	if m.BigEndian {
		order = binary.BigEndian
	}
	inode, generation := m.Inode, m.Generation
	if m.Portable {
		inode, generation = 0, 0
	}
	b := make([]byte, 0, maxMisc)
	if m.Bits32 {
		b = order.AppendUint32(b, uint32(inode))
	} else {
		b = order.AppendUint64(b, inode)
	}
	b = order.AppendUint32(b, generation)
	b = order.AppendUint32(b, m.UID)
	b = order.AppendUint32(b, m.GID)
	b = order.AppendUint16(b, m.Mode)
	return append(b, 0, 0)
}
