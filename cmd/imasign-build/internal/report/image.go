package report

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/quote"
)

// Image describes an image.
type Image struct {
	Head
	Path
	Size        int64       `json:"size"`
	Compression string      `json:"compression,omitempty"`
	Table       string      `json:"table,omitempty"`
	SectorSize  int64       `json:"sector_size,omitempty"`
	UUID        string      `json:"uuid,omitempty"`
	Partitions  []Partition `json:"partitions"`
}

// Partition is a partition of an image, or the whole image if it has no partition table.
type Partition struct {
	Number     int         `json:"number,omitempty"`
	Label      string      `json:"label,omitempty"`
	Type       string      `json:"type,omitempty"`
	TypeName   string      `json:"type_name,omitempty"`
	UUID       string      `json:"uuid,omitempty"`
	Start      int64       `json:"start"`
	Size       int64       `json:"size"`
	FileSystem *FileSystem `json:"file_system,omitempty"`
	Sealed     string      `json:"sealed,omitempty"`
	Detail     string      `json:"detail,omitempty"` // why the file system was not read
}

// FileSystem is a file system in an image. Of a format that cannot be read, only the type
// is known.
type FileSystem struct {
	Type      string      `json:"type"`
	Label     string      `json:"label,omitempty"`
	UUID      string      `json:"uuid,omitempty"`
	Features  []string    `json:"features,omitempty"`
	BlockSize int64       `json:"block_size,omitempty"`
	Size      int64       `json:"size,omitempty"`
	Counts    *FileCounts `json:"counts,omitempty"`
}

// FileCounts are numbers of files by their kinds.
type FileCounts struct {
	Files       int64 `json:"file_count"`
	Links       int64 `json:"links"`
	Content     int64 `json:"content"`
	IMA         int64 `json:"with_ima"`
	EVM         int64 `json:"with_evm"`
	Directories int64 `json:"directories"`
	Symlinks    int64 `json:"symlinks"`
	Special     int64 `json:"special"`
}

// NewImage describes an image without its partitions.
func NewImage(i *image.Image) *Image {
	r := &Image{Head: Head{Command: "image list"}, Path: PathOf(i.Name()), Size: i.Size(), Compression: string(i.Compression()), Partitions: []Partition{}}
	if table := i.Table(); table != nil {
		r.Table, r.SectorSize, r.UUID = string(table.Kind), table.SectorSize, table.UUID
	}
	return r
}

// NewPartition describes a partition without its files.
func NewPartition(v *image.Volume) Partition {
	p := Partition{Number: v.Number, Label: v.Name, Type: v.Type, TypeName: v.TypeName, UUID: v.UUID, Start: v.Start, Size: v.Size, Sealed: v.Format.Sealed}
	if v.Format.Name != "" {
		p.FileSystem = &FileSystem{Type: v.Format.Name}
	}
	return p
}

// Describe adds what the file system says about itself.
func (p *Partition) Describe(f filesystem.Facts) {
	p.FileSystem = &FileSystem{Type: f.Type, Label: f.Label, UUID: f.UUID, Features: f.Features, BlockSize: f.BlockSize, Size: f.Size}
}

func (r *Image) text(p *printer) {
	about := []string{Size(r.Size)}
	if r.Compression != "" && r.Compression != "none" {
		about = append(about, "unpacked from "+r.Compression)
	}
	if r.Table != "" {
		about = append(about, fmt.Sprintf("%s with sectors of %d bytes", r.Table, r.SectorSize))
	} else {
		about = append(about, "no partition table")
	}
	p.printf("%s: %s\n", r.name(), strings.Join(about, ", "))
	for i := range r.Partitions {
		r.Partitions[i].text(p)
	}
}

func (d *Partition) text(p *printer) {
	if d.Number > 0 {
		label := ""
		if d.Label != "" {
			label = " " + quote.Name(d.Label)
		}
		p.printf("partition %d%s: %s at %s, %s\n", d.Number, label, Size(d.Size), Size(d.Start), cmp.Or(d.TypeName, "type "+d.Type))
	}
	for _, l := range d.lines() {
		if l[1] != "" {
			p.printf("  %-12s %s\n", l[0], l[1])
		}
	}
}

// lines describe the file system.
func (d *Partition) lines() [][2]string {
	f := d.FileSystem
	if f == nil {
		return [][2]string{{"not read", d.Detail}}
	}
	label := ""
	if f.Label != "" {
		label = quote.Name(f.Label)
	}
	what := "file system"
	if f.BlockSize == 0 { // not opened
		what = "format"
	}
	lines := [][2]string{{what, f.Type}, {"label", label}, {"uuid", f.UUID}, {"features", strings.Join(f.Features, " ")}}
	if f.BlockSize > 0 {
		lines = append(lines, [2]string{"size", fmt.Sprintf("%s bytes, in blocks of %s", Count(f.Size), Count(f.BlockSize))})
	}
	if f.Counts != nil {
		lines = append(lines, f.Counts.lines()...)
	}
	return append(lines, [2]string{"followed by", d.Sealed}, [2]string{"not read", d.Detail})
}

func (c *FileCounts) lines() [][2]string {
	files := fmt.Sprintf("%s, %s in all", Count(c.Files), Size(c.Content))
	if c.Links > 0 {
		files += ", and " + several(c.Links, "further name of a hard link", "further names of hard links")
	}
	var others []string
	for _, o := range []struct {
		n         int64
		one, many string
	}{{c.Directories, "directory", "directories"}, {c.Symlinks, "symbolic link", "symbolic links"}, {c.Special, "device, FIFO or socket", "devices, FIFOs and sockets"}} {
		if o.n > 0 {
			others = append(others, several(o.n, o.one, o.many))
		}
	}
	return [][2]string{
		{"files", files}, {"others", strings.Join(others, ", ")},
		{"signatures", fmt.Sprintf("%s with security.ima, %s with security.evm; not verified", Count(c.IMA), Count(c.EVM))},
	}
}

// several writes a number of things.
func several(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(n) + " " + many
}
