package shards

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// IndexName is the name of the index in the directory.
const IndexName = "ima-signatures.index"

// Limits of sizes in bytes. Files that exceed them are neither written nor read.
const (
	MaxIndex = 64 << 10
	MaxShard = 64 << 20
)

const (
	format  = "imasign-signatures"
	version = 1
	prefix  = "ima-signatures-"
	suffix  = ".shard"
)

// Errors about shared files. They do not name the file.
var (
	// ErrNewer means that a newer program wrote the files.
	ErrNewer = errors.New("written by a newer version of this program")
	// ErrDamaged means that a file does not have the format, or not the content that the
	// index states.
	ErrDamaged = errors.New("damaged")
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// Shard is a line of the index.
type Shard struct {
	First   byte // of the addresses of all entries
	SHA256  [sha256.Size]byte
	Size    int64 // bytes
	Entries int64
}

// Name returns the name of the shard's file.
func (s *Shard) Name() string {
	return fmt.Sprintf("%s%02x-%x%s", prefix, s.First, s.SHA256, suffix)
}

// Index lists shards. They are sorted by First, and at most one has each first byte.
type Index []Shard

// Find returns the shard of the entries whose addresses begin with first, nil if there are
// none.
func (x Index) Find(first byte) *Shard {
	for i := range x {
		if x[i].First == first {
			return &x[i]
		}
	}
	return nil
}

// Has reports whether the index lists a file with this name.
func (x Index) Has(name string) bool {
	s, err := parseName(name)
	if err != nil {
		return false
	}
	listed := x.Find(s.First)
	return listed != nil && listed.SHA256 == s.SHA256
}

// Bytes returns the size of all shards.
func (x Index) Bytes() (n int64) {
	for i := range x {
		n += x[i].Size
	}
	return n
}

// Text returns the content of the file.
func (x Index) Text() []byte {
	text := fmt.Appendf(nil, "%s %d %d\n", format, version, len(x))
	for i := range x {
		text = fmt.Appendf(text, "%s %d %d\n", x[i].Name(), x[i].Size, x[i].Entries)
	}
	return text
}

// ParseIndex reads the content of an index. Errors wrap [ErrNewer] or [ErrDamaged].
func ParseIndex(text []byte) (Index, error) {
	if len(text) > MaxIndex {
		return nil, damaged("larger than %d bytes", MaxIndex)
	}
	lines := strings.SplitAfter(string(text), "\n")
	head := strings.Fields(lines[0])
	if len(head) < 2 || head[0] != format {
		return nil, damaged("not an index of signatures")
	}
	if v, err := strconv.ParseUint(head[1], 10, 32); err != nil || v > version {
		return nil, fmt.Errorf("%w: format %q", ErrNewer, head[1])
	}
	if lines[len(lines)-1] != "" {
		return nil, damaged("the last line is incomplete")
	}
	x := Index{}
	for i, line := range lines[1 : len(lines)-1] {
		s, err := parseLine(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+2, err)
		}
		if len(x) > 0 && s.First <= x[len(x)-1].First {
			return nil, damaged("line %d: not sorted", i+2)
		}
		x = append(x, s)
	}
	if !bytes.Equal(x.Text(), text) {
		return nil, damaged("%d shards, not in the canonical form", len(x))
	}
	return x, nil
}

func parseLine(line string) (Shard, error) {
	f := strings.Split(line, " ")
	if len(f) != 3 {
		return Shard{}, damaged("%d fields, not 3", len(f))
	}
	s, err := parseName(f[0])
	if err != nil {
		return s, err
	}
	if s.Size, err = strconv.ParseInt(f[1], 10, 64); err != nil || s.Size > MaxShard {
		return s, damaged("no size of a shard: %q", f[1])
	}
	if s.Entries, err = strconv.ParseInt(f[2], 10, 64); err != nil || s.Entries < 1 || s.Entries > s.Size/entrySize {
		return s, damaged("no number of entries in %d bytes: %q", s.Size, f[2])
	}
	return s, nil
}

func parseName(name string) (s Shard, err error) {
	middle, ok := strings.CutPrefix(name, prefix)
	middle, ok2 := strings.CutSuffix(middle, suffix)
	first, sum, ok3 := strings.Cut(middle, "-")
	var b [1]byte
	if !ok || !ok2 || !ok3 || !digits(b[:], first) || !digits(s.SHA256[:], sum) {
		return s, damaged("no name of a shard: %q", name)
	}
	s.First = b[0]
	return s, nil
}

// digits fills b from lower-case hexadecimal digits.
func digits(b []byte, text string) bool {
	if len(text) != 2*len(b) || strings.ToLower(text) != text {
		return false
	}
	_, err := hex.Decode(b, []byte(text))
	return err == nil
}
