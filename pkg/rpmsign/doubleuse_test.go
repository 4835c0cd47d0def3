package rpmsign

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// Contents that a signature could be used twice of, and one of the same size.
var (
	fileID   = "\x03\x04" + strings.Repeat("d", 32)
	evmInput = "\x04\x04" + strings.Repeat("d", 32) + strings.Repeat("\x00", 12) + "\xe8\x03\x00\x00\xe8\x03\x00\x00\xed\x81\x00\x00"
	harmless = strings.Repeat("h", 34)
)

// doubles asks about all files of a package with the payload.
func doubles(t testing.TB, payload []byte, files ...file) (found []bool, err error) {
	t.Helper()
	p := &Package{files: files, content: bytes.NewReader(payload), size: int64(len(payload)), main: &header{}}
	for e, err := range p.Entries(t.Context()) {
		check(t, err)
		if e.DoubleUse == nil {
			found = append(found, false)
			continue
		}
		twice, err := e.DoubleUse()
		if err != nil {
			return nil, err
		}
		found = append(found, twice)
	}
	return found, nil
}

func TestDoubleUse(t *testing.T) {
	id, evm, none, text := regular("id", fileID), regular("evm", evmInput), regular("none", harmless), regular("text", "some text")
	one, two := linked(regular("one", fileID), 7), linked(regular("two", fileID), 7)
	long := linked(regular("one", fileID), 7)
	long.Size = 1000 // rpm takes the size of the last name
	ghost, dir := regular("ghost", harmless), file{Path: "d", Mode: os.ModeDir, Size: 34}
	ghost.Flags = fileGhost
	lied := regular("lied", fileID)
	lied.Size = 18
	join := func(parts ...[]byte) []byte { return append(slices.Concat(parts...), trailer()...) }
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(join(newc("./text", "some text"), newc("./id", fileID)))
	check(t, errors.Join(err, z.Close()))
	for name, c := range map[string]struct {
		payload []byte
		files   []file
		found   []bool
		want    error
	}{
		"all":               {join(newc("./text", "some text"), newc("./id", fileID), newc("./evm", evmInput), newc("./none", harmless)), []file{text, id, evm, none}, []bool{false, true, true, false}, nil},
		"indexed":           {join(strippedEntry(1, fileID), strippedEntry(0, "some text"), strippedEntry(2, evmInput)), []file{text, id, evm}, []bool{false, true, true}, nil},
		"hard link":         {join(newc("./one", ""), newc("./two", fileID)), []file{one, two}, []bool{true, true}, nil},
		"indexed hard link": {join(strippedEntry(0, ""), strippedEntry(1, fileID)), []file{one, two}, []bool{true, true}, nil},
		"lying hard link":   {join(newc("./one", ""), newc("./two", fileID)), []file{long, two}, []bool{true, true}, nil},
		"same content":      {join(newc("./one", fileID), newc("./two", fileID)), []file{regular("one", fileID), regular("two", fileID)}, []bool{true, true}, nil},
		"compressed":        {packed.Bytes(), []file{text, id}, []bool{false, true}, nil},
		"ghost":             {join(newc("./none", harmless)), []file{none, ghost}, []bool{false, true}, nil},
		"directory":         {nil, []file{dir}, []bool{false}, nil},
		"not read":          {[]byte("no archive"), []file{text}, []bool{false}, nil},
		"stops":             {append(newc("./id", fileID), "damage"...), []file{id, text}, []bool{true, false}, nil},
		"damage before":     {append([]byte("damage"), newc("./id", fileID)...), []file{id}, nil, ErrMalformed},
		"truncated":         {newc("./id", fileID)[:130], []file{id}, nil, ErrTruncated},
		"other content":     {join(newc("./id", harmless)), []file{id}, nil, ErrDigest},
		"missing":           {join(newc("./text", "some text")), []file{text, id}, nil, ErrDigest},
		"other size":        {join(newc("./lied", fileID)), []file{lied}, []bool{true}, nil},
		"no compression":    {[]byte("neither"), []file{id}, nil, ErrMalformed},
		"half compressed":   {packed.Bytes()[:30], []file{id}, nil, ErrMalformed},
	} {
		found, err := doubles(t, c.payload, c.files...)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || !slices.Equal(found, c.found) {
			t.Errorf("%s: %v, %v; want %v, %v", name, found, err, c.found, c.want)
		}
	}
}

