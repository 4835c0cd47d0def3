package tarball

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// testKey returns the P-256 key with this scalar. Fuzzing needs the same key in every run.
func testKey(t testing.TB, scalar int64) (*ecdsa.PrivateKey, *ima.PublicKey) {
	t.Helper()
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), big.NewInt(scalar).FillBytes(make([]byte, 32)))
	check(t, err)
	public, err := ima.BareKey(private.Public())
	check(t, err)
	return private, public
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testEngine(t testing.TB, scalar int64, force bool) *signing.Engine {
	t.Helper()
	private, public := testKey(t, scalar)
	e, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(private), public), Public: public, Workers: 1}, 0)}, Force: force, Jobs: 2})
	check(t, err)
	return e
}

// inMemory opens an archive without a spool.
func inMemory(text []byte, o Options) (*Archive, error) {
	o.UnpackLimit = 1 << 20
	a := &Archive{name: "test", file: bytes.NewReader(text), size: int64(len(text)), opts: o}
	return a, a.survey(context.Background())
}

// rewritten makes a plan with the function plan and returns the new archive.
func rewritten(text []byte, plan func(context.Context, signing.Source) (*signing.Plan, error)) ([]byte, signing.Counts, error) {
	a, err := inMemory(text, Options{})
	if err != nil {
		return nil, signing.Counts{}, err
	}
	p, err := plan(context.Background(), a)
	if err != nil {
		return nil, signing.Counts{}, err
	}
	defer p.Close()
	var out bytes.Buffer
	err = a.Rewrite(context.Background(), p, &out)
	return out.Bytes(), p.Counts(), err
}

func signed(t testing.TB, text []byte) []byte {
	t.Helper()
	out, _, err := rewritten(text, testEngine(t, 7, true).Plan)
	check(t, err)
	return out
}

func stripped(t testing.TB, text []byte) []byte {
	t.Helper()
	out, _, err := rewritten(text, testEngine(t, 7, true).Strip)
	check(t, err)
	return out
}

// verdicts verifies with the key of scalar 7 and returns "path outcome" lines.
func verdicts(t testing.TB, text []byte) []string {
	t.Helper()
	a, err := inMemory(text, Options{EveryRecord: true})
	check(t, err)
	_, public := testKey(t, 7)
	var lines []string
	err = testEngine(t, 7, false).Verify(context.Background(), a, signing.Trust{Ring: ima.NewKeyring(public)}, func(v signing.Verdict) error {
		if v.Outcome != signing.Ignored {
			lines = append(lines, v.Path+" "+v.Outcome.String())
		}
		return nil
	})
	check(t, err)
	return lines
}

// contents returns everything that archive/tar reads of an archive, except security.ima.
func contents(text []byte) (string, error) {
	var b strings.Builder
	for r := tar.NewReader(bytes.NewReader(text)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return b.String(), nil
		}
		if err != nil {
			return "", err
		}
		for key := range h.PAXRecords {
			if strings.HasSuffix(key, ".xattr."+ima.XattrIMA) || strings.HasSuffix(key, ".xattr."+ima.XattrEVM) {
				delete(h.PAXRecords, key)
			}
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, io.LimitReader(r, 1<<20)); err != nil {
			return "", err
		}
		h.Format, h.Xattrs = 0, nil //nolint:staticcheck // the deprecated form of the same records
		fmt.Fprintf(&b, "%+v %v %x\n", *h, h.PAXRecords, sum.Sum(nil))
	}
}

// archives returns archives that real programs made.
func archives(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.tar")
	check(t, err)
	if len(paths) < 9 {
		t.Fatalf("only %d archives", len(paths))
	}
	all := map[string][]byte{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		check(t, err)
		all[filepath.Base(path)] = text
	}
	return all
}

// TestEveryDialect signs archives that GNU tar and bsdtar made.
func TestEveryDialect(t *testing.T) {
	for name, text := range archives(t) {
		t.Run(name, func(t *testing.T) {
			before, err := contents(text)
			check(t, err)
			out := signed(t, text)
			after, err := contents(out)
			check(t, err)
			if after != before {
				t.Errorf("archive/tar reads\n%s\nbefore it read\n%s", after, before)
			}
			lines := verdicts(t, out)
			for _, line := range lines {
				if !strings.HasSuffix(line, " ok") {
					t.Error(line)
				}
			}
			if len(lines) < 1 || bytes.Equal(out, text) {
				t.Errorf("only %d files were signed", len(lines))
			}
			if again := signed(t, out); !bytes.Equal(again, out) {
				t.Error("signing again changes it")
			}
			plain := stripped(t, text)
			if !bytes.Equal(stripped(t, out), plain) {
				t.Error("stripping the signed archive and the original gives different archives")
			}
			if !strings.Contains(string(text), ima.XattrIMA) && !bytes.Equal(plain, text) {
				t.Error("stripping changes an archive without signatures")
			}
			if bytes.Contains(plain, []byte(ima.XattrIMA)) {
				t.Error("stripping leaves a record")
			}
		})
	}
}

