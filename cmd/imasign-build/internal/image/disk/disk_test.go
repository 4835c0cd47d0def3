package disk_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/disk"
)

const mega = 1 << 20

// image makes an empty image of 64 MiB.
func image(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 64*mega); err != nil {
		t.Fatal(err)
	}
	return file
}

// run runs a partitioning program and returns what it prints.
func run(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "PATH=/usr/sbin:/sbin:"+os.Getenv("PATH"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", args, err, out, stderr.String())
	}
	return string(out)
}

// read reads the table of a file.
func read(t *testing.T, file string, sector int64) (*disk.Table, error) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return disk.Read(f, info.Size(), sector)
}

// partition runs the program that makes a table: sfdisk with a script, fdisk for sectors
// of 4096 bytes, which Debian's sfdisk cannot, or another one.
func partition(t *testing.T, file string, sector int64, script string, args ...string) {
	t.Helper()
	switch {
	case len(args) > 0:
		run(t, "", append(args, file)...)
	case sector == 512:
		run(t, script, "sfdisk", file)
	default:
		layout := filepath.Join(t.TempDir(), "layout")
		if err := os.WriteFile(layout, []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, "I\n"+layout+"\nw\n", "fdisk", "-b", "4096", file)
	}
}

// dump returns a table in the text of sfdisk --dump.
func dump(t *testing.T, file string, sector int64) string {
	t.Helper()
	if sector == 512 {
		return run(t, "", "sfdisk", "--dump", file)
	}
	out := filepath.Join(t.TempDir(), "dump")
	run(t, "O\n"+out+"\nq\n", "fdisk", "-b", "4096", file)
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sfdisk returns the lines of a table as sfdisk reads it.
func sfdisk(t *testing.T, file string, sector int64) []string {
	t.Helper()
	text := dump(t, file, sector)
	word := func(text, name string) string {
		if m := regexp.MustCompile(`\b` + name + `[:=] *("[^"]*"|[^ ,\n]+)`).FindStringSubmatch(text); m != nil {
			return m[1]
		}
		return ""
	}
	lines := []string{fmt.Sprintf("%s %d %s", word(text, "label"), sector, strings.TrimPrefix(strings.ToLower(word(text, "label-id")), "0x"))}
	for line := range strings.Lines(text) {
		number, values, found := strings.Cut(strings.TrimPrefix(line, file), " : ")
		if !found {
			continue
		}
		start, _ := strconv.ParseInt(word(values, "start"), 10, 64)
		size, _ := strconv.ParseInt(word(values, "size"), 10, 64)
		name, _ := strconv.Unquote(word(values, "name"))
		lines = append(lines, fmt.Sprintf("%s %d+%d %02s %q %s", number, start*sector, size*sector, strings.ToLower(word(values, "type")), name, strings.ToLower(word(values, "uuid"))))
	}
	return lines
}

// ours returns the same lines.
func ours(table *disk.Table) []string {
	label := map[disk.Kind]string{disk.MBR: "dos", disk.GPT: "gpt"}[table.Kind]
	lines := []string{fmt.Sprintf("%s %d %s", label, table.SectorSize, table.UUID)}
	for _, p := range table.Partitions {
		uuid := p.UUID
		if table.Kind == disk.MBR {
			uuid = "" // which sfdisk does not print
		}
		lines = append(lines, fmt.Sprintf("%d %d+%d %s %q %s", p.Number, p.Start, p.Size, p.Type, p.Name, uuid))
	}
	return lines
}

const logical = "label: dos\nsize=4MiB\nsize=8MiB,type=c\nsize=40MiB,type=5\n5: size=2MiB\n6: size=3MiB,type=82\n7: size=4MiB\n8: size=5MiB,type=ef\n"

func TestTables(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		sector int64
		script string
		args   []string
	}{
		{"mbr", 512, "label: dos\nsize=10MiB,bootable\nstart=30MiB,size=5MiB,type=e\n", nil},
		{"mbr, 4096", 4096, "label: dos\nsize=10MiB\nsize=5MiB,type=c\n", nil},
		{"mbr, unused entry", 512, "label: dos\n1: size=10MiB\n4: size=5MiB,type=c\n", nil},
		{"mbr, empty", 512, "label: dos\n", nil},
		{"logical", 512, logical, nil},
		{"logical, 4096", 4096, logical, nil},
		{"logical by parted", 512, "", []string{"sh", "-c", `parted -s "$0" mklabel msdos mkpart primary ext4 1MiB 5MiB mkpart extended 6MiB 60MiB mkpart logical 7MiB 9MiB mkpart logical 20MiB 30MiB mkpart logical 10MiB 19MiB`}},
		{"gpt", 512, "label: gpt\nsize=10MiB,type=U,name=\"EFI\"\nsize=5MiB,name=\"Wurzel ☃ 𝄞 \"\n", nil},
		{"gpt, 4096", 4096, "label: gpt\nsize=10MiB,type=U\nsize=5MiB,name=\"" + strings.Repeat("n", 36) + "\"\n", nil},
		{"gpt, 200 entries", 512, "label: gpt\ntable-length: 200\n3: size=1MiB\n200: size=5MiB\n", nil},
		{"gpt by parted", 512, "", []string{"sh", "-c", `parted -s "$0" mklabel gpt mkpart boot fat32 1MiB 5MiB mkpart root ext4 8MiB 60MiB set 1 esp on`}},
		{"gpt by sgdisk", 512, "", []string{"sgdisk", "-a1", "-n5:2048:4095", "-t5:8305", "-c5:root", "-n2:34:100"}},
		{"hybrid by sgdisk", 512, "", []string{"sgdisk", "-n1:2048:4095", "-n2:8192:10000", "-h1:2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file := image(t)
			partition(t, file, test.sector, test.script, test.args...)
			stated := int64(0)
			if strings.HasPrefix(test.script, "label: dos") {
				stated = test.sector
			}
			table, err := read(t, file, stated)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := ours(table), sfdisk(t, file, test.sector); !slices.Equal(got, want) {
				t.Errorf("got\n%s\nsfdisk:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if table.Backup || len(table.Warnings) > 0 {
				t.Errorf("backup %v, warnings %q", table.Backup, table.Warnings)
			}
		})
	}
}

// TestTypes compares the names of types with sfdisk's.
func TestTypes(t *testing.T) {
	t.Parallel()
	for label, types := range map[string]map[string]string{"dos": disk.MBRTypes(), "gpt": disk.GPTTypes()} {
		listed := map[string]string{}
		for _, m := range regexp.MustCompile(`(?m)^ ?([[:xdigit:]-]+) +(.*)$`).FindAllStringSubmatch(run(t, "", "sfdisk", "--label", label, "--list-types"), -1) {
			listed[strings.ToLower(m[1])] = m[2]
		}
		for kind, name := range types {
			if listed[kind] != name {
				t.Errorf("%s %s: %q, sfdisk: %q", label, kind, name, listed[kind])
			}
		}
	}
}

func TestPartUUID(t *testing.T) {
	t.Parallel()
	file := image(t)
	run(t, "label-id: 0x12ab34cd\n"+logical, "sfdisk", file)
	table, err := read(t, file, 0)
	if err != nil {
		t.Fatal(err)
	}
	if last := table.Partitions[6]; table.UUID != "12ab34cd" || last.UUID != "12ab34cd-08" || last.TypeName != "EFI (FAT-12/16/32)" {
		t.Errorf("got %q, %+v", table.UUID, last)
	}
	if p := table.Partitions[2]; !p.Extended || p.Number != 3 {
		t.Errorf("got %+v", p)
	}
}
