package translog

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// layout is where the frames of a small journal begin, and its records.
type layout struct {
	journal []byte
	starts  []int // of frames
	kinds   []uint32
}

func layoutOf(t testing.TB, journal []byte) layout {
	t.Helper()
	all := layout{journal: journal}
	r := bytes.NewReader(journal)
	at := len(start("example.org/log"))
	_, err := r.Seek(int64(at), 0)
	must(t, err)
	for r.Len() > 0 {
		f, _, err := readFrame(r, nil)
		must(t, err)
		all.starts, all.kinds = append(all.starts, at), append(all.kinds, f.kind)
		at += int(f.size())
	}
	return all
}

// reopen opens a log whose files were replaced, and returns its size, or what Open says.
func reopen(t testing.TB, dir string, key note.Signer, files map[string][]byte) (int64, error) {
	t.Helper()
	for name, content := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	l, err := Open(t.Context(), dir, key, Options{})
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Size(), nil
}

// TestFlips changes every byte of every file of a small log. Either Open names the damage, or
// it repairs it and the log has every record.
func TestFlips(t *testing.T) {
	dir, key := small(t, 3)
	original := read(t, dir)
	for name, content := range original {
		for i := range content {
			damaged := bytes.Clone(content)
			damaged[i] ^= 0x20
			size, err := reopen(t, dir, key, map[string][]byte{name: damaged})
			var damage *DamageError
			switch {
			case err == nil && size == 3:
				if !maps.EqualFunc(read(t, dir), original, bytes.Equal) {
					t.Fatalf("%s, byte %d: opened, and other than before", name, i)
				}
			case !errors.As(err, &damage) || !errors.Is(err, ErrDamaged):
				t.Fatalf("%s, byte %d: %d records, %v", name, i, size, err)
			case name != journalName && name != checkpointName:
				t.Fatalf("%s, byte %d: a file that can be made anew: %v", name, i, err)
			case !bytes.Equal(read(t, dir)[name], damaged):
				t.Fatalf("%s, byte %d: refused, and changed nevertheless", name, i)
			}
			must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
		}
	}
}

// small makes a log of n records in n groups.
func small(t testing.TB, n int) (string, note.Signer) {
	t.Helper()
	dir, key := filled(t, 0)
	l, err := Open(t.Context(), dir, key, Options{})
	must(t, err)
	for i := range n {
		grow(t, l, i, i+1)
	}
	must(t, l.Close())
	return dir, key
}

// TestFlippedRecord wants the right index in the message.
func TestFlippedRecord(t *testing.T) {
	dir, key := filled(t, 9)
	original := read(t, dir)
	all := layoutOf(t, original[journalName])
	i := -1
	for k, at := range all.starts {
		if all.kinds[k] != kindRecord {
			continue
		}
		i++
		damaged := bytes.Clone(original[journalName])
		damaged[at+frameHeader+3] ^= 1
		_, err := reopen(t, dir, key, map[string][]byte{journalName: damaged})
		var damage *DamageError
		if !errors.As(err, &damage) || damage.Record != int64(i) || !strings.Contains(err.Error(), "it is damaged") {
			t.Errorf("record %d: %v", i, err)
		}
	}
}

// TestTorn cuts the journal at every byte after what the checkpoint is for, and elsewhere.
func TestTorn(t *testing.T) {
	dir, key := small(t, 3)
	old := read(t, dir)
	l, err := Open(t.Context(), dir, key, Options{})
	must(t, err)
	grow(t, l, 3, 6)
	must(t, l.Close())
	grown := read(t, dir)
	for n := range grown[journalName] {
		if n < len(old[journalName]) && n%9 > 0 {
			continue
		}
		files := map[string][]byte{}
		for name, content := range old {
			files[name] = content
		}
		files[journalName] = grown[journalName][:n]
		size, err := reopen(t, dir, key, files)
		whole := len(old[journalName])
		switch {
		case n >= whole && (err != nil || size < 3 || size > 6):
			t.Fatalf("cut to %d bytes, never acknowledged: %d records, %v", n, size, err)
		case n >= whole:
			layoutOf(t, read(t, dir)[journalName]) // to its end
			if n == len(grown[journalName])-1 && size != 6 {
				t.Errorf("only the last checkpoint is torn: %d records", size)
			}
			if n%9 > 0 {
				continue
			}
			l, err := Open(t.Context(), dir, key, Options{})
			must(t, err)
			grow(t, l, int(size), int(size)+1)
			must(t, l.Close())
		case err == nil && size == 3: // a checkpoint frame was written anew
		case !errors.Is(err, ErrDamaged):
			t.Fatalf("cut to %d bytes: %d records, %v", n, size, err)
		}
	}
}

