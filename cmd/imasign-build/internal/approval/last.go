package approval

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

// ManifestName returns the name of the manifest with this hash in a directory of approvals.
func ManifestName(sum [sha256.Size]byte) string { return hex.EncodeToString(sum[:]) + manifestEnd }

// StatementName returns the name of the file of an approval by a key. A second one that differs
// only in its times has the same name, and so replaces the first one.
func StatementName(a *protocol.Approval, approver *ima.PublicKey) (string, error) {
	spki, err := SPKI(approver)
	if err != nil {
		return "", err
	}
	lasting := *a
	lasting.Made, lasting.NotAfter = 0, 0
	content, err := protocol.SealApproval(&lasting, func([]byte) ([]byte, error) { return []byte{0}, nil })
	if err != nil {
		return "", err
	}
	what := sha256.Sum256(content)
	return fmt.Sprintf("%x.%x.%x%s", a.Manifest, spki[:8], what[:8], approvalEnd), nil
}

// Last returns the path of the manifest of an origin in a directory of approvals that this key
// approved last, for whatever key and form, or "" if there is none. Approvals of others are not
// looked at: their keys are not known here. Errors are those of reading files.
func Last(dir string, key *ima.PublicKey, origin string) (path string, err error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var last int64
	for _, e := range list {
		if !strings.HasSuffix(e.Name(), approvalEnd) {
			continue
		}
		content, err := input.ReadRegular(filepath.Join(dir, e.Name()), protocol.MaxApproval)
		if err != nil {
			return "", err
		}
		a, message, signature, err := protocol.OpenApproval(content)
		if err != nil || a.Origin != origin || a.Made < last || verify(key, message, signature) != nil {
			continue
		}
		file := filepath.Join(dir, ManifestName([sha256.Size]byte(a.Manifest)))
		if _, err := os.Lstat(file); err == nil {
			path, last = file, a.Made
		}
	}
	return path, nil
}
