package approval

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// Strip writes the manifest in r to w without what signing adds to it: values, key ids, what
// the header says about the signing key, and the date. It returns the SHA-256 of what it wrote,
// which is the same before and after signing. Errors wrap [manifest.ErrFormat], or are those of
// r and w.
func Strip(r io.Reader, w io.Writer) (sum [sha256.Size]byte, err error) {
	hash := sha256.New()
	in, out := manifest.NewReader(r), manifest.NewWriter(io.MultiWriter(w, hash))
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			err = out.Flush()
			return [sha256.Size]byte(hash.Sum(nil)), err
		}
		if err != nil {
			return sum, err
		}
		h.KeyID, h.KeyFor, h.Certificate, h.Date = 0, ima.Unstated, nil, time.Time{}
		if err := out.Header(h); err != nil {
			return sum, err
		}
		for l, err := range in.Lines() {
			if err != nil {
				return sum, err
			}
			l.KeyID, l.Xattrs = 0, nil
			if err := out.Line(l); err != nil {
				return sum, err
			}
		}
	}
}

// ErrSigned means a manifest with signatures, where one without is wanted.
var ErrSigned = errors.New("the manifest has signatures, or says what key made them")

func checkHeader(h *manifest.Header) error {
	if h.KeyID != 0 || h.KeyFor != ima.Unstated || h.Certificate != nil || !h.Date.IsZero() {
		return ErrSigned
	}
	return nil
}

func checkLine(l *manifest.Line) error {
	if l.KeyID != 0 || l.Xattrs != nil {
		return fmt.Errorf("%w: %q", ErrSigned, l.Path)
	}
	return nil
}
