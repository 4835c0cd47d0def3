package tarball

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// described returns what the entries of an archive state about links and devices.
func described(t *testing.T, headers ...tar.Header) (list []string, err error) {
	t.Helper()
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	for _, h := range headers {
		check(t, w.WriteHeader(&h))
	}
	check(t, w.Close())
	a, err := inMemory(text.Bytes(), Options{})
	if err != nil {
		return nil, err
	}
	for e, err := range a.Entries(t.Context()) {
		if err != nil {
			return nil, err
		}
		list = append(list, fmt.Sprintf("%s %v %s%s", e.Path, e.Mode, e.Target, e.Device))
	}
	return list, nil
}

// TestTargetsAndDevices checks what entries state about symbolic links, devices, and hard
// links to them.
func TestTargetsAndDevices(t *testing.T) {
	long := fmt.Sprintf("%0120d/../\xff", 0)
	got, err := described(t,
		tar.Header{Name: "a", Typeflag: tar.TypeReg, Mode: 0o644},
		tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/../x", Mode: 0o777},
		tar.Header{Name: "long", Typeflag: tar.TypeSymlink, Linkname: long, Mode: 0o777, Format: tar.FormatGNU},
		tar.Header{Name: "c", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o600},
		tar.Header{Name: "b", Typeflag: tar.TypeBlock, Devmajor: 259, Devminor: 70000, Mode: 0o600, PAXRecords: map[string]string{"SCHILY.devmajor": "259", "SCHILY.devminor": "70000"}},
		tar.Header{Name: "l2", Typeflag: tar.TypeLink, Linkname: "l"},
		tar.Header{Name: "l3", Typeflag: tar.TypeLink, Linkname: "l2"},
		tar.Header{Name: "c2", Typeflag: tar.TypeLink, Linkname: "c"},
		tar.Header{Name: "a2", Typeflag: tar.TypeLink, Linkname: "a"},
	)
	check(t, err)
	want := []string{
		"a -rw-r--r-- ", "l Lrwxrwxrwx /../x", "long Lrwxrwxrwx " + long, "c Dcrw------- 1:3", "b Drw------- 259:70000",
		"l2 Lrwxrwxrwx /../x", "l3 Lrwxrwxrwx /../x", "c2 Dcrw------- 1:3", "a2 -rw-r--r-- ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestDeviceStatedTwice checks that a device is refused if bsdtar extracts another one than
// GNU tar.
func TestDeviceStatedTwice(t *testing.T) {
	for key, value := range map[string]string{"SCHILY.devmajor": "2", "SCHILY.devminor": "5"} {
		got, err := described(t, tar.Header{Name: "c", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, PAXRecords: map[string]string{key: value}})
		if !errors.Is(err, ErrAmbiguous) {
			t.Errorf("%s: %q, %v", key, got, err)
		}
	}
}

// TestLinkToAReplacedLink checks that a hard link means the file that took the place of a
// symbolic link.
func TestLinkToAReplacedLink(t *testing.T) {
	got, err := described(t,
		tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "x", Mode: 0o777},
		tar.Header{Name: "a", Typeflag: tar.TypeReg, Mode: 0o644},
		tar.Header{Name: "b", Typeflag: tar.TypeLink, Linkname: "a"},
	)
	check(t, err)
	if want := []string{"a Lrwxrwxrwx x", "a -rw-r--r-- ", "b -rw-r--r-- "}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
