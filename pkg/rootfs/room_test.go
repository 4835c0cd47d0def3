package rootfs

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLargestValuesAreTriedFirst has one file whose values do not fit, after all others. No
// file may be touched, also not for a moment, which would change its ctime.
func TestLargestValuesAreTriedFirst(t *testing.T) {
	dir := ext4(t, "8M", "-b", "1024")
	write(t, dir, "a", "b", "below/z")
	z := filepath.Join(dir, "below/z")
	ok(t, unix.Setxattr(z, "security.SMACK64", []byte(strings.Repeat("l", 850)), 0))
	tr := openTree(t, dir, Options{})
	plan := planWith(t, tr, rsa4096(t))
	was := snapshot(t, dir, true)
	_, err := tr.Prepare(t.Context(), plan)
	if !errors.Is(err, ErrNoRoom) {
		t.Fatalf("got %v", err)
	}
	mentions(t, err, z, "security.ima of 521 bytes", "tune2fs -O ea_inode", "mkfs.ext4 -b 4096")
	same(t, "the tree", was, snapshot(t, dir, true))

	wide := ext4(t, "8M", "-b", "1024", "-O", "ea_inode")
	write(t, wide, "a", "z")
	ok(t, unix.Setxattr(filepath.Join(wide, "z"), "security.SMACK64", []byte(strings.Repeat("l", 850)), 0))
	tr = openTree(t, wide, Options{})
	ok(t, attach(t.Context(), tr, planWith(t, tr, rsa4096(t))))
}
