package audit

import (
	"crypto/sha256"
	"iter"
	"maps"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// Signature is a signature in a manifest.
type Signature struct {
	Path, Xattr string
	KeyID       ima.KeyID
	// Leaves are the leaves that a log has if it has the signature, any of them: manifests do not
	// say which target an EVM signature is for, and certificates may share a key id. There
	// is none if the signature is by no key that is known.
	Leaves []tlog.Hash
}

// Keys are the keys whose signatures are looked for.
type Keys struct {
	byID map[ima.KeyID][][sha256.Size]byte // SHA-256 of SubjectPublicKeyInfos
}

// NewKeys returns the keys.
func NewKeys(list []*ima.PublicKey) (*Keys, error) {
	k := &Keys{map[ima.KeyID][][sha256.Size]byte{}}
	for _, key := range list {
		spki, err := mldsa.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return nil, err
		}
		k.byID[key.ID()] = append(k.byID[key.ID()], sha256.Sum256(spki))
	}
	return k, nil
}

// Signatures returns the signatures in the lines of a manifest.
func (k *Keys) Signatures(lines iter.Seq2[manifest.Line, error]) iter.Seq2[Signature, error] {
	return func(yield func(Signature, error) bool) {
		for line, err := range lines {
			if err != nil {
				yield(Signature{}, err)
				return
			}
			for _, xattr := range []string{ima.XattrIMA, ima.XattrEVM} {
				v, err := ima.Parse(line.Xattrs[xattr])
				if err != nil || !v.IsSignature() {
					continue
				}
				if !yield(Signature{line.Path, xattr, v.KeyID, k.leaves(&line, xattr, v)}, nil) {
					return
				}
			}
		}
	}
}

func (k *Keys) leaves(line *manifest.Line, xattr string, v ima.Value) (leaves []tlog.Hash) {
	for _, digest := range digestsOf(line, xattr, v) {
		for _, spki := range k.byID[v.KeyID] {
			leaves = append(leaves, protocol.Leaf(spki, uint8(v.Type), v.Version, uint8(v.Hash), digest, v.Signature))
		}
	}
	return leaves
}

// digestsOf returns what a signature may be over.
func digestsOf(line *manifest.Line, xattr string, v ima.Value) (digests [][]byte) {
	if xattr == ima.XattrIMA {
		if len(line.Digest) == 0 || line.Hash != v.Hash {
			return nil
		}
		return [][]byte{line.Digest}
	}
	xattrs := maps.Clone(line.Covered)
	if xattrs == nil {
		xattrs = map[string][]byte{}
	}
	value, ok := line.Xattrs[ima.XattrIMA]
	if !ok {
		return nil
	}
	xattrs[ima.XattrIMA] = value
	const regular = 0o100000
	for _, target := range []ima.EVMTarget{{}, {Bits32: true}, {BigEndian: true}, {Bits32: true, BigEndian: true}} {
		m := ima.EVMMetadata{EVMTarget: target, Portable: true, UID: line.UID, GID: line.GID, Mode: regular | uint16(line.Mode)}
		if digest, err := ima.EVMDigest(v.Hash, m, xattrs); err == nil {
			digests = append(digests, digest)
		}
	}
	return digests
}
