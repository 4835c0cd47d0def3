package rpmsign

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/rpm/packages"
)

func TestInfo(t *testing.T) {
	path := packages.Copy(t, "rich", t.TempDir())
	before := mustParse(t, content(t, path)).Info()
	if before.Name != "imatest-rich-2.0-1.x86_64" || before.Summary != "Every kind of file" || !before.Built.Equal(time.Unix(1_700_000_000, 0)) ||
		before.Format != 4 || before.Source || before.Reserve != 4127 || before.Compressor != "zstd" || before.Hash != "sha256" || before.Signed != 0 || len(before.Defects) != 0 {
		t.Errorf("%+v", before)
	}
	if int64(before.Signature)+int64(before.Main)+before.Payload+leadSize > before.Size || before.Digests == 0 || before.Digests >= before.Files {
		t.Errorf("%+v", before)
	}
	run(t, signer(t, "p256"), path)
	after := mustParse(t, content(t, path)).Info()
	if after.Signed != before.Digests || after.Length < 70 || len(after.KeyIDs) != 1 || after.KeyIDs[0] != publicKey(t, keys["p256"]()).ID().String() || !slices.Contains(after.Tags, "FILESIGNATURES") {
		t.Errorf("%+v", after)
	}
}

func TestFormats(t *testing.T) {
	for name, want := range map[string]int{"zstd": 4, "el6": 4, "rpm3": 3, "el5": 4} {
		if got := mustParse(t, content(t, packages.Path(t, name))).format(); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	for name, source := range map[string]bool{"zstd": false, "source": true, "empty": false} {
		if p := mustParse(t, content(t, packages.Path(t, name))); p.Source() != source || strings.HasSuffix(p.Name(), ".src") != source {
			t.Errorf("%s: source %t, name %s", name, p.Source(), p.Name())
		}
	}
}

// TestInfoOfVerity checks that fs-verity signatures are reported and kept.
func TestInfoOfVerity(t *testing.T) {
	for _, name := range []string{"v4/verity", "v6/verity"} {
		b := content(t, vectors+name+".rpm")
		before := mustParse(t, b)
		if !before.Info().Verity {
			t.Errorf("%s: %+v", name, before.Info())
		}
		path := put(t, b)
		run(t, frozen(t, "p256"), path)
		if after := mustParse(t, content(t, path)); !slices.EqualFunc(after.sig.having(tagVeritySignatures, tagVerityAlgorithm), before.sig.having(tagVeritySignatures, tagVerityAlgorithm), value.equal) {
			t.Errorf("%s: fs-verity signatures changed", name)
		}
	}
}

// TestFiles compares the files of packages with rpm's list.
func TestFiles(t *testing.T) {
	for _, name := range []string{"rich", "zstd", "rpm3", "source"} {
		path := packages.Path(t, name)
		p := mustParse(t, content(t, path))
		entries := packages.Entries(t, path)
		if len(entries) != len(p.files) {
			t.Fatalf("%s: %d files, rpm lists %d", name, len(p.files), len(entries))
		}
		for i, e := range entries {
			f := p.files[i]
			if strings.TrimPrefix(e.Path, "/") != f.Path || e.Flags != f.Flags || e.Mode&0o777 != uint32(f.Mode.Perm()) || (e.Digest != "") != (f.Digest != nil) {
				t.Errorf("%s: %+v, rpm says %+v", name, f, e)
			}
		}
	}
}

// TestTargetsAndDevices compares what entries state about symbolic links and devices with
// what rpm lists.
func TestTargetsAndDevices(t *testing.T) {
	path := packages.Path(t, "rich")
	lines := strings.Split(strings.TrimSpace(packages.Query(t, path, "[/%{FILENAMES}\t%{FILELINKTOS}\t%{FILERDEVS}\n]")), "\n")
	links, devices := 0, 0
	for e, err := range mustParse(t, content(t, path)).Entries(t.Context()) {
		check(t, err)
		device := "0"
		if e.Device != "" {
			devices++
			var major, minor int
			_, err := fmt.Sscanf(e.Device, "%d:%d", &major, &minor)
			check(t, err)
			device = strconv.Itoa(major<<8 | minor)
		}
		if e.Target != "" {
			links++
		}
		if want := "//" + e.Path + "\t" + e.Target + "\t" + device; !slices.Contains(lines, want) {
			t.Errorf("rpm does not list %q", want)
		}
	}
	if links < 3 || devices != 2 {
		t.Errorf("%d links, %d devices", links, devices)
	}
}