// TestDoubleUseIsReadOnce counts the reads of a payload.
func TestDoubleUseIsReadOnce(t *testing.T) {
	files := []file{regular("id", fileID), regular("none", harmless)}
	archive := slices.Concat(newc("./id", fileID), newc("./none", harmless), trailer())
	counted := &counter{Reader: bytes.NewReader(archive)}
	p := &Package{files: files, content: counted, size: int64(len(archive)), main: &header{}}
	ask := func() {
		for e := range p.Entries(t.Context()) {
			for range 3 {
				if twice, err := e.DoubleUse(); err != nil || twice != (e.Path == "id") {
					t.Errorf("%s: %v, %v", e.Path, twice, err)
				}
			}
		}
	}
	if ask(); counted.starts != 1 {
		t.Errorf("the payload was read %d times", counted.starts)
	}
	check(t, p.checkFiles(t.Context()))
	if ask(); counted.starts != 2 {
		t.Errorf("after the check of the files, the payload was read %d times", counted.starts)
	}
}

// counter counts how often a payload is read from its start.
type counter struct {
	*bytes.Reader
	starts int
}

func (c *counter) ReadAt(b []byte, at int64) (int, error) {
	if at == 0 {
		c.starts++
	}
	return c.Reader.ReadAt(b, at)
}

// TestDoubleUseEnds checks that the context ends the reading.
func TestDoubleUseEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := mustParse(t, content(t, packages.Path(t, "ambiguous-zstd")))
	for e := range p.Entries(ctx) {
		if e.DoubleUse == nil {
			continue
		}
		cancel()
		if _, err := e.DoubleUse(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", e.Path, err)
		}
		return
	}
	t.Error("no file was asked about")
}

// TestDoubleUseRefused signs packages by rpmbuild with every compression in version 2.
func TestDoubleUseRefused(t *testing.T) {
	for _, name := range packages.Names() {
		if !strings.HasPrefix(name, "ambiguous") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			before := content(t, packages.Path(t, name))
			path := put(t, before)
			r := signer(t, "p256").Run(t.Context(), unit{Path: path})
			var all *signing.Errors
			if !errors.As(r.Err, &all) || all.Total != 3 || !errors.Is(r.Err, signing.ErrDoubleUse) {
				t.Errorf("%v", r.Err)
			}
			if !bytes.Equal(content(t, path), before) {
				t.Error("the package has changed")
			}
			damaged := bytes.Clone(before)
			damaged[mustParse(t, before).payload+20] ^= 0xff
			path = put(t, damaged)
			l := signer(t, "p256")
			l.Level = CheckHeader
			if r := l.Run(t.Context(), unit{Path: path}); r.Err == nil || !refused(r.Err) || errors.Is(r.Err, signing.ErrDoubleUse) {
				t.Errorf("damaged: %v", r.Err)
			}
			if !bytes.Equal(content(t, path), damaged) {
				t.Error("the damaged package has changed")
			}
		})
	}
}

// TestDoubleUseNotAccepted verifies version 2 signatures that a tool made from the digests
// alone.
func TestDoubleUseNotAccepted(t *testing.T) {
	key := keys["p256"]()
	public := publicKey(t, key)
	path := packages.Copy(t, "ambiguous-zstd", t.TempDir())
	p, err := Open(path, Options{})
	check(t, err)
	defer p.Close()
	values := make([][]byte, len(p.files))
	for i, f := range p.files {
		if f.Digest != nil {
			made, err := ima.Sign(t.Context(), ima.FromRaw(ima.CryptoSigner(key), public), public, ima.ContentSignature(), f.Hash, [][]byte{f.Digest})
			check(t, err)
			values[i] = made[0]
		}
	}
	h, err := p.rebuilt(fileSignatureValues(values), fileSignatureTags())
	check(t, errors.Join(err, p.change(h, 0).Commit(t.Context())))
	signed, err := Open(path, Options{})
	check(t, err)
	defer signed.Close()
	bad, good := 0, 0
	check(t, engine(t, key).Verify(t.Context(), signed, signing.Trust{Ring: ima.NewKeyring(public)}, func(v signing.Verdict) error {
		switch {
		case errors.Is(v.Err, signing.ErrDoubleUse) && v.Outcome == signing.Bad:
			bad++
		case v.Outcome == signing.OK:
			good++
		}
		return nil
	}))
	if bad != 3 || good != 3 {
		t.Errorf("%d refused, and %d accepted", bad, good)
	}
}

// FuzzDoubleUse unpacks any bytes. What is found has the digest of the file.
func FuzzDoubleUse(f *testing.F) {
	f.Add(slices.Concat(newc("./id", fileID), newc("./evm", evmInput), trailer()))
	f.Add(slices.Concat(strippedEntry(1, evmInput), strippedEntry(0, fileID), trailer()))
	f.Add(slices.Concat(newc("./none", harmless), newc("./id", fileID)[:130]))
	f.Fuzz(func(t *testing.T, payload []byte) {
		found, err := doubles(t, payload, regular("id", fileID), regular("evm", evmInput), regular("none", harmless))
		switch {
		case err != nil && !refused(err):
			t.Fatalf("%v is no sentinel", err)
		case err == nil && !slices.Equal(found, []bool{true, true, false}):
			t.Fatalf("found %v", found)
		}
	})
}
