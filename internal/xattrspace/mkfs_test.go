package xattrspace_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/xattrspace"
	"github.com/imasign/imasign-build/tests/harness"
)

// kept makes an image of a file that has the values, and reports whether it has them all.
func kept(t *testing.T, tree, options string, values []xattrspace.Value) bool {
	t.Helper()
	file, image := filepath.Join(tree, "file"), filepath.Join(t.TempDir(), "image")
	if err := errors.Join(os.RemoveAll(file), os.WriteFile(file, nil, 0o644), os.WriteFile(image, nil, 0o600), os.Truncate(image, 4<<20)); err != nil {
		t.Fatal(err)
	}
	for k, v := range values {
		if err := unix.Setxattr(file, "security."+v.Name, []byte(strings.Repeat(string(rune('a'+k)), v.Size)), 0); err != nil {
			t.Fatal(err)
		}
	}
	if r := harness.Run(t, "mkfs.ext4", append(strings.Fields(options), "-q", "-N", "32", "-d", tree, image)...); r.Code != 0 {
		if !strings.Contains(r.Err, "Insufficient space to store extended attribute") {
			t.Fatalf("mkfs.ext4 %s: %s", options, r.Err)
		}
		return false
	}
	for k, v := range values {
		if out := harness.Must(t, "debugfs", "-R", "ea_get -V /file security."+v.Name, image); strings.Count(out, string(rune('a'+k))) != v.Size {
			t.Errorf("mkfs.ext4 %s: security.%s is not in the image:\n%.100s", options, v.Name, out)
		}
	}
	return true
}

// most returns the size of the largest last value that fits behind others.
func most(e xattrspace.Ext, room xattrspace.Room, values []xattrspace.Value) int {
	all := slices.Concat(values, []xattrspace.Value{{Name: "ima"}})
	for size := 1; ; size++ {
		all[len(values)].Size = size
		if _, err := e.Place(room, all...); err != nil {
			return size - 1
		}
	}
}

// TestMkfsAgrees compares the largest value that fits with what mkfs.ext4 -d can store: so
// many bytes, and not one more.
func TestMkfsAgrees(t *testing.T) {
	tree := harness.LargeXattrs(t)
	label := xattrspace.Value{Name: "selinux", Size: 33}
	smack := xattrspace.Value{Name: "SMACK64EXEC", Size: 5}
	evm := xattrspace.Value{Name: "evm", Size: 265}
	for _, c := range []struct {
		block, inode, want int
		before             []xattrspace.Value // that the file has
	}{
		{1024, 128, 968, nil},
		{1024, 256, 968, nil},
		{1024, 512, 968, nil},
		{1024, 1024, 968, nil},
		{2048, 256, 1992, nil},
		{4096, 128, 4040, nil},
		{4096, 256, 4040, nil},
		{4096, 512, 4040, nil},
		{4096, 1024, 4040, nil},
		{1024, 256, 968, []xattrspace.Value{label}},         // in the inode
		{1024, 128, 908, []xattrspace.Value{label}},         // in the block
		{4096, 128, 3944, []xattrspace.Value{label, smack}}, // in the block
		{1024, 256, 680, []xattrspace.Value{evm}},
		{1024, 512, 968, []xattrspace.Value{evm}},
		{4096, 256, 3752, []xattrspace.Value{evm}},
	} {
		options := fmt.Sprintf("-b %d -I %d", c.block, c.inode)
		t.Run(fmt.Sprint(options, c.before), func(t *testing.T) {
			e := xattrspace.Ext{Block: c.block, Inode: c.inode}
			if got := most(e, e.New(), c.before); got != c.want {
				t.Errorf("%d bytes fit, want %d", got, c.want)
			}
			for more, fits := range []bool{true, false} {
				values := slices.Concat(c.before, []xattrspace.Value{{Name: "ima", Size: c.want + more}})
				if got := kept(t, tree, options, values); got != fits {
					t.Errorf("mkfs.ext4 stores %d bytes: %v, want %v", c.want+more, got, fits)
				}
				if !kept(t, tree, options+" -O ea_inode", values) {
					t.Errorf("with ea_inode, mkfs.ext4 does not store %d bytes", c.want+more)
				}
			}
		})
	}
}

// TestRemediesHelp makes images with each remedy.
func TestRemediesHelp(t *testing.T) {
	tree := harness.LargeXattrs(t)
	for _, c := range []struct {
		ext    xattrspace.Ext
		values []xattrspace.Value
		want   string
	}{
		{xattrspace.Ext{Block: 1024, Inode: 256}, []xattrspace.Value{{Name: "ima", Size: 3318}}, "-b 4096,-O ea_inode"},
		{xattrspace.Ext{Block: 4096, Inode: 256}, []xattrspace.Value{{Name: "ima", Size: 4636}}, "-O ea_inode"},
		{xattrspace.Ext{Block: 4096, Inode: 256}, []xattrspace.Value{{Name: "evm", Size: 4636}, {Name: "ima", Size: 4636}}, "-O ea_inode"},
		{xattrspace.Ext{Block: 1024, Inode: 256}, []xattrspace.Value{{Name: "evm", Size: 521}, {Name: "ima", Size: 521}}, "-b 4096,-I 1024,-O ea_inode"},
		{xattrspace.Ext{Block: 1024, Inode: 128}, []xattrspace.Value{{Name: "evm", Size: 521}, {Name: "selinux", Size: 400}, {Name: "ima", Size: 73}}, "-b 4096,-I 512,-O ea_inode"},
	} {
		got := c.ext.Remedies(c.values...)
		if strings.Join(got, ",") != c.want {
			t.Errorf("%+v %v: %q, want %q", c.ext, c.values, got, c.want)
		}
		options := fmt.Sprintf("-b %d -I %d", c.ext.Block, c.ext.Inode)
		if kept(t, tree, options, c.values) {
			t.Errorf("%+v %v: needs no remedy", c.ext, c.values)
		}
		for _, remedy := range got {
			if !kept(t, tree, options+" "+remedy, c.values) {
				t.Errorf("%+v %v: %s does not help", c.ext, c.values, remedy)
			}
		}
	}
}
