package translog

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/imasign/imasign-build/internal/protocol"
)

// FuzzFrames reads any bytes as the frames of a journal. What is read is written as the same
// bytes.
func FuzzFrames(f *testing.F) {
	var b bytes.Buffer
	record, details := recordOf(f, 3, 3)
	one := frame{kind: kindRecord, body: record, details: details}
	must(f, one.write(&b))
	f.Add(b.Bytes())
	two := frame{kind: kindCheckpoint, index: 1, body: []byte("signed")}
	must(f, two.write(&b))
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()-1])
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Fuzz(func(t *testing.T, data []byte) {
		var buffer []byte
		var again bytes.Buffer
		for r := bytes.NewReader(data); ; {
			before := len(data) - r.Len()
			got, next, err := readFrame(r, buffer)
			buffer = next
			if err != nil {
				if !errors.Is(err, errFrame) && !errors.Is(err, io.EOF) {
					t.Error(err)
				}
				if !bytes.Equal(again.Bytes(), data[:before]) {
					t.Error("another encoding of the same frames")
				}
				return
			}
			must(t, got.write(&again))
			if got.kind == kindRecord {
				_, _ = leavesOf(got.details)
			}
		}
	})
}

// FuzzOpen opens any bytes as a journal: it is refused, or a log that can be appended to.
func FuzzOpen(f *testing.F) {
	dir, key := small(f, 2)
	files := read(f, dir)
	f.Add(files[journalName], true)
	f.Add(files[journalName], false)
	f.Add(files[journalName][:len(files[journalName])-100], false)
	f.Add([]byte(start("example.org/log")), false)
	f.Fuzz(func(t *testing.T, journal []byte, promised bool) {
		dir := memoryDir(t)
		must(t, os.WriteFile(filepath.Join(dir, journalName), journal, 0o600))
		if promised {
			must(t, os.WriteFile(filepath.Join(dir, checkpointName), files[checkpointName], 0o600))
		}
		tryOpen(t, dir, key)
	})
}

func tryOpen(t *testing.T, dir string, key note.Signer) {
	t.Helper()
	l, err := Open(t.Context(), dir, key, Options{})
	if err != nil {
		if !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
		return
	}
	size := l.Size()
	grow(t, l, 0, 1)
	must(t, l.Close())
	l, err = Open(t.Context(), dir, key, Options{})
	must(t, err)
	if l.Size() != size+1 {
		t.Errorf("%d records, not %d", l.Size(), size+1)
	}
	must(t, l.Close())
}

// FuzzLeaves compares the short way to the leaves with decoding all of the details.
func FuzzLeaves(f *testing.F) {
	for n := range 4 {
		_, details := recordOf(f, n, n)
		f.Add(details)
	}
	f.Add([]byte{0xa1, 0x01, 0x01})
	f.Fuzz(func(t *testing.T, details []byte) {
		leaves, err := leavesOf(details)
		d, strict := protocol.DecodeDetails(details)
		if strict == nil && (err != nil || !bytes.Equal(leaves, d.Leaves)) {
			t.Errorf("%x: %x, %v", details, leaves, err)
		}
	})
}

// FuzzFind reads any bytes as the body of a find request.
func FuzzFind(f *testing.F) {
	f.Add(make([]byte, 64))
	f.Add(make([]byte, 33))
	f.Fuzz(func(t *testing.T, data []byte) {
		if leaves, err := ParseFind(data); err == nil && len(leaves)*32 != len(data) {
			t.Errorf("%d bytes are %d leaves", len(data), len(leaves))
		}
	})
}

// FuzzTile reads any path as that of a tile.
func FuzzTile(f *testing.F) {
	for _, path := range []string{"0/000", "entries/x001/x234/067.p/8", "63/999", "0/x000/000", "0/000.p/256"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if tile, err := parseTile(path); err == nil && (tile.n < 0 || tile.width < 1 || tile.width > tileWidth || tile.level < -1 || tile.level > maxLevel) {
			t.Errorf("%q: %+v", path, tile)
		}
	})
}