// TestOtherBytesStay compares the archives block by block: everything stays the same and in
// order, except extended headers and the zeros at the end.
func TestOtherBytesStay(t *testing.T) {
	for name, text := range archives(t) {
		out := signed(t, text)
		a, err := inMemory(text, Options{})
		check(t, err)
		b, err := inMemory(out, Options{})
		check(t, err)
		for x, y := a.scan(), b.scan(); ; {
			m, errA := x.next()
			n, errB := y.next()
			if errors.Is(errA, io.EOF) && errors.Is(errB, io.EOF) {
				break
			}
			check(t, errors.Join(errA, errB))
			if !bytes.Equal(text[m.header:m.end], out[n.header:n.end]) {
				t.Errorf("%s: the entry at byte %d changed", name, m.header)
			}
			if m.pax == nil && !bytes.HasSuffix(out[n.start:n.header], text[m.start:m.header]) {
				t.Errorf("%s: the long names before byte %d changed", name, m.header)
			}
		}
	}
}

func TestOtherKeyIsRefused(t *testing.T) {
	plain := stripped(t, archives(t)["ustar.tar"])
	theirs, _, err := rewritten(plain, testEngine(t, 8, false).Plan)
	check(t, err)
	if _, _, err := rewritten(theirs, testEngine(t, 7, false).Plan); !errors.Is(err, signing.ErrOtherKey) {
		t.Errorf("got %v", err)
	}
	for _, line := range verdicts(t, theirs) {
		if !strings.HasSuffix(line, " bad") {
			t.Error(line)
		}
	}
	if out := signed(t, theirs); !bytes.Equal(out, signed(t, plain)) {
		t.Error("signing by force differs from signing the unsigned archive")
	}
}

// build makes an archive of one file with these pax records, and of a hard link to it with
// the records link.
func build(t *testing.T, records map[string]string, link map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	check(t, w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: 4, PAXRecords: records, Format: tar.FormatPAX}))
	_, err := w.Write([]byte("text"))
	check(t, err)
	if link != nil {
		check(t, w.WriteHeader(&tar.Header{Name: "link", Typeflag: tar.TypeLink, Linkname: "./file", Mode: 0o644, PAXRecords: link, Format: tar.FormatPAX}))
	}
	check(t, w.Close())
	return out.Bytes()
}

// TestLibarchiveRecords checks that signing removes a stale LIBARCHIVE record, and that a
// verification sees it. bsdtar applies it in place of the SCHILY record.
func TestLibarchiveRecords(t *testing.T) {
	const stale, staleB64 = "\x04\x04stale", "BARzdGFsZQ"
	_, public := testKey(t, 7)
	private, _ := testKey(t, 7)
	digest := sha256.Sum256([]byte("text"))
	values, err := ima.Sign(context.Background(), ima.FromRaw(ima.CryptoSigner(private), public), public, ima.ContentSignature(), ima.SHA256, [][]byte{digest[:]})
	check(t, err)
	good := string(values[0])
	for _, key := range []string{"LIBARCHIVE.xattr.security.ima", "LIBARCHIVE.xattr.security%2Eima"} {
		text := build(t, map[string]string{"SCHILY.xattr.security.ima": good, key: staleB64, "SCHILY.xattr.user.a": "b"}, nil)
		if lines := verdicts(t, text); strings.Join(lines, ",") != "file ok,file bad" {
			t.Errorf("verified as %q", lines)
		}
		if out := signed(t, text); bytes.Contains(out, []byte(staleB64)) || !bytes.Contains(out, []byte("SCHILY.xattr.user.a=b\n")) {
			t.Error("signing leaves the stale record or loses another")
		}
		if out := stripped(t, text); bytes.Contains(out, []byte("ima")) {
			t.Error("stripping leaves a record")
		}
		alone := build(t, map[string]string{key: staleB64}, nil)
		if lines := verdicts(t, alone); strings.Join(lines, ",") != "file bad,file unsigned" {
			t.Errorf("only a LIBARCHIVE record: %q", lines)
		}
		unseen := build(t, map[string]string{key: base64.StdEncoding.EncodeToString(values[0])}, nil)
		if lines := verdicts(t, unseen); strings.Join(lines, ",") != "file ok,file unsigned" {
			t.Errorf("a signature that GNU tar does not read: %q", lines)
		}
		if lines := verdicts(t, signed(t, unseen)); strings.Join(lines, ",") != "file ok" {
			t.Errorf("signed again: %q", lines)
		}
		if lines := verdicts(t, signed(t, alone)); strings.Join(lines, ",") != "file ok" {
			t.Errorf("signed: %q", lines)
		}
	}
	if text := build(t, map[string]string{"SCHILY.xattr.security.ima": stale}, nil); strings.Join(verdicts(t, text), ",") != "file bad" {
		t.Error("a stale SCHILY record is valid")
	}
}

