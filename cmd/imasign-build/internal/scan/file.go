package scan

import (
	"archive/zip"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/internal/keyscan"
)

// located is a finding with what its offset counts in; "" for the file.
type located struct {
	keyscan.Finding

	inside string
}

// maxUnpacked bounds what a file may unpack to, in bytes.
const maxUnpacked = 64 << 30

var errUnpacks = errors.New("it unpacks to more than 64 GiB; only the first 64 GiB were searched")

// search reads a file as it stands, and once more unpacked if it is compressed.
func (s *scanner) search(ctx context.Context, f *os.File) (found []located, size int64, err error) {
	plain, size, err := s.content.Scan(ctx, f)
	for _, one := range plain {
		found = append(found, located{one, ""})
	}
	if err != nil {
		return found, size, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return found, size, nil //nolint:nilerr // a pipe is read once
	}
	unpacked, err := s.unpacked(ctx, f)
	if err == nil {
		var members []located
		members, err = s.members(ctx, f, size)
		unpacked = append(unpacked, members...)
	}
	return append(found, unpacked...), size, err
}

// unpacked searches the content of a compressed file. Content that cannot be decompressed
// is not taken for compressed: it was searched as it stands.
func (s *scanner) unpacked(ctx context.Context, f *os.File) (found []located, err error) {
	format, content, stop, err := compress.Files().Open(bufio.NewReader(f))
	if err != nil {
		return nil, tooLarge(err)
	}
	defer stop()
	if format == compress.None {
		return nil, nil
	}
	limited := &io.LimitedReader{R: content, N: maxUnpacked}
	plain, _, err := s.content.Scan(ctx, limited)
	for _, one := range plain {
		found = append(found, located{one, "what it unpacks to"})
	}
	switch {
	case ctx.Err() != nil:
		return found, err
	case limited.N == 0:
		return found, errUnpacks
	}
	return found, tooLarge(err)
}

// tooLarge keeps the error of content that asks for more memory than it gets.
func tooLarge(err error) error {
	if errors.Is(err, compress.ErrMemory) {
		return fmt.Errorf("what it unpacks to was not searched: %w", err)
	}
	return nil
}

// members searches the compressed files of a zip archive. Anything else, a damaged archive
// included, was searched as it stands.
func (s *scanner) members(ctx context.Context, f *os.File, size int64) (found []located, err error) {
	var magic [4]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil || string(magic[:]) != "PK\x03\x04" {
		return nil, nil //nolint:nilerr // see above
	}
	archive, err := zip.NewReader(f, size)
	if err != nil {
		return nil, nil //nolint:nilerr // see above
	}
	left := int64(maxUnpacked)
	for _, member := range archive.File {
		if member.Method == zip.Store {
			continue
		}
		r, err := member.Open()
		if err != nil {
			continue // encrypted, or by another method
		}
		limited := &io.LimitedReader{R: r, N: left}
		plain, _, err := s.content.Scan(ctx, limited)
		_ = r.Close() // it was read
		for _, one := range plain {
			found = append(found, located{one, member.Name})
		}
		if ctx.Err() != nil {
			return found, err
		}
		if left = limited.N; left == 0 {
			return found, errUnpacks
		}
	}
	return found, nil
}
