package rpmsign

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// sig274 and sig275 are the two tags without a flaw.
func sig274(list ...string) packages.Tag {
	return packages.Tag{Tag: packages.TagFileSignatures, Type: packages.TypeStringArray, Count: uint32(len(list)), Data: strings0(list...)}
}

func sig275(n uint32) packages.Tag {
	return packages.Tag{Tag: packages.TagFileSignatureLength, Type: packages.TypeInt32, Count: 1, Data: int32s(n)}
}

// valid returns signatures of the package's files in hex, "" for files without a digest.
func valid(t testing.TB, p *Package) []string {
	t.Helper()
	plan, err := engine(t, keys["p256"]()).Plan(t.Context(), p)
	check(t, err)
	defer plan.Close()
	list := make([]string, 0, len(p.files))
	for r, err := range plan.Records() {
		check(t, err)
		list = append(list, hex.EncodeToString(r.Final(ima.XattrIMA)))
	}
	return list
}

func longestOf(list []string) (n uint32) {
	for _, s := range list {
		n = max(n, uint32(len(s)/2))
	}
	return n
}

// flawed returns a package for every flaw.
func flawed(t testing.TB) map[Flaw][]byte {
	t.Helper()
	p := mustParse(t, content(t, packages.Path(t, "zstd")))
	list := valid(t, p)
	n := longestOf(list)
	signed := slices.IndexFunc(list, func(s string) bool { return s != "" })
	with := func(index int, text string) []string {
		changed := slices.Clone(list)
		changed[index] = text
		return changed
	}
	littleEndian := list[signed][:14] + list[signed][16:18] + list[signed][14:16] + list[signed][18:]
	made := map[Flaw][]byte{}
	for flaw, tags := range map[Flaw][]packages.Tag{
		flawCount:     {sig274(list[1:]...), sig275(n)},
		flawHex:       {sig274(with(signed, list[signed][1:])...), sig275(n)},
		flawRepeated:  {sig274(list...), sig274(list...), sig275(n), sig275(n)},
		flawType:      {sig274(list...), {Tag: packages.TagFileSignatureLength, Type: packages.TypeInt16, Count: 1, Data: []byte{0, byte(n)}}},
		flawNoLength:  {sig274(list...)},
		flawLength:    {sig274(list...), sig275(n + 1)},
		flawUpperCase: {sig274(with(signed, strings.ToUpper(list[signed]))...), sig275(n)},
		flawNoDigest:  {sig274(with(slices.Index(list, ""), list[signed])...), sig275(n)},
		flawByteOrder: {sig274(with(signed, littleEndian)...), sig275(n)},
		flawValue:     {sig274(with(signed, "ffff")...), sig275(n)},
	} {
		f := parts(t, "zstd")
		for _, tag := range tags {
			f.Signature = insert(f.Signature, tag)
		}
		made[flaw] = pack(f)
	}
	unsorted := parts(t, "zstd")
	unsorted.Signature = append(unsorted.Signature, sig275(n), sig274(list...))
	made[flawUnsorted] = pack(unsorted)
	made[flawOutside] = appended(t, list, n)
	return made
}

// appended is a package whose file signatures follow the region, as some vendors write them.
func appended(t testing.TB, list []string, n uint32) []byte {
	t.Helper()
	f := parts(t, "zstd")
	header := packages.Compose(packages.TagImmutable, f.Header)
	raw := bytes.Clone(mustParse(t, content(t, packages.Path(t, "zstd"))).sig.raw)
	entries, size := len(f.Signature)+1, uint32(len(raw)-at(len(f.Signature)+1, 0))
	data := append(bytes.Clone(raw[at(entries, 0):]), strings0(list...)...)
	pad := make([]byte, -len(data)&3)
	index := appendEntry(bytes.Clone(raw[introSize:at(entries, 0)]), entry{tagFileSignatures, typeStringArray, size, uint32(len(list)), 0})
	index = appendEntry(index, entry{tagFileSignatureLength, typeInt32, uint32(len(data) + len(pad)), 1, 0})
	data = slices.Concat(data, pad, int32s(n))
	out := slices.Concat([]byte(headerMagic), int32s(uint32(entries+2), uint32(len(data))), index, data)
	return slices.Concat(f.Lead, out, make([]byte, -len(out)&7), header, f.Payload)
}