// TestHardLinks checks that the first entry gets the signature, and that a link's own
// record, which bsdtar applies after it, is updated too.
func TestHardLinks(t *testing.T) {
	text := build(t, nil, map[string]string{"SCHILY.xattr.user.a": "b"})
	out, counts, err := rewritten(text, testEngine(t, 7, false).Plan)
	check(t, err)
	if counts.Signed != 1 || counts.Links != 1 || strings.Count(string(out), "security.ima=") != 1 {
		t.Errorf("%+v, %d records", counts, strings.Count(string(out), "security.ima="))
	}
	if lines := verdicts(t, out); strings.Join(lines, ",") != "file ok,link ok" {
		t.Errorf("verified as %q", lines)
	}
	stale := build(t, map[string]string{"SCHILY.xattr.security.ima": "\x04\x04stale"}, map[string]string{"SCHILY.xattr.security.ima": "\x04\x04stale"})
	if lines := verdicts(t, stale); strings.Join(lines, ",") != "file bad,link bad" {
		t.Errorf("stale: %q", lines)
	}
	out = signed(t, stale)
	if lines := verdicts(t, out); strings.Join(lines, ",") != "file ok,link ok" || strings.Contains(string(out), "stale") {
		t.Errorf("a stale record of a link: %q", lines)
	}
	if bytes.Contains(stripped(t, stale), []byte("security.ima")) {
		t.Error("stripping leaves a link's record")
	}
}

// TestALinkOfItself checks that a hard link of its own path is a separate entry.
func TestALinkOfItself(t *testing.T) {
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	check(t, w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644}))
	check(t, w.WriteHeader(&tar.Header{Name: "link", Typeflag: tar.TypeLink, Linkname: "file", Mode: 0o644}))
	check(t, w.WriteHeader(&tar.Header{Name: "./file", Typeflag: tar.TypeLink, Linkname: "link", Mode: 0o644}))
	check(t, w.Close())
	out, counts, err := rewritten(text.Bytes(), testEngine(t, 7, false).Plan)
	check(t, err)
	if counts.Signed != 2 || counts.Links != 1 || bytes.Count(out, []byte("security.ima=")) != 2 {
		t.Errorf("%+v, %d records", counts, bytes.Count(out, []byte("security.ima=")))
	}
	if !bytes.Equal(stripped(t, out), text.Bytes()) {
		t.Error("stripping does not restore the archive")
	}
}

// TestRecordsAreFilledUp signs archives with every number of blocks in the last record. The
// output ends in two zero blocks and a full record, and stripping restores the archive.
func TestRecordsAreFilledUp(t *testing.T) {
	for blocks := range int64(2 * recordSize / blockSize) {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		for i := range 3 {
			h := tar.Header{Name: fmt.Sprint("file", i), Mode: 0o644}
			if i == 0 {
				h.Size = blocks * blockSize
			}
			check(t, w.WriteHeader(&h))
			_, err := w.Write(bytes.Repeat([]byte{'x'}, int(h.Size)))
			check(t, err)
		}
		check(t, w.Close())
		text := append(buf.Bytes(), make([]byte, (recordSize-buf.Len()%recordSize)%recordSize)...)
		out := signed(t, text)
		a, err := inMemory(out, Options{})
		check(t, err)
		if zeros := a.size - a.end; a.size%recordSize != 0 || zeros < 2*blockSize || zeros >= 2*blockSize+recordSize {
			t.Errorf("%d blocks: %d bytes, of which %d end the archive", blocks, a.size, zeros)
		}
		if !bytes.Equal(stripped(t, out), text) {
			t.Errorf("%d blocks: stripping does not restore the archive", blocks)
		}
	}
}

// TestOtherKeysSecondValueIsRefused checks that a signature of another key that only bsdtar
// applies is not replaced either.
func TestOtherKeysSecondValueIsRefused(t *testing.T) {
	private, public := testKey(t, 8)
	digest := sha256.Sum256([]byte("text"))
	values, err := ima.Sign(t.Context(), ima.FromRaw(ima.CryptoSigner(private), public), public, ima.ContentSignature(), ima.SHA256, [][]byte{digest[:]})
	check(t, err)
	theirs, nobodys := string(values[0]), string(ima.DigestValue(ima.SHA256, digest[:]))
	libarchive := base64.RawStdEncoding.EncodeToString(values[0])
	for name, text := range map[string][]byte{
		"SCHILY":       build(t, map[string]string{"SCHILY.xattr.security.ima": theirs}, nil),
		"LIBARCHIVE":   build(t, map[string]string{"LIBARCHIVE.xattr.security.ima": libarchive}, nil),
		"both":         build(t, map[string]string{"SCHILY.xattr.security.ima": nobodys, "LIBARCHIVE.xattr.security.ima": libarchive}, nil),
		"of a link":    build(t, map[string]string{}, map[string]string{"SCHILY.xattr.security.ima": theirs}),
		"both of link": build(t, map[string]string{}, map[string]string{"SCHILY.xattr.security.ima": nobodys, "LIBARCHIVE.xattr.security.ima": libarchive}),
	} {
		if _, _, err := rewritten(text, testEngine(t, 7, false).Plan); !errors.Is(err, signing.ErrOtherKey) {
			t.Errorf("%s: got %v", name, err)
		}
		if _, _, err := rewritten(text, testEngine(t, 7, true).Plan); err != nil {
			t.Errorf("%s, by force: %v", name, err)
		}
	}
}
