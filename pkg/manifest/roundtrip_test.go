package manifest_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// container is a header with its lines.
type container struct {
	header manifest.Header
	lines  []manifest.Line
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// render returns a manifest of containers. It sets Entries.
func render(t testing.TB, all ...container) []byte {
	t.Helper()
	var buf bytes.Buffer
	check(t, write(&buf, all...))
	return buf.Bytes()
}

func write(to io.Writer, all ...container) error {
	w := manifest.NewWriter(to)
	for _, c := range all {
		c.header.Entries = int64(len(c.lines))
		if err := w.Header(c.header); err != nil {
			return err
		}
		for _, l := range c.lines {
			if err := w.Line(l); err != nil {
				return err
			}
		}
	}
	return w.Flush()
}

func read(from io.Reader) (all []container, err error) {
	for r := manifest.NewReader(from); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		c := container{header: h}
		for l, err := range r.Lines() {
			if err != nil {
				return all, err
			}
			c.lines = append(c.lines, l)
		}
		all = append(all, c)
	}
}

func digest(fill byte) []byte { return bytes.Repeat([]byte{fill}, 32) }

// full returns a container with unusual bytes in every field.
func full() container {
	return container{
		manifest.Header{
			Tool: "tool \u2028<&>", Container: "tar", Name: "na\xffme", Hash: ima.SHA256, KeyID: 0xdeadbeef, KeyFor: ima.ForAny,
			Certificate: digest(7), Entries: 6, Date: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC),
		},
		[]manifest.Line{
			{
				Path: "a\n\"\\\x01 b", Kind: "file", Size: 1 << 60, Mode: 0o6755, UID: 1<<32 - 1, GID: 7,
				Covered: map[string][]byte{"security.capability": {0, 255}, "security.empty": {}},
				Hash:    ima.SHA256, Digest: digest(1),
				Xattrs: map[string][]byte{"security.ima": {3, 2}, "security.evm": {5}}, KeyID: 0x01020304,
				Same: "other\xfe",
			},
			{Path: "\xff\xfe", Kind: "directory", Mode: 0o755, Unsigned: "directory"},
			{Path: "\xff\xff", Kind: "char", Mode: 0, Device: "1:4294967295", Unsigned: "char"},
			{Path: "\xff\xff1", Kind: "symlink", Mode: 0o777, Target: "../<&>\n/a", Unsigned: "symlink"},
			{Path: "\xff\xff2", Kind: "symlink", Mode: 0o777, Target: "/\xff", Unsigned: "symlink"},
			{Path: "\xff\xff3", Kind: "file", Hash: ima.SHA256, Digest: digest(2), Verity: &manifest.Verity{BlockSize: 65536, Salt: []byte{0, 1}}},
		},
	}
}

func TestRoundTripOfEveryField(t *testing.T) {
	want := []container{full(), {manifest.Header{Tool: "t", Container: "rpm", Name: "n"}, nil}}
	text := render(t, want...)
	got, err := read(bytes.NewReader(text))
	check(t, err)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read back:\n%+v\nwritten:\n%+v", got, want)
	}
	if again := render(t, got...); !bytes.Equal(again, text) {
		t.Errorf("written again:\n%s\nfirst:\n%s", again, text)
	}
	for v := range reflect.ValueOf(want[0].header).Fields() {
		if v.Type.Kind() != reflect.Struct && reflect.ValueOf(want[0].header).FieldByIndex(v.Index).IsZero() {
			t.Errorf("Header.%s is not tested", v.Name)
		}
	}
}

