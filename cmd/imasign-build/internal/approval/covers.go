package approval

import (
	"errors"
	"fmt"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// hashOnly is a manifest's reason for a file that gets a digest without a signature.
const hashOnly = "hash only"

// ErrUnsupported means a manifest that nobody can approve for a form and hash.
var ErrUnsupported = errors.New("the manifest cannot be approved for this")

// Kind is what an approval is for: the form and the hash of what is signed.
type Kind struct {
	Form ima.Form
	Hash ima.HashID
}

// Signable reports whether a line is of a regular file that is to get a signature.
func Signable(l *manifest.Line) bool {
	return l.Kind == "file" && l.Unsigned == "" && len(l.Digest) > 0
}

// Digest returns the digest of a line that an approval of this kind lets a service sign, or nil
// if there is none. What a signature of the metadata is over is not in the manifest: it includes
// the value of security.ima.
func (k Kind) Digest(l *manifest.Line) []byte {
	over := l.Verity != nil
	if !Signable(l) || l.Hash != k.Hash || k.Form.Over == ima.Metadata || over != (k.Form.Over == ima.Verity) {
		return nil
	}
	return l.Digest
}

// metadata reports whether an approval of the metadata covers a line.
func metadata(l *manifest.Line) bool {
	return Signable(l) || l.Kind == "file" && l.Unsigned == hashOnly && len(l.Digest) > 0 && l.Verity == nil
}

// noID is the value of uid_t and gid_t that no file can have.
const noID = 1<<32 - 1

// Check returns nil if a line can be approved, or has nothing to sign. covered says whether an
// approval of this kind covers it. Errors wrap [ErrUnsupported].
func (k Kind) Check(h *manifest.Header, l *manifest.Line) (covered bool, err error) {
	unsupported := func(format string, args ...any) (bool, error) {
		return false, fmt.Errorf("%w: %q: %s", ErrUnsupported, l.Path, fmt.Sprintf(format, args...))
	}
	if k.Form.Over == ima.Metadata {
		switch {
		case !metadata(l):
			return false, nil
		case h.Container == manifest.Package || h.Container == manifest.Digests:
			return unsupported("a manifest of kind %q does not have the metadata that files get", h.Container)
		case l.UID == noID || l.GID == noID:
			return unsupported("no file can have the owner %d:%d", l.UID, l.GID)
		}
		return true, nil
	}
	if Signable(l) && l.Hash != k.Hash {
		return unsupported("its digest is %s, not %s", l.Hash, k.Hash)
	}
	return k.Digest(l) != nil, nil
}