// TestFlaws checks that every flaw has its name, that signing repairs it, and that rpm reads
// the result.
func TestFlaws(t *testing.T) {
	for flaw, b := range flawed(t) {
		t.Run(string(flaw), func(t *testing.T) {
			path := put(t, b)
			p, err := Open(path, Options{})
			check(t, err)
			defects, signed := p.Info().Defects, p.Info().Signed
			check(t, p.Close())
			if ignored := slices.Contains([]Flaw{flawCount, flawHex, flawRepeated}, flaw); ignored != (signed == 0) {
				t.Errorf("%d signatures are read", signed)
			}
			if !slices.ContainsFunc(defects, func(d Defect) bool { return d.Flaw == flaw && d.Detail != "" }) {
				t.Fatalf("defects %v", defects)
			}
			if flaw.Harmless() && len(defects) > 2 {
				t.Errorf("further defects %v", defects)
			}
			r := run(t, signer(t, "p256"), path)
			if !r.Changed || !slices.Equal(r.Defects, defects) {
				t.Errorf("changed %t, defects %v", r.Changed, r.Defects)
			}
			if n := verify(t, path, "p256"); n != 4 {
				t.Errorf("%d files signed", n)
			}
			repaired := mustParse(t, content(t, path))
			if list := repaired.Defects(); len(list) != 0 {
				t.Errorf("still %v", list)
			}
			check(t, rpmChecksig(t, path))
			for _, e := range packages.Entries(t, path) {
				if (e.Signature != "") != (e.Digest != "") {
					t.Errorf("rpm reads %+v", e)
				}
			}
			if r := run(t, signer(t, "p256"), path); r.Changed {
				t.Error("signing again changed it again")
			}
		})
	}
}

// TestFlawsStrip checks that stripping repairs flaws as well.
func TestFlawsStrip(t *testing.T) {
	want := content(t, packages.Path(t, "zstd"))
	for flaw, b := range flawed(t) {
		path := put(t, b)
		run(t, stripper(t), path)
		p := mustParse(t, content(t, path))
		if p.values.present || len(p.Defects()) > 0 {
			t.Errorf("%s: still there: %v", flaw, p.Defects())
		}
		if got := content(t, path); !bytes.Equal(got[p.mainAt:], want[len(want)-len(got[p.mainAt:]):]) {
			t.Errorf("%s: main header or payload changed", flaw)
		}
		check(t, rpmChecksig(t, path))
	}
}

func TestHarmless(t *testing.T) {
	for _, f := range []Flaw{flawOutside, flawUnsorted, flawUpperCase} {
		if !f.Harmless() {
			t.Errorf("%s does harm", f)
		}
	}
	if flawCount.Harmless() || flawRepeated.Harmless() || flawNoLength.Harmless() {
		t.Error("harmless")
	}
}

// TestLengthAlone checks that FILESIGNATURELENGTH without signatures is a flaw.
func TestLengthAlone(t *testing.T) {
	f := parts(t, "zstd")
	f.Signature = insert(f.Signature, sig275(80))
	p := mustParse(t, pack(f))
	if d := p.Defects(); len(d) != 1 || d[0].Flaw != flawLength {
		t.Errorf("%v", d)
	}
}

// TestSourceRefused checks that source packages are not changed.
func TestSourceRefused(t *testing.T) {
	path := packages.Copy(t, "source", t.TempDir())
	before := content(t, path)
	p, err := Open(path, Options{})
	check(t, err)
	defer p.Close()
	if err := p.Signable(t.Context(), 100, nil); !errors.Is(err, ErrSource) {
		t.Error(err)
	}
	if r := run(t, signer(t, "p256"), path); !r.Source || r.Changed || !bytes.Equal(before, content(t, path)) {
		t.Errorf("%+v", r)
	}
}

func TestWeakDigests(t *testing.T) {
	for _, name := range []string{"md5", "sha1"} {
		path := packages.Copy(t, name, t.TempDir())
		before := content(t, path)
		s := signer(t, "p256")
		s.Longest = 100
		r := s.Run(t.Context(), unit{Path: path})
		if !errors.Is(r.Err, ErrWeakDigest) || !bytes.Equal(before, content(t, path)) {
			t.Errorf("%s: %v", name, r.Err)
		}
	}
}

