// Package ima reads, writes and checks the values of the security.ima and
// security.evm extended attributes, by which the Linux kernel's Integrity
// Measurement Architecture (IMA) and Extended Verification Module (EVM) accept
// or refuse a file.
//
// [Parse] understands every kind of value the kernel knows, [Sign] makes signatures,
// and [Keyring.Verify] checks them and says by a [Refusal] why one is not
// accepted. Both are told what is signed by a [Form]: the digest of a file's content,
// an fs-verity digest, or an [EVMDigest] of its metadata. Keys are a [RawSigner]; what
// they sign in place of a digest is known here alone ([FromRaw]).
//
// The package works on bytes in memory. Reading files, hashing them, finding
// and writing their attributes, and opening keys are left to others; so is the
// decision of which certificates to trust. HMACs of security.evm are named but
// neither made nor checked, as their key belongs to one machine.
//
// All functions may be called from several goroutines at once.
package ima

// Names of the extended attributes, as in the kernel's
// include/uapi/linux/xattr.h.
const (
	XattrIMA = "security.ima" // what the content must be
	XattrEVM = "security.evm" // what the metadata must be
)
