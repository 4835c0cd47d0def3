package image

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// table is a partition table for sfdisk with three partitions for Linux.
type table struct {
	label, lines string
	numbers      []int
}

var tables = []table{
	{"dos", "size=20MiB, type=83\ntype=5\nsize=10MiB, type=83\nsize=10MiB, type=83\n", []int{1, 5, 6}},
	{"gpt", "size=20MiB, name=root\nsize=10MiB, name=\"the data\"\nsize=10MiB, name=other\n", []int{1, 2, 3}},
}

// diskImage is a disk with an image in each partition.
type diskImage struct {
	path   string
	starts []int64 // bytes
}

// disk makes a disk with partitions by sfdisk, which learns the sector size from a loop
// device, and copies images into them.
func (l *lab) disk(t testing.TB, k table, sector int, images []string) *diskImage {
	t.Helper()
	d := &diskImage{path: l.path(fmt.Sprintf("%s-%d.img", k.label, sector))}
	check(t, os.WriteFile(d.path, nil, 0o644))
	check(t, os.Truncate(d.path, 48<<20))
	loop := strings.TrimSpace(harness.Must(t, "losetup", "--find", "--show", "--sector-size", fmt.Sprint(sector), d.path))
	defer func() { harness.Must(t, "losetup", "--detach", loop) }()
	cmd := exec.Command(harness.Tool(t, "sfdisk"), "--quiet", "--no-reread", "--no-tell-kernel", loop)
	cmd.Stdin = strings.NewReader("label: " + k.label + "\n" + k.lines)
	if r := harness.RunCommand(t, cmd); r.Code != 0 {
		t.Fatalf("sfdisk: %s%s", r.Out, r.Err)
	}
	var made struct {
		Table struct {
			Partitions []struct {
				Node  string
				Start int64
			}
		} `json:"partitiontable"`
	}
	check(t, json.Unmarshal([]byte(harness.Must(t, "sfdisk", "--json", loop)), &made))
	for i, image := range images {
		start := int64(-1)
		for _, p := range made.Table.Partitions {
			if strings.HasSuffix(p.Node, fmt.Sprintf("p%d", k.numbers[i])) {
				start = p.Start * int64(sector)
			}
		}
		copyTo(t, loop, start, image)
		d.starts = append(d.starts, start)
	}
	return d
}

func copyTo(t testing.TB, device string, at int64, image string) {
	t.Helper()
	content, err := os.ReadFile(image)
	check(t, err)
	to, err := os.OpenFile(device, os.O_WRONLY, 0)
	check(t, err)
	_, err = io.NewOffsetWriter(to, at).Write(content)
	check(t, err)
	check(t, to.Sync())
	check(t, to.Close())
}

// TestPartitions verifies file systems in the partitions of disks.
func TestPartitions(t *testing.T) {
	l := newLab(t, kept...)
	var images []string
	for _, f := range plain {
		images = append(images, l.image(t, f, l.tree))
	}
	for _, k := range tables {
		for _, sector := range []int{512, 4096} {
			t.Run(fmt.Sprint(k.label, sector), func(t *testing.T) {
				d := l.disk(t, k, sector, images)
				var flags []string
				if k.label == "dos" { // which does not say it
					flags = []string{"--sector", fmt.Sprint(sector)}
				}
				for i, number := range k.numbers {
					chosen := append([]string{"--partition", fmt.Sprint(number)}, flags...)
					l.good(t, d.path, chosen...)
					l.flip(t, d.path, "large/random", d.starts[i])
					l.bad(t, d.path, "large/random", chosen...)
				}
				list := harness.RunCommand(t, l.command(append([]string{"image", "list", d.path}, flags...)...))
				for _, f := range plain {
					if !strings.Contains(list.Out, f.name) {
						t.Errorf("image list does not name %s: %s%s", f.name, list.Out, list.Err)
					}
				}
				if v := l.verify(t, d.path, flags...); v.Code == 0 || v.Code == 3 {
					t.Errorf("exit %d without --partition\n%s%s", v.Code, v.Out, v.Err)
				}
			})
		}
	}
}

// TestLabels finds partitions by their labels in a GPT.
func TestLabels(t *testing.T) {
	l := newLab(t, kept...)
	image := l.image(t, plain[2], l.tree)
	d := l.disk(t, tables[1], 512, []string{image, image, image})
	l.good(t, d.path, "--partition", "the data")
	l.flip(t, d.path, "large/random", d.starts[2])
	l.good(t, d.path, "--partition", "root")
	l.bad(t, d.path, "large/random", "--partition", "other")
	if v := l.verify(t, d.path, "--partition", "nothing"); v.Code == 0 || v.Code == 3 {
		t.Errorf("exit %d for a label that is not there", v.Code)
	}
}

// TestCompressed verifies compressed disks and file systems.
func TestCompressed(t *testing.T) {
	l := newLab(t, kept...)
	image := l.image(t, plain[0], l.tree)
	d := l.disk(t, tables[1], 512, []string{image})
	partition := []string{"--partition", "1"}
	l.flip(t, d.path, "large/random", 0)
	for _, c := range []struct{ program, suffix string }{{"gzip", "gz"}, {"xz", "xz"}, {"zstd", "zst"}, {"bzip2", "bz2"}} {
		t.Run(c.suffix, func(t *testing.T) {
			l.good(t, compress(t, c.program, c.suffix, image))
			disk := compress(t, c.program, c.suffix, d.path)
			l.bad(t, disk, "large/random", partition...)
			info, err := os.Stat(disk)
			check(t, err)
			check(t, os.Truncate(disk, info.Size()-20))
			if v := l.verify(t, disk, partition...); v.Code != 1 {
				t.Errorf("cut: exit %d\n%s%s", v.Code, v.Out, v.Err)
			}
		})
	}
}

func compress(t testing.TB, program, suffix, file string) string {
	t.Helper()
	harness.Must(t, program, "--keep", "--force", "--quiet", "-1", file)
	return filepath.Clean(file + "." + suffix)
}