// TestHeaderLimit checks that no header is written that an old rpm would refuse.
func TestHeaderLimit(t *testing.T) {
	path := packages.Copy(t, "rich", t.TempDir())
	before := content(t, path)
	s := signer(t, "rsa2048")
	s.Options.MaxHeader = limit8K
	for _, longest := range []int{0, 265} {
		s.Longest = longest
		r := s.Run(t.Context(), unit{Path: path})
		if !errors.Is(r.Err, ErrHeaderTooLarge) || !strings.Contains(r.Err.Error(), "8K") || !bytes.Equal(before, content(t, path)) {
			t.Errorf("longest %d: %v", longest, r.Err)
		}
	}
	s.Options.MaxHeader = limit64K
	run(t, s, path)
	check(t, rpmChecksig(t, path))
}

// TestSignStrip signs real packages with keys of several sizes and strips them. The main
// header, the payload and all other tags must keep every byte, and stripping must give back
// the package that rpmbuild wrote.
func TestSignStrip(t *testing.T) {
	for _, name := range []string{"zstd", "xz", "rich", "empty", "no-reserve", "large-reserve", "sha512", "sha384", "sha224", "el6", "openpgp-rsa", "openpgp-rpmv3", "noarch"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := packages.Copy(t, name, t.TempDir())
			original := content(t, path)
			was := mustParse(t, original)
			for _, key := range []string{"p256", "rsa3072", "rsa2048", "p256"} {
				run(t, signer(t, key), path)
				now := mustParse(t, content(t, path))
				wantSigned(t, was, now, verify(t, path, key))
				check(t, rpmChecksig(t, path))
			}
			run(t, stripper(t), path)
			if !bytes.Equal(content(t, path), original) {
				t.Error("the stripped package is not the original")
			}
		})
	}
}

func wantSigned(t *testing.T, was, now *Package, signed int) {
	t.Helper()
	if !bytes.Equal(now.lead, was.lead) || !bytes.Equal(now.main.raw, was.main.raw) || now.size-now.payload != was.size-was.payload {
		t.Error("lead, main header or payload changed")
	}
	if !slices.EqualFunc(now.sig.kept(fileSignatureTags()...), was.sig.kept(), value.equal) {
		t.Error("other tags of the signature header changed")
	}
	if len(was.files) > 0 != (signed > 0) {
		t.Errorf("%d files signed", signed)
	}
	_, room := was.sig.reserve()
	if _, left := now.sig.reserve(); (now.size == was.size) != (left < room || len(was.files) == 0) {
		t.Errorf("size %d, was %d; reserve %d, was %d", now.size, was.size, left, room)
	}
}

// TestUnchanged checks that signing again with the same key writes nothing.
func TestUnchanged(t *testing.T) {
	path := packages.Copy(t, "rich", t.TempDir())
	run(t, signer(t, "p256"), path)
	before := content(t, path)
	r := run(t, signer(t, "p256"), path)
	if r.Changed || r.Counts.Signed != 0 || r.Counts.Unchanged == 0 || !bytes.Equal(before, content(t, path)) {
		t.Errorf("%+v", r)
	}
}

func TestOtherKeyNeedsForce(t *testing.T) {
	path := packages.Copy(t, "zstd", t.TempDir())
	run(t, signer(t, "p256"), path)
	before := content(t, path)
	key := keys["rsa2048"]()
	e, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(key), publicKey(t, key)), Public: publicKey(t, key)}, 0)}})
	check(t, err)
	s := loop{Plan: func(ctx context.Context, p *Package) (*signing.Plan, error) { return e.Plan(ctx, p) }}
	if r := s.Run(t.Context(), unit{Path: path}); !errors.Is(r.Err, signing.ErrOtherKey) || !bytes.Equal(before, content(t, path)) {
		t.Error(r.Err)
	}
}

