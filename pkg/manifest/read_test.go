package manifest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/imasign/imasign-build/pkg/manifest"
)

const (
	head  = `{"imasign_manifest":1,"tool":"t","container":"tree","entries":%d}` + "\n"
	lineA = `{"path":"a","kind":"file","size":1,"mode":"0644","uid":0,"gid":0,"hash":"sha256","digest":"0101010101010101010101010101010101010101010101010101010101010101"}` + "\n"
	// the error for a path that does not stay below the container's root
	notLocal = "a path must be relative, without an empty name"
	lineB    = `{"path":"b","kind":"file","size":1,"mode":"0644","uid":0,"gid":0}` + "\n"
)

func entries(n int, lines ...string) string {
	return fmt.Sprintf(head, n) + strings.Join(lines, "")
}

// withVerity returns lineA with the parameters of an fs-verity digest.
func withVerity(parameters string) string {
	return strings.TrimSuffix(lineA, "}\n") + `,"verity":` + parameters + "}\n"
}

func TestReaderIsStrict(t *testing.T) {
	replace := func(old, now string) string { return entries(1, strings.Replace(lineA, old, now, 1)) }
	special := func(kind, keys string) string {
		return entries(1, `{"path":"a","kind":"`+kind+`","size":0,"mode":"0644","uid":0,"gid":0,`+keys+"}\n")
	}
	tar := func(s string) string { return strings.Replace(s, `"tree"`, `"tar"`, 1) }
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "it is empty"},
		{"blank first line", "\n", "line 1: not a valid manifest: it is empty"},
		{"blank line", entries(1, "\n", lineA), "line 2: not a valid manifest: it is empty"},
		{"not JSON", "hello\n", "line 1"},
		{"half an object", `{"imasign_manifest":1` + "\n", "line 1: not a valid manifest: not a complete JSON object"},
		{"two values", entries(1, strings.TrimSpace(lineA)+"{}\n"), "line 2: not a valid manifest: more than one"},
		{"entry without a header", lineA, `line 1`},
		{"other version", strings.Replace(entries(0), ":1,", ":2,", 1), "line 1: not a valid manifest: version 2, this program reads version 1"},
		{"unknown header key", strings.Replace(entries(0), `"tool"`, `"fool"`, 1), `line 1: not a valid manifest: unknown field "fool"`},
		{"negative entries", entries(-1), "line 1: not a valid manifest: entries: -1"},
		{"header hash", strings.Replace(entries(0), `"entries"`, `"hash":"sha257","entries"`, 1), "line 1: not a valid manifest: unknown hash"},
		{"purpose", strings.Replace(entries(0), `"entries"`, `"key_for":"v4","entries"`, 1), `line 1: not a valid manifest: key_for "v4": not one of any, evm, v2, v3`},
		{"version of another value", replace(`}`, `,"xattrs":{"security.ima":"030204010203040001ff"},"key_id":"01020304","signature_version":3}`), "line 2: not a valid manifest: not in canonical form"},
		{"version is missing", replace(`}`, `,"xattrs":{"security.ima":"030304010203040001ff"},"key_id":"01020304"}`), "line 2: not a valid manifest: not in canonical form"},
		{"certificate", strings.Replace(entries(0), `"entries"`, `"certificate_sha256":"01","entries"`, 1), "line 1: not a valid manifest: certificate_sha256: 1 bytes, not 32"},
		{"date", strings.Replace(entries(0), `0}`, `0,"date":"yesterday"}`, 1), "line 1: not a valid manifest: date"},
		{"date of another zone", strings.Replace(entries(0), `0}`, `0,"date":"2026-01-01T00:00:00+01:00"}`, 1), "line 1: not a valid manifest: not in canonical form"},
		{"unknown key", replace(`"uid"`, `"new":1,"uid"`), `line 2: not a valid manifest: unknown field "new"`},
		{"key in other case", replace(`"uid"`, `"UID"`), "line 2: not a valid manifest: not in canonical form"},
		{"key twice", replace(`"path":"a"`, `"path":"z","path":"a"`), "line 2: not a valid manifest: not in canonical form"},
		{"keys in other order", replace(`"uid":0,"gid":0`, `"gid":0,"uid":0`), "line 2: not a valid manifest: not in canonical form"},
		{"spaces", replace(`"uid":0`, `"uid": 0`), "line 2: not a valid manifest: not in canonical form"},
		{"carriage return", replace("}\n", "}\r\n"), "line 2: not a valid manifest: not in canonical form"},
		{"upper-case hex", replace("0101", "0A01"), "line 2: not a valid manifest: not in canonical form"},
		{"bytes that are not UTF-8", replace(`"a"`, "\"\xff\""), "line 2: not a valid manifest: not in canonical form"},
		{"base64 of what is UTF-8", replace(`"path":"a"`, `"path_b64":"YQ=="`), "line 2: not a valid manifest: not in canonical form"},
		{"both paths", replace(`"path":"a"`, `"path":"a","path_b64":"//8="`), "line 2: not a valid manifest: not in canonical form"},
		{"no path", replace(`"path":"a",`, ``), "line 2: not a valid manifest: an entry needs either path or path_b64"},
		{"path to the parent", replace(`"a"`, `".."`), notLocal},
		{"path through the parent", replace(`"a"`, `"a/../b"`), notLocal},
		{"path out of the tree", replace(`"a"`, `"../a"`), notLocal},
		{"path that ends in the parent", replace(`"a"`, `"a/.."`), notLocal},
		{"absolute path", replace(`"a"`, `"/a"`), notLocal},
		{"the root", replace(`"a"`, `"/"`), notLocal},
		{"./ path", replace(`"a"`, `"./a"`), notLocal},
		{"/./ path", replace(`"a"`, `"a/./b"`), notLocal},
		{"/. path", replace(`"a"`, `"a/."`), notLocal},
		{". in a tree", replace(`"a"`, `"."`), notLocal},
		{"two slashes", replace(`"a"`, `"a//b"`), notLocal},
		{"slash at the end", replace(`"a"`, `"a/"`), notLocal},
		{"NUL", replace(`"a"`, `"a\u0000b"`), notLocal},
		{"path_b64 through the parent", replace(`"path":"a"`, `"path_b64":"/y8uLi9h"`), notLocal},
		{"absolute path_b64", replace(`"path":"a"`, `"path_b64":"L/8="`), notLocal},
		{"in a tar", tar(replace(`"a"`, `"../a"`)), notLocal},
		{"same", replace("}\n", `,"same":"../a"}`+"\n"), notLocal},
		{"same_b64", replace("}\n", `,"same_b64":"L/8="}`+"\n"), notLocal},
		{"kind", replace(`"file"`, `"door"`), `line 2: not a valid manifest: kind "door"`},
		{"size", replace(`"size":1`, `"size":-1`), "line 2: not a valid manifest: size: -1"},
		{"huge size", replace(`"size":1`, `"size":9223372036854775808`), "line 2"},
		{"mode", replace("0644", "0844"), `line 2: not a valid manifest: mode "0844"`},
		{"wide mode", replace("0644", "100644"), `line 2: not a valid manifest: mode "100644"`},
		{"target of a file", special("file", `"target":"b"`), `line 2: not a valid manifest: target: a line of kind "file" has none`},
		{"target of a directory", special("directory", `"target_b64":"L/8="`), `target: a line of kind "directory" has none`},
		{"empty target", special("symlink", `"target":""`), "line 2: not a valid manifest: not in canonical form"},
		{"target with NUL", special("symlink", `"target":"a\u0000b"`), "line 2: not a valid manifest: target: it contains a zero byte"},
		{"target_b64 with NUL", special("symlink", `"target_b64":"/wA="`), "line 2: not a valid manifest: target: it contains a zero byte"},
		{"target_b64 of what is UTF-8", special("symlink", `"target_b64":"YQ=="`), "line 2: not a valid manifest: not in canonical form"},
		{"both targets", special("symlink", `"target":"a","target_b64":"L/8="`), "line 2: not a valid manifest: not in canonical form"},
		{"target that is no string", special("symlink", `"target":1`), "line 2"},
		{"device of a file", special("file", `"device":"1:3"`), `line 2: not a valid manifest: device: a line of kind "file" has none`},
		{"device of a symlink", special("symlink", `"device":"1:3"`), `device: a line of kind "symlink" has none`},
		{"device before target", special("symlink", `"device":"1:3","target":"a"`), "line 2: not a valid manifest"},
		{"device without a minor", special("char", `"device":"1"`), `line 2: not a valid manifest: device "1": not the numbers MAJOR:MINOR`},
		{"device of three numbers", special("block", `"device":"1:2:3"`), `device "1:2:3": not`},
		{"device with a sign", special("char", `"device":"1:+3"`), `device "1:+3": not`},
		{"device with a leading zero", special("char", `"device":"01:3"`), `device "01:3": not`},
		{"device with a space", special("char", `"device":"1: 3"`), `device "1: 3": not`},
		{"huge device", special("char", `"device":"1:4294967296"`), `device "1:4294967296": not`},
		{"device that is no string", special("char", `"device":259`), "line 2"},
		{"short digest", replace(`:"01`, `:"`), "line 2: not a valid manifest: digest: 31 bytes, sha256 has 32"},
		{"odd digest", replace(`:"01`, `:"0`), "line 2: not a valid manifest: digest: encoding/hex: odd length"},
		{"digest of another hash", replace("sha256", "sha384"), "line 2: not a valid manifest: digest: 32 bytes, sha384 has 48"},
		{"digest without a hash", replace(`"hash":"sha256",`, ""), "line 2: not a valid manifest: digest: 32 bytes, md4 has 16"},
		{"verity of a directory", entries(1, strings.Replace(withVerity(`{"block_size":4096}`), "file", "directory", 1)), `line 2: not a valid manifest: verity: a line of kind "directory" has none`},
		{"verity without a digest", special("file", `"verity":{"block_size":4096}`), "line 2: not a valid manifest: verity: the line has no digest"},
		{"block size", entries(1, withVerity(`{"block_size":4097}`)), "line 2: not a valid manifest: verity: block size 4097: not valid for fs-verity"},
		{"no block size", entries(1, withVerity(`{}`)), "line 2: not a valid manifest: verity: block size 0"},
		{"unknown key in verity", entries(1, withVerity(`{"block_size":4096,"hash":"sha256"}`)), "line 2: not a valid manifest: unknown field"},
		{"salt", entries(1, withVerity(`{"block_size":4096,"salt":"0"}`)), "line 2: not a valid manifest: verity: salt"},
		{"long salt", entries(1, withVerity(`{"block_size":4096,"salt":"`+strings.Repeat("00", 33)+`"}`)), "line 2: not a valid manifest: verity: salt of 33 bytes"},
		{"empty salt", entries(1, withVerity(`{"block_size":4096,"salt":""}`)), "line 2: not a valid manifest: not in canonical form"},
		{"verity by sha384", entries(1, strings.NewReplacer("sha256", "sha384", `"digest":"`, `"digest":"`+strings.Repeat("00", 16)).Replace(withVerity(`{"block_size":4096}`))), "line 2: not a valid manifest: verity: hash SHA-384"},
		{"key id", replace("}\n", `,"key_id":"12"}`+"\n"), "line 2: not a valid manifest: malformed key id"},
		{"xattr", replace("}\n", `,"xattrs":{"security.ima":"0x"}}`+"\n"), "line 2: not a valid manifest: security.ima"},
		{"order", entries(2, lineB, lineA), `line 3: not a valid manifest: "a" comes after "b"`},
		{"twice", entries(2, lineA, lineA), `line 3: not a valid manifest: "a" appears twice`},
		{"order in a tar", tar(entries(2, lineB, lineA)), `line 3: not a valid manifest: "a" comes after "b"`},
		{"cut", entries(2, lineA), "cut short, 1 entries are missing after line 2"},
		{"cut before a container", entries(2, lineA) + entries(0), "cut short, 1 entries are missing after line 2"},
		{"cut in a line", entries(1, lineA[:40]), "line 2: not a valid manifest: cut short"},
		{"last byte cut", entries(1, strings.TrimSpace(lineA)), "line 2: not a valid manifest: cut short"},
		{"more", entries(1, lineA, lineB), "line 3: not a valid manifest: more entries"},
		{"long line", entries(1, lineB, strings.Repeat("x", 2<<20)+"\n"), "line 3: not a valid manifest: longer than 1048576 bytes"},
	} {
		_, err := read(strings.NewReader(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
		if !errors.Is(err, manifest.ErrFormat) || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v must wrap ErrFormat and not io.EOF", c.name, err)
		}
	}
}

