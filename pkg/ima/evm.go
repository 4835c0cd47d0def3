package ima

import (
	"encoding/binary"
	"fmt"
)

// EVMMetadata is what EVM protects of an inode besides extended attributes.
//
// The kernel hashes a C struct as it lies in memory. Therefore even a "portable"
// signature is valid only on machines of one word size and byte order. The zero value
// is for 64-bit little-endian machines: x86-64, arm64, riscv64, ppc64le, loong64.
// Machines that align 32-bit integers to two bytes (m68k) have another layout and are not
// supported.
type EVMMetadata struct {
	Bits32    bool // arm, x86, riscv32, mips, powerpc
	BigEndian bool // s390x, ppc64, powerpc, mips

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
	b := make([]byte, 0, 24)
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