// TestRichValues compares the signatures of a real package with what rpm reads.
func TestRichValues(t *testing.T) {
	path := packages.Copy(t, "rich", t.TempDir())
	run(t, signer(t, "rsa2048"), path)
	same := map[string]string{}
	for _, e := range packages.Entries(t, path) {
		if e.Regular() != (e.Signature != "") {
			t.Errorf("%s: mode %o, flags %x, signature %.20s", e.Path, e.Mode, e.Flags, e.Signature)
		}
		same[e.Path] = e.Signature
	}
	const dir = "/usr/share/rich/"
	if same[dir+"empty"] == "" || same[dir+"link-a"] != same[dir+"link-c"] || same[dir+"link-a"] == same[dir+"empty"] {
		t.Error("signatures of the empty file and of the names of a hard link")
	}
	if out, err := exec.Command("rpm", "-qp", "--nosignature", "--qf", "%{FILESIGNATURELENGTH}", path).Output(); err != nil || string(out) != "265" {
		t.Errorf("FILESIGNATURELENGTH %s, %v", out, err)
	}
}

// TestNothingSigned checks the tags of packages that have only directories, or no files: like
// rpmsign, no FILESIGNATURELENGTH, or neither tag.
func TestNothingSigned(t *testing.T) {
	list := fileSignatureValues([][]byte{nil, nil})
	if len(list) != 1 || !list[0].equal(value{tagFileSignatures, typeStringArray, 2, []byte{0, 0}}) {
		t.Errorf("%s", tagsText(list))
	}
	if list := fileSignatureValues(nil); list != nil {
		t.Errorf("%s", tagsText(list))
	}
}

// TestSmallestLimit checks that rpm 4.14 accepts seven RSA-2048 signatures beside the reserve.
func TestSmallestLimit(t *testing.T) {
	for files, want := range map[int]error{7: nil, 8: ErrHeaderTooLarge} {
		p := mustParse(t, large(t, files))
		p.options.MaxHeader = limit8K
		if err := p.Signable(t.Context(), 265, nil); !errors.Is(err, want) {
			t.Errorf("%d files: %v", files, err)
		}
	}
}

// TestWhatMayBeAnothersTakesForce checks that values that are or can be somebody else's are
// not replaced without force, and that the package is unchanged.
func TestWhatMayBeAnothersTakesForce(t *testing.T) {
	p := mustParse(t, content(t, packages.Path(t, "zstd")))
	list := valid(t, p)
	at := slices.IndexFunc(list, func(s string) bool { return s != "" })
	own := list[at]
	key := keys["p256"]()
	e, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(key), publicKey(t, key)), Public: publicKey(t, key)}, 0)}})
	check(t, err)
	s := loop{Plan: func(ctx context.Context, p *Package) (*signing.Plan, error) { return e.Plan(ctx, p) }}
	for name, c := range map[string]struct {
		value string
		want  error // nil if the value is replaced
	}{
		"version 1":          {"0301000000000000" + "aabbccddeeff0011" + "01" + "0008" + "ff", signing.ErrOtherKey},
		"unknown type":       {"07" + own[2:], signing.ErrNotOurs},
		"cut":                {own[:40], signing.ErrNotOurs},
		"own fs-verity":      {"0603" + own[4:], signing.ErrNotOurs},
		"little-endian":      {own[:14] + own[16:18] + own[14:16] + own[18:], signing.ErrNotOurs},
		"digest":             {"0404" + strings.Repeat("00", 32), nil},
		"own over something": {list[slices.IndexFunc(list, func(s string) bool { return s != "" && s != own })], nil},
	} {
		changed := slices.Clone(list)
		changed[at] = c.value
		f := parts(t, "zstd")
		f.Signature = insert(insert(f.Signature, sig274(changed...)), sig275(longestOf(changed)))
		path := put(t, pack(f))
		before := content(t, path)
		r := s.Run(t.Context(), unit{Path: path})
		if !errors.Is(r.Err, c.want) || c.want != nil && !bytes.Equal(before, content(t, path)) {
			t.Errorf("%s: %v, not %v", name, r.Err, c.want)
		}
		if c.want != nil {
			if r := run(t, signer(t, "p256"), path); r.Counts.Forced != 1 {
				t.Errorf("%s, forced: %+v", name, r.Counts)
			}
		}
		if n := verify(t, path, "p256"); n != 4 {
			t.Errorf("%s: %d signatures are valid", name, n)
		}
	}
}
