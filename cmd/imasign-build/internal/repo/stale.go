package repo

import (
	"bufio"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"strings"

	"github.com/imasign/imasign-build/internal/input"
)

// longest is the longest checksum in hex: SHA-512.
const longest = 2 * sha512.Size

// newHash returns the hash function whose checksums have this number of hex digits, or nil. No
// two hash functions of createrepo_c have the same length.
func newHash(digits int) func() hash.Hash {
	switch digits {
	case 2 * md5.Size:
		return md5.New
	case 2 * sha1.Size:
		return sha1.New
	case 2 * sha256.Size224:
		return sha256.New224
	case 2 * sha256.Size:
		return sha256.New
	case 2 * sha512.Size384:
		return sha512.New384
	case 2 * sha512.Size:
		return sha512.New
	}
	return nil
}

// hashOf returns the hash function with a name in metadata (createrepo_c's src/checksum.c), or
// nil.
func hashOf(name string) func() hash.Hash {
	switch name {
	case "md5":
		return md5.New
	case "sha", "sha1":
		return sha1.New
	case "sha224":
		return sha256.New224
	case "sha256":
		return sha256.New
	case "sha384":
		return sha512.New384
	case "sha512":
		return sha512.New
	}
	return nil
}

// checksums maps old checksums of changed files to new ones, in lower-case hex. The new one is
// "" for a file that no longer exists.
type checksums map[string]string

// tokens copies r to w. It passes each run of hex digits that can be a checksum to token and
// writes the result in its place, which has the same length.
func tokens(r io.Reader, w io.Writer, token func(string) string) error {
	in, out := bufio.NewReaderSize(r, 256<<10), bufio.NewWriterSize(w, 256<<10)
	var run []byte
	long := false // the run is longer than a checksum, and its start is written
	flush := func() error {
		text := string(run)
		if run = run[:0]; !long && newHash(len(text)) != nil {
			text = token(text)
		}
		_, err := out.WriteString(text)
		return err
	}
	for {
		c, err := in.ReadByte()
		if err != nil {
			if err := flush(); err != nil {
				return err
			}
			if errors.Is(err, io.EOF) {
				return out.Flush()
			}
			return err
		}
		switch {
		case hexDigit(c) && len(run) < longest:
			run = append(run, c)
			continue
		case hexDigit(c):
			long = true
			if err = flush(); err == nil {
				run = append(run, c)
				continue
			}
		default:
			if err = flush(); err == nil {
				long = false
				err = out.WriteByte(c)
			}
		}
		if err != nil {
			return err
		}
	}
}

func hexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// found are the old checksums in a file.
type found struct {
	old  map[string]bool // of files that changed, by the old checksum
	gone map[string]bool // of files that no longer exist
}

// search looks for checksums in a file.
func (c checksums) search(r io.Reader) (found, error) {
	f := found{map[string]bool{}, map[string]bool{}}
	err := tokens(r, io.Discard, func(text string) string {
		text = strings.ToLower(text)
		if now, stale := c[text]; stale && now == "" {
			f.gone[text] = true
		} else if stale {
			f.old[text] = true
		}
		return text
	})
	return f, err
}

// replace copies r to w with new checksums in place of old ones. Those of files that no longer
// exist stay.
func (c checksums) replace(r io.Reader, w io.Writer) error {
	return tokens(r, w, func(text string) string {
		now := c[strings.ToLower(text)]
		switch {
		case now == "":
			return text
		case text == strings.ToUpper(text) && text != strings.ToLower(text):
			return strings.ToUpper(now)
		}
		return now
	})
}

// digits adds the lengths of possible checksums in r to lengths.
func digits(r io.Reader, lengths map[int]bool) error {
	return tokens(r, io.Discard, func(text string) string {
		lengths[len(text)] = true
		return text
	})
}

// sums returns the checksums of a file with these numbers of hex digits, by number.
func sums(ctx context.Context, path string, lengths map[int]bool) (map[int]string, error) {
	f, err := input.Regular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	hashes := map[int]hash.Hash{}
	var all []io.Writer
	for n := range lengths {
		if h := newHash(n); h != nil {
			hashes[n] = h()
			all = append(all, hashes[n])
		}
	}
	if err := copyContext(ctx, io.MultiWriter(all...), f); err != nil {
		return nil, err
	}
	result := map[int]string{}
	for n, h := range hashes {
		result[n] = hex.EncodeToString(h.Sum(nil))
	}
	return result, nil
}

func copyContext(ctx context.Context, w io.Writer, r io.Reader) error {
	const chunk = 16 << 20
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		switch _, err := io.CopyN(w, r, chunk); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