func TestReaderTakesLinesUpToTheLimit(t *testing.T) {
	big := container{manifest.Header{Container: "tree"}, []manifest.Line{{Path: "a", Kind: "file", Covered: map[string][]byte{"security.big": make([]byte, 1<<19-64)}}}}
	text := render(t, big)
	if len(text) < 1<<20 {
		t.Fatalf("only %d bytes", len(text))
	}
	_, err := read(bytes.NewReader(text))
	check(t, err)
}

// TestReaderStaysFailed checks that a Reader does not continue after an error.
func TestReaderStaysFailed(t *testing.T) {
	r := manifest.NewReader(strings.NewReader(entries(1, "{}\n") + entries(1, lineA)))
	_, err := r.Next()
	check(t, err)
	var first error
	for _, err := range r.Lines() {
		first = err
	}
	if first == nil {
		t.Fatal("no error")
	}
	if _, err := r.Next(); !errors.Is(err, first) {
		t.Errorf("then got %v", err)
	}
	for range r.Lines() {
		t.Error("a line after an error")
	}
}

func TestReaderSkipsWhatIsNotRead(t *testing.T) {
	r := manifest.NewReader(strings.NewReader(entries(2, lineA, lineB) + entries(2, lineA, lineB) + entries(0)))
	for range 3 {
		_, err := r.Next()
		check(t, err)
		for _, err := range r.Lines() {
			check(t, err)
			break // Next still checks the other lines
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
	r = manifest.NewReader(strings.NewReader(entries(2, lineB, lineA) + entries(0)))
	_, err := r.Next()
	check(t, err)
	for range r.Lines() {
		break
	}
	if _, err := r.Next(); err == nil || !strings.Contains(err.Error(), "comes after") {
		t.Errorf("unsorted lines after a break: got %v", err)
	}
}

func TestReaderPassesOnReadErrors(t *testing.T) {
	broken := errors.New("broken disk")
	_, err := read(io.MultiReader(strings.NewReader(entries(1)), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || errors.Is(err, manifest.ErrFormat) {
		t.Errorf("got %v", err)
	}
	_, err = read(iotest.OneByteReader(strings.NewReader(entries(2, lineA, lineB))))
	check(t, err)
}

// TestReaderTakesAnyTarget checks that a target is not a path of the container.
func TestReaderTakesAnyTarget(t *testing.T) {
	for _, target := range []string{"/etc/passwd", "../../x", ".", "..", "a//b/", " "} {
		text := render(t, container{manifest.Header{Container: "tree"}, []manifest.Line{{Path: "a", Kind: "symlink", Target: target}}})
		got, err := read(bytes.NewReader(text))
		if err != nil || got[0].lines[0].Target != target {
			t.Errorf("%q: %v, %v", target, got, err)
		}
	}
}

func TestParseLine(t *testing.T) {
	const text = `{"path":"usr/bin/a","kind":"file","size":1,"mode":"0755","uid":0,"gid":0}` + "\n"
	l, err := manifest.ParseLine([]byte(text))
	if err != nil || l.Path != "usr/bin/a" || l.Mode != 0o755 {
		t.Errorf("got %+v, %v", l, err)
	}
	for _, bad := range []string{"", "\n", text[:len(text)-1], text + text, " " + text, strings.Replace(text, "usr/", "/", 1), strings.Replace(text, `"0755"`, `"755"`, 1)} {
		if _, err := manifest.ParseLine([]byte(bad)); !errors.Is(err, manifest.ErrFormat) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}