// TestCanonicalBytes checks that the encoding stays the same, because users store it.
func TestCanonicalBytes(t *testing.T) {
	got := render(t, full())
	want := `{"imasign_manifest":1,"tool":"tool \u2028<&>","container":"tar","name_b64":"bmH/bWU=","hash":"sha256","key_id":"deadbeef","key_for":"any","certificate_sha256":"` + strings.Repeat("07", 32) + `","entries":6,"date":"2026-02-03T04:05:06Z"}
{"path":"a\n\"\\\u0001 b","kind":"file","size":1152921504606846976,"mode":"6755","uid":4294967295,"gid":7,"covered":{"security.capability":"00ff","security.empty":""},"hash":"sha256","digest":"` + strings.Repeat("01", 32) + `","xattrs":{"security.evm":"05","security.ima":"0302"},"key_id":"01020304","same_b64":"b3RoZXL+"}
{"path_b64":"//4=","kind":"directory","size":0,"mode":"0755","uid":0,"gid":0,"unsigned":"directory"}
{"path_b64":"//8=","kind":"char","size":0,"mode":"0000","uid":0,"gid":0,"device":"1:4294967295","unsigned":"char"}
{"path_b64":"//8x","kind":"symlink","size":0,"mode":"0777","uid":0,"gid":0,"target":"../<&>\n/a","unsigned":"symlink"}
{"path_b64":"//8y","kind":"symlink","size":0,"mode":"0777","uid":0,"gid":0,"target_b64":"L/8=","unsigned":"symlink"}
{"path_b64":"//8z","kind":"file","size":0,"mode":"0000","uid":0,"gid":0,"hash":"sha256","digest":"` + strings.Repeat("02", 32) + `","verity":{"block_size":65536,"salt":"0001"}}
`
	if string(got) != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestKind(t *testing.T) {
	for mode, want := range map[fs.FileMode]string{
		0o644: "file", fs.ModeDir: "directory", fs.ModeSymlink: "symlink", fs.ModeNamedPipe: "fifo",
		fs.ModeSocket: "socket", fs.ModeDevice | fs.ModeCharDevice: "char", fs.ModeDevice: "block",
	} {
		if got := manifest.Kind(mode); got != want {
			t.Errorf("Kind(%v) = %s, want %s", mode, got, want)
		}
	}
}

func TestWriterRefusesWhatNoReaderTakes(t *testing.T) {
	file := manifest.Line{Path: "a", Kind: "file"}
	with := func(change func(*manifest.Line)) []manifest.Line {
		l := file
		change(&l)
		return []manifest.Line{l}
	}
	tree := manifest.Header{Container: "tree"}
	for name, c := range map[string]container{
		"it is empty":             {manifest.Header{}, nil},
		"not 32":                  {manifest.Header{Container: "tree", Certificate: []byte{1}}, nil},
		"unknown hash":            {manifest.Header{Container: "tree", Hash: 99}, nil},
		"year 12345":              {manifest.Header{Container: "tree", Date: time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)}, nil},
		"either path":             {tree, with(func(l *manifest.Line) { l.Path = "" })},
		`kind "door"`:             {tree, with(func(l *manifest.Line) { l.Kind = "door" })},
		"size: -1":                {tree, with(func(l *manifest.Line) { l.Size = -1 })},
		"mode 10000":              {tree, with(func(l *manifest.Line) { l.Mode = 0o10000 })},
		`kind "file" has none`:    {tree, with(func(l *manifest.Line) { l.Target = "b" })},
		"a zero byte":             {tree, with(func(l *manifest.Line) { l.Kind, l.Target = "symlink", "a\x00b" })},
		"MAJOR:MINOR":             {tree, with(func(l *manifest.Line) { l.Kind, l.Device = "block", "8" })},
		"31 bytes, sha256 has 32": {tree, with(func(l *manifest.Line) { l.Hash, l.Digest = ima.SHA256, digest(1)[1:] })},
		"its name is not UTF-8":   {tree, with(func(l *manifest.Line) { l.Covered = map[string][]byte{"security.\xff": nil} })},
		"readers accept":          {tree, with(func(l *manifest.Line) { l.Covered = map[string][]byte{"security.big": make([]byte, 1<<20)} })},
		`"a" appears twice`:       {tree, []manifest.Line{file, file}},
		`"a" comes after "b"`:     {tree, []manifest.Line{{Path: "b", Kind: "file"}, file}},
	} {
		if err := write(io.Discard, c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestWriterChecksTheNumberOfEntries(t *testing.T) {
	one := manifest.Header{Container: "tree", Entries: 1}
	w := manifest.NewWriter(io.Discard)
	if err := w.Line(manifest.Line{Path: "a", Kind: "file"}); err == nil {
		t.Error("a line without a header was written")
	}
	check(t, w.Header(one))
	if err := w.Flush(); err == nil {
		t.Error("Flush accepted one entry too few")
	}
	if err := w.Header(one); err == nil {
		t.Error("Header accepted one entry too few before it")
	}
	check(t, w.Line(manifest.Line{Path: "a", Kind: "file"}))
	if err := w.Line(manifest.Line{Path: "b", Kind: "file"}); err == nil {
		t.Error("one entry too many was written")
	}
	check(t, w.Flush())
}

// TestTextIsMadeUTF8 checks that text that is not UTF-8 does not make a manifest that the
// Reader refuses.
func TestTextIsMadeUTF8(t *testing.T) {
	text := render(t, container{manifest.Header{Tool: "t\xff", Container: "tree"}, []manifest.Line{{Path: "a", Kind: "file", Unsigned: "excluded by \xff*"}}})
	got, err := read(bytes.NewReader(text))
	check(t, err)
	if got[0].header.Tool != "t\uFFFD" || got[0].lines[0].Unsigned != "excluded by \uFFFD*" {
		t.Errorf("got %+v", got)
	}
}

func TestDevice(t *testing.T) {
	for mode, want := range map[fs.FileMode]string{
		fs.ModeDevice | fs.ModeCharDevice: "4095:1048575", fs.ModeDevice: "4095:1048575", 0: "", fs.ModeDir: "", fs.ModeSymlink: "",
	} {
		if got := manifest.Device(mode, 4095, 1048575); got != want {
			t.Errorf("Device(%v) = %q, want %q", mode, got, want)
		}
	}
}
