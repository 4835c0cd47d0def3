package erofs

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// TestSuperblock changes the superblock of an image.
func TestSuperblock(t *testing.T) {
	for _, c := range []struct {
		name     string
		at       int // in the superblock
		set      uint32
		checksum bool // leave it on
		kind     error
		want     string
	}{
		{"48-bit layout", 80, incompat48Bit, false, filesystem.ErrUnsupported, "48bit"},
		{"compressed metadata", 80, incompatMetabox, false, filesystem.ErrUnsupported, "metabox"},
		{"later feature", 80, 1 << 20, false, filesystem.ErrUnsupported, "0x100000"},
		{"other devices", 84, 3 << 16, false, filesystem.ErrUnsupported, "3 other devices"},
		{"later algorithm", 84, 1 << 9, false, filesystem.ErrUnsupported, "algorithms"},
		{"large directory blocks", 88, 1 << 16, false, filesystem.ErrUnsupported, "dirblkbits"},
		{"large blocks", 12, 20, false, filesystem.ErrCorrupt, "2^"},
		{"cut image", 36, 1 << 20, false, filesystem.ErrCorrupt, "blocks"},
		{"label", 64, 'x', true, filesystem.ErrCorrupt, "checksum"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := testImage(t, "two")
			field := b[superblockAt+c.at:]
			binary.LittleEndian.PutUint32(field, u32(field, 0)|c.set)
			if !c.checksum {
				b[superblockAt+80] |= incompatDevices
				b[superblockAt+8] &^= compatChecksum
			}
			if _, err := open(b); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %v with %q", err, c.kind, c.want)
			}
		})
	}
}

func TestFacts(t *testing.T) {
	f, err := open(testImage(t, "two"))
	if err != nil {
		t.Fatal(err)
	}
	facts := f.Facts()
	if got := strings.Join(facts.Features, " "); !strings.Contains(got, "lz4 ") || !strings.Contains(got, "lzma") || !strings.Contains(got, "sb_csum") {
		t.Error(got)
	}
	if facts.UUID != "00000000-0000-0000-0000-000000000001" || facts.BlockSize != 4096 || facts.Size != 131072 {
		t.Errorf("%+v", facts)
	}
}

// TestHash compares with the test vectors of xxHash.
func TestHash(t *testing.T) {
	for text, want := range map[string]uint32{
		"": 0x02cc5d05, "a": 0x550d7456, "abc": 0x32d153ff, "Nobody inspects the spammish repetition": 0xe2293b2f,
	} {
		if got := xxh32([]byte(text), 0); got != want {
			t.Errorf("%q: %#x, want %#x", text, got, want)
		}
	}
}
