package mirror

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/input"
)

// tagName is the name of the file with the ETag of the kept index. It also has the digest of
// that index, because the two files are not replaced in one step.
const tagName = "etag"

// maxTag limits the size of an ETag in bytes. Longer ones are not kept.
const maxTag = 1 << 10

// keptAge is how long files are kept that no index lists any more. Other processes may still
// be reading or writing them.
const keptAge = time.Hour

// kept returns the kept index and its ETag. They are empty if there is none.
func (w *web) kept() (text []byte, tag string) {
	text, err := input.ReadRegular(filepath.Join(w.keep, shards.IndexName), shards.MaxIndex)
	if err != nil {
		return nil, "" // it is fetched
	}
	stored, err := input.ReadRegular(filepath.Join(w.keep, tagName), 2*maxTag)
	if err != nil {
		return text, ""
	}
	sum, tag, _ := strings.Cut(string(stored), " ")
	if sum != fmt.Sprintf("%x", sha256.Sum256(text)) {
		return text, ""
	}
	return text, tag
}

// keepIndex stores an index and its ETag, and removes the shards that it does not list.
func (w *web) keepIndex(text []byte, tag string, x shards.Index) error {
	if err := atomicfile.WriteFile(filepath.Join(w.keep, shards.IndexName), text, 0o600); err != nil {
		return err
	}
	if len(tag) > maxTag {
		tag = ""
	}
	stored := fmt.Appendf(nil, "%x %s", sha256.Sum256(text), tag)
	_, err := shards.Prune(w.keep, x, keptAge)
	return errors.Join(atomicfile.WriteFile(filepath.Join(w.keep, tagName), stored, 0o600), err)
}
