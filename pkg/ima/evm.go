package ima

import (
	"encoding/binary"
	"fmt"
)

// EVMTarget is the word size and byte order of the machine whose kernel will
// check an EVM value. The kernel hashes a C struct as it lies in memory, so even
// a "portable" signature is good for one of these only.
type EVMTarget uint8

// The targets. Machines that align 32-bit integers to two bytes (m68k) have a
// layout of their own and are not supported.
const (
	EVM64LittleEndian EVMTarget = iota // x86-64, arm64, riscv64, ppc64le, loong64
	EVM32LittleEndian                  // arm, x86, riscv32, mipsel
	EVM64BigEndian                     // s390x, ppc64, mips64
	EVM32BigEndian                     // powerpc, mips
)

// EVMMetadata is what EVM protects of an inode besides extended attributes.
type EVMMetadata struct {
	Target EVMTarget

	// Portable leaves Inode, Generation and UUID out, as values of type 0x05
	// do. Values of type 0x03 have them in.
	Portable bool

	UID, GID uint32 // in the initial user namespace
	Mode     uint16 // st_mode: file type and permission bits

	Inode      uint64    // the low 32 bits on a 32-bit target
	Generation uint32    // FS_IOC_GETVERSION
	UUID       *[16]byte // of the file system; nil for kernels without CONFIG_EVM_ATTR_FSUUID
}

// EVMXattrs returns the names of the extended attributes that EVM protects, in
// the order it hashes them: evm_config_default_xattrnames of the kernel's
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

// EVMDigest returns the digest that an EVM signature is over, as
// evm_calc_hmac_or_hash of the kernel's security/integrity/evm/evm_crypto.c
// computes it: the raw values of the protected attributes, in the order of
// [EVMXattrs], then struct h_misc, then the UUID.
//
// Attributes by other names are ignored. For a portable signature the kernel
// (since 5.14) takes every protected attribute of the file; otherwise only
// those of security modules it was built with, and the caller must leave out
// the rest.
//
// Errors wrap [ErrUnknownHash], [ErrUnsupportedHash] or, for a portable
// signature without security.ima, [ErrNoIMAXattr].
func EVMDigest(h HashID, m EVMMetadata, xattrs map[string][]byte) ([]byte, error) {
	if !h.known() {
		return nil, unknownHashError(byte(h))
	}
	std, ok := h.CryptoHash()
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnsupportedHash, h)
	}
	if _, ok := xattrs[XattrIMA]; m.Portable && !ok {
		return nil, fmt.Errorf("portable EVM digest: %w", ErrNoIMAXattr)
	}
	misc, err := m.layout()
	if err != nil {
		return nil, err
	}
	sum := std.New()
	for _, name := range EVMXattrs() {
		sum.Write(xattrs[name])
	}
	sum.Write(misc)
	if m.UUID != nil && !m.Portable {
		sum.Write(m.UUID[:])
	}
	return sum.Sum(nil), nil
}

// layout returns struct h_misc: ino (unsigned long), generation, uid and gid (32
// bits each), mode (16 bits), and zeros up to a multiple of the word size.
func (m EVMMetadata) layout() ([]byte, error) {
	var order binary.AppendByteOrder = binary.LittleEndian
	if m.Target == EVM64BigEndian || m.Target == EVM32BigEndian {
		order = binary.BigEndian
	}
	if m.Portable {
		m.Inode, m.Generation = 0, 0
	}
	b := make([]byte, 0, 24)
	switch m.Target {
	case EVM64LittleEndian, EVM64BigEndian:
		b = order.AppendUint64(b, m.Inode)
		b = append(m.appendRest(b, order), 0, 0)
	case EVM32LittleEndian, EVM32BigEndian:
		b = order.AppendUint32(b, uint32(m.Inode))
		b = append(m.appendRest(b, order), 0, 0)
	default:
		return nil, fmt.Errorf("EVM target %d does not exist", m.Target)
	}
	return b, nil
}

func (m EVMMetadata) appendRest(b []byte, order binary.AppendByteOrder) []byte {
	b = order.AppendUint32(b, m.Generation)
	b = order.AppendUint32(b, m.UID)
	b = order.AppendUint32(b, m.GID)
	return order.AppendUint16(b, m.Mode)
}