// TestCut removes whole groups from the end.
func TestCut(t *testing.T) {
	dir, key := small(t, 4)
	original := read(t, dir)
	all := layoutOf(t, original[journalName])
	_, err := reopen(t, dir, key, map[string][]byte{journalName: original[journalName][:all.starts[4]]})
	var damage *DamageError
	if !errors.As(err, &damage) || damage.Record != 2 || !strings.Contains(err.Error(), "cut") {
		t.Errorf("cut after two groups: %v", err)
	}
	// Without the checkpoint, the damage cannot be told from a torn end.
	must(t, os.Remove(filepath.Join(dir, checkpointName)))
	if _, err := reopen(t, dir, key, map[string][]byte{journalName: original[journalName][:all.starts[7]+9]}); !errors.Is(err, ErrDamaged) {
		t.Errorf("torn, and no checkpoint: %v", err)
	}
	if size, err := reopen(t, dir, key, map[string][]byte{journalName: original[journalName]}); size != 4 || err != nil {
		t.Errorf("no checkpoint: %d records, %v", size, err)
	}
	if !bytes.Equal(read(t, dir)[checkpointName], original[checkpointName]) {
		t.Error("the checkpoint was not written anew")
	}
}

// rewrite encodes frames anew, with right checksums and indexes, in another order.
func rewrite(t testing.TB, all layout, order []int, change func(i int, f *frame)) []byte {
	t.Helper()
	b := bytes.NewBuffer([]byte(start("example.org/log")))
	records := int64(0)
	for i, at := range order {
		f, _, err := readFrame(bytes.NewReader(all.journal[all.starts[at]:]), nil)
		must(t, err)
		f.index = records
		if f.kind == kindRecord {
			records++
		}
		if change != nil {
			change(i, &f)
		}
		must(t, f.write(b))
	}
	return b.Bytes()
}

// TestForged has damage that checksums do not show: by someone who can write the disk.
func TestForged(t *testing.T) {
	dir, key := filled(t, 10)
	l, err := Open(t.Context(), dir, key, Options{})
	must(t, err)
	grow(t, l, 10, 20)
	must(t, l.Close())
	original := read(t, dir)
	all := layoutOf(t, original[journalName])
	natural := make([]int, len(all.starts))
	records := []int{}
	for i := range natural {
		natural[i] = i
		if all.kinds[i] == kindRecord {
			records = append(records, i)
		}
	}
	swapped := append([]int{}, natural...)
	a, b := records[12], records[14]
	swapped[a], swapped[b] = swapped[b], swapped[a]
	for name, c := range map[string]struct {
		journal []byte
		without bool // hashes
		record  int64
	}{
		"reordered":              {rewrite(t, all, swapped, nil), false, 12},
		"reordered, hashes gone": {rewrite(t, all, swapped, nil), true, 12},
		"changed": {rewrite(t, all, natural, func(i int, f *frame) {
			if i == records[4] {
				f.body[5] ^= 1
			}
		}), false, 4},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string][]byte{journalName: c.journal}
			for name, content := range original {
				if name != journalName {
					files[name] = content
				}
			}
			if c.without {
				files[hashesName] = nil
			}
			_, err := reopen(t, dir, key, files)
			var damage *DamageError
			if !errors.As(err, &damage) || damage.Record > c.record || damage.Record < c.record-2 || (!c.without && damage.Record != c.record) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestFork puts the journal of another history under the checkpoint.
func TestFork(t *testing.T) {
	dir, key := filled(t, 0)
	other := filepath.Join(memoryDir(t), "fork")
	must(t, Create(other, key))
	for d, from := range map[string]int{dir: 0, other: 100} {
		l, err := Open(t.Context(), d, key, Options{})
		must(t, err)
		grow(t, l, 0, 5)
		grow(t, l, from+5, from+8)
		must(t, l.Close())
	}
	original := read(t, dir)
	for name, files := range map[string]map[string][]byte{
		"journal": {journalName: read(t, other)[journalName]},
		"all but the checkpoint": {
			journalName: read(t, other)[journalName], hashesName: read(t, other)[hashesName],
			offsetsName: read(t, other)[offsetsName], leavesName: read(t, other)[leavesName],
		},
	} {
		for name, content := range original {
			must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
		}
		_, err := reopen(t, dir, key, files)
		var damage *DamageError
		want := map[string]int64{"journal": 5, "all but the checkpoint": -1}[name]
		if !errors.As(err, &damage) || damage.Record != want || !strings.Contains(err.Error(), "fork") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestForeign opens logs of other keys.
func TestForeign(t *testing.T) {
	dir, _ := filled(t, 3)
	stranger, _ := testKey(t)
	if _, err := Open(t.Context(), dir, stranger, Options{}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "not by the key") {
		t.Errorf("another key of the same name: %v", err)
	}
	must(t, os.Remove(filepath.Join(dir, checkpointName)))
	if _, err := Open(t.Context(), dir, stranger, Options{}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "not by the key") {
		t.Errorf("another key of the same name, no checkpoint: %v", err)
	}
}

// TestIndexRebuilt removes and damages what is made from the journal.
func TestIndexRebuilt(t *testing.T) {
	dir, key := filled(t, 300)
	original := read(t, dir)
	for _, name := range []string{hashesName, offsetsName, leavesName} {
		for what, content := range map[string][]byte{
			"empty": nil, "short": original[name][:len(original[name])/2+3],
			"long": append(bytes.Clone(original[name]), "more"...),
		} {
			if size, err := reopen(t, dir, key, map[string][]byte{name: content}); size != 300 || err != nil {
				t.Errorf("%s %s: %d records, %v", name, what, size, err)
			}
			if !maps.EqualFunc(read(t, dir), original, bytes.Equal) {
				t.Errorf("%s %s: other files than before", name, what)
			}
		}
	}
}
