package tar

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestBehindCompressedData appends data to compressed archives. We must accept what both
// GNU tar and bsdtar accept (for lz4 only bsdtar), except garbage. bsdtar must accept
// everything that we accept, and extract the signed files.
func TestBehindCompressedData(t *testing.T) {
	d, dir := newDifferential(t), t.TempDir()
	signed, err := d.sign(bases()["ustar"])
	check(t, err)
	pack := func(program string, text []byte) string {
		cmd := exec.Command(harness.Tool(t, program), "-c")
		cmd.Stdin = bytes.NewReader(text)
		return harness.RunCommand(t, cmd).Out
	}
	for _, program := range []string{"gzip", "bzip2", "xz", "zstd", "lz4"} {
		first, second := pack(program, signed[:3000]), pack(program, signed[3000:])
		whole, zeros := pack(program, signed), strings.Repeat("\x00", 40)
		for name, c := range map[string]struct{ text, error string }{
			"nothing":                 {whole, ""},
			"four zeros":              {whole + zeros[:4], ""},
			"many zeros":              {whole + strings.Repeat("\x00", 4<<20), ""},
			"two parts":               {first + second, ""},
			"two parts and zeros":     {first + second + zeros, ""},
			"zeros between the parts": {first + zeros + second, "compression"},
			"garbage":                 {whole + "garbage", "compression"},
			"zeros and garbage":       {whole + zeros + "garbage", "compression"},
			"one byte less":           {whole[:len(whole)-1], "cut short"},
			"another compression":     {whole + "\x1f\x9d\x90 something", "compression"},
			"compressed twice":        {pack("gzip", []byte(whole)), "nor compressed"},
		} {
			if program == "bzip2" || program == "gzip" {
				testOneZero(t, d, whole)
			}
			if program == "xz" { // its format allows zeros, and further bytes begin another stream
				if other, ok := map[string]string{"zeros between the parts": "", "garbage": "cut short", "zeros and garbage": "cut short"}[name]; ok {
					c.error = other
				}
			}
			file := filepath.Join(dir, "archive")
			write(t, file, c.text)
			verified, both := d.verify([]byte(c.text)), exec.Command("bsdtar", "-tf", file).Run() == nil
			if program != "lz4" { // GNU tar does not support lz4
				both = both && exec.Command("tar", "-tf", file).Run() == nil
			}
			if c.error == "" && (verified == nil) != both {
				t.Errorf("%s, %s: both read it: %v; we: %v", program, name, both, verified)
			}
			if c.error != "" && (verified == nil || !strings.Contains(verified.Error(), c.error)) {
				t.Errorf("%s, %s: %v", program, name, verified)
			}
			if verified == nil {
				to := filepath.Join(t.TempDir(), "bsdtar")
				check(t, os.Mkdir(to, 0o755))
				check(t, extractors["bsdtar"](file, to).Run())
				check(t, d.judgeTree(to))
			}
		}
	}
}

// testOneZero tests streams that end in a zero of their own, and streams that do not.
func testOneZero(t *testing.T, d *differential, whole string) {
	t.Helper()
	for _, text := range []string{whole, whole + "\x00", whole + "\x00\x00\x00"} {
		if err := d.verify([]byte(text)); err != nil {
			t.Errorf("%d zeros: %v", len(text)-len(whole), err)
		}
	}
}

// TestPaddedPipes signs archives that bsdtar wrote to a pipe, which it pads with zeros.
func TestPaddedPipes(t *testing.T) {
	keys, tree, dir := newKeys(t), t.TempDir(), t.TempDir()
	write(t, filepath.Join(tree, "file"), "content")
	for _, flag := range []string{"--gzip", "--bzip2", "--xz", "--lz4"} {
		out := filepath.Join(dir, "out.tar")
		script := `bsdtar -c "$1" -f - -C "$2" . | "$0" tar sign --progress=none --key "$3/x509_ima.key" --cert "$3/x509_ima.crt" - --compression none -o "$4"`
		harness.Must(t, "sh", "-c", script, harness.Program(t), flag, tree, string(keys), out)
		accepted(t, keys, out)
	}
}

// TestUnfilled signs archives that end early, but after the content of the last entry.
// The output must be a complete archive, which stripping and signing again reproduce.
// Verification of the input must fail if GNU tar does not read it.
func TestUnfilled(t *testing.T) {
	keys, dir := newKeys(t), t.TempDir()
	in, out, again := filepath.Join(dir, "in.tar"), filepath.Join(dir, "out.tar"), filepath.Join(dir, "again.tar")
	entries := string(ended(hdr{name: "first"}.file("first"), hdr{name: "last"}.file("content")))
	end := len(entries) - 1024
	for name, c := range map[string]struct {
		size int
		says string // part of the error, "" if the archive is signed
	}{
		"content cut":           {end - 512 + 6, "cut short"},
		"no padding":            {end - 512 + 7, ""},
		"some padding":          {end - 100, ""},
		"no end":                {end, ""},
		"half a zero block":     {end + 100, ""},
		"one zero block":        {end + 512, ""},
		"one and a half":        {end + 700, ""},
		"the end and one zero":  {end + 1024, ""},
		"an entry cut in zeros": {512 + 512 + 400, "cut short"},
	} {
		write(t, in, entries[:c.size])
		name1 := filepath.Join(string(keys), "x509_ima")
		r := harness.Run(t, harness.Program(t), "tar", "sign", "--progress=none", "--key", name1+".key", "--cert", name1+".crt", in, "-o", out)
		if c.says != "" {
			if r.Code != 1 || !strings.Contains(r.Err, c.says) {
				t.Errorf("%s: exit %d\n%s", name, r.Code, r.Err)
			}
			continue
		}
		if r.Code != 0 {
			t.Errorf("%s: exit %d\n%s", name, r.Code, r.Err)
			continue
		}
		accepted(t, keys, out)
		keys.signTar(t, out, again)
		if read(t, out) != read(t, again) || len(read(t, out))%512 != 0 || !strings.HasSuffix(read(t, out), strings.Repeat("\x00", 1024)) {
			t.Errorf("%s: the output is no whole archive", name)
		}
		harness.Must(t, harness.Program(t), "tar", "strip", out, "-o", again)
		if !strings.HasPrefix(read(t, again), entries[:c.size]) {
			t.Errorf("%s: stripped, it does not begin as it was", name)
		}
		write(t, in, read(t, out)[:len(read(t, out))-1024-500])
		r = harness.Run(t, harness.Program(t), "tar", "verify", "--cert", keys.certificate(), in)
		if r.Code != 1 || !strings.Contains(r.Err, "missing zeros") {
			t.Errorf("%s: verified without padding: exit %d\n%s", name, r.Code, r.Err)
		}
	}
	check(t, os.Remove(out))
}
