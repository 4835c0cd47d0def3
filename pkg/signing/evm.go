package signing

import (
	"fmt"
	"maps"

	"github.com/imasign/imasign-build/internal/stmode"
	"github.com/imasign/imasign-build/pkg/ima"
)

// regular is the file type of a regular file in st_mode.
const regular = 0o100000

// PortableStage returns the stage for security.evm. Its value is a portable signature by
// key over the owner, the mode and the protected xattrs of a file, as the target will have
// them. Among these xattrs is the security.ima that the stages before decided on. A file
// without security.ima gets no security.evm, because the kernel demands both. h is the
// stage's Hash. It need not be that of security.ima. target is called for each entry, from
// several goroutines.
func PortableStage(key *Key, h ima.HashID, target func() ima.EVMTarget) Stage {
	return Stage{
		Xattr: ima.XattrEVM, Key: key, Hash: h,
		Form: func(e *Entry, before []Value) (ima.Form, bool) {
			return ima.PortableSignature(), content(e, before) != nil
		},
		Digest: func(h ima.HashID, e *Entry, before []Value) ([]byte, error) {
			if err := checkCovered(e); err != nil {
				return nil, err
			}
			m := metadataOf(e, before, target())
			return m.digest(h)
		},
		explain: func(h ima.HashID, e *Entry, before []Value, signed func(digest []byte) bool) string {
			m := metadataOf(e, before, target())
			return m.explain(h, signed)
		},
	}
}

// maxXattr is the largest value that the kernel lets an xattr have, in bytes
// (XATTR_SIZE_MAX).
const maxXattr = 64 << 10

// noID is the value of uid_t and gid_t that no file can have.
const noID = 1<<32 - 1

// checkCovered returns an error if the file cannot have on the target the metadata that the
// container states.
func checkCovered(e *Entry) error {
	for _, name := range ima.EVMXattrs() {
		if _, differs := e.Second[name]; differs && name != ima.XattrIMA {
			return fmt.Errorf("no EVM signature is valid: programs read its %s differently", name)
		}
		if n := len(e.Xattrs[name]); n > maxXattr {
			return fmt.Errorf("no EVM signature is valid: its %s has %d bytes, a file system takes %d", name, n, maxXattr)
		}
	}
	if e.UID == noID || e.GID == noID {
		return fmt.Errorf("no EVM signature is valid: no file can have the owner %d:%d", e.UID, e.GID)
	}
	return nil
}

// metadata is the input of a portable EVM digest.
type metadata struct {
	ima.EVMMetadata

	xattrs map[string][]byte
}

func metadataOf(e *Entry, before []Value, target ima.EVMTarget) metadata {
	xattrs := maps.Clone(e.Xattrs)
	if xattrs == nil {
		xattrs = map[string][]byte{}
	}
	xattrs[ima.XattrIMA] = content(e, before)
	return metadata{ima.EVMMetadata{
		EVMTarget: target, Portable: true,
		UID: e.UID, GID: e.GID, Mode: uint16(regular | stmode.Permissions(e.Mode)),
	}, xattrs}
}

func (m *metadata) digest(h ima.HashID) ([]byte, error) {
	return ima.EVMDigest(h, m.EVMMetadata, m.xattrs)
}

// content returns the security.ima value that an entry will have. It is empty, but not
// nil, for a signature that is still to be made, and nil if there will be none.
func content(e *Entry, before []Value) []byte {
	for _, v := range before {
		if v.Form.Xattr != ima.XattrIMA {
			continue
		}
		if v.Bytes == nil && v.Status == Signed {
			return []byte{}
		}
		return v.Bytes
	}
	if value := e.Xattrs[ima.XattrIMA]; len(value) > 0 {
		return value
	}
	return nil
}
