package protocol

import (
	"crypto/sha256"

	"golang.org/x/mod/sumdb/tlog"
)

// leafContext precedes the data of a leaf.
const leafContext = "imasign-build signature v1\n"

// Leaf returns the hash of the leaf for one signature, 32 bytes. It is the RFC 6962 leaf hash
// of: leafContext, the SHA-256 of the key's SubjectPublicKeyInfo (32 bytes), the type, the
// signature version and the hash (one byte each), the digest, and the raw signature. The hash
// fixes the length of the digest, so nothing is ambiguous.
func Leaf(spki [sha256.Size]byte, kind, version, hash uint8, digest, signature []byte) tlog.Hash {
	var buffer [leafBuffer]byte // on the stack, as there are thousands of leaves a second
	data := append(append(append(buffer[:0], 0), leafContext...), spki[:]...)
	data = append(data, kind, version, hash)
	return sha256.Sum256(append(append(data, digest...), signature...))
}

// leafBuffer is enough for a leaf with an RSA-4096 signature. Longer ones are allocated.
const leafBuffer = 1 + len(leafContext) + sha256.Size + 3 + 64 + 512

// Root returns the RFC 6962 Merkle root over the hashes of leaves. Without leaves it is that of
// an empty tree, the SHA-256 of nothing.
func Root(leaves []tlog.Hash) tlog.Hash {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	}
	split := 1 // the largest power of two below the number of leaves
	for 2*split < len(leaves) {
		split *= 2
	}
	return tlog.NodeHash(Root(leaves[:split]), Root(leaves[split:]))
}
