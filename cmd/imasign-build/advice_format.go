package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image"
	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/tarball"
)

// adviceOnFormat returns advice on an input that is of another format than its command
// takes, "" if the error is about something else or the format is not known.
func (a *app) adviceOnFormat(err error) string {
	var unreadable *image.UnreadableError
	if a.command != nil && errors.As(err, &unreadable) && slices.Contains([]string{"deb", "ipk", "rpm", "tar"}, unreadable.Format.Name) {
		return a.otherCommand(unreadable.Format)
	}
	other := []error{tarball.ErrFormat, tarball.ErrAmbiguous, tarball.ErrTruncated, rpmsign.ErrNotRPM, syscall.ENOTDIR}
	for _, one := range other {
		if a.command != nil && errors.Is(err, one) {
			return a.adviceOnFile(a.pathOf(err))
		}
	}
	return ""
}

// adviceOnFile returns what a file is, and what to do with it.
func (a *app) adviceOnFile(path string) string {
	f := formatOf(path)
	family, _, _ := strings.Cut(commandName(a.command), " ")
	if f.Name == "" || f.Name == family || family == "manifest" && (f.Name == "tar" || f.Readable) {
		return ""
	}
	return "it is " + f.What + ": " + a.otherCommand(f)
}

// otherCommand returns what takes a file of a format, or what else to do with it.
func (a *app) otherCommand(f image.Format) string {
	flags := a.command.Flags()
	signs := flags.Lookup("key") != nil
	switch f.Name {
	case "deb":
		return "dpkg refuses a data.tar with signatures (pax headers): use the tree that the package is installed in"
	case "ipk":
		return "opkg packages are not supported: use the tree that the package is installed in"
	case "rpm", "tar":
		switch {
		case signs:
			return "`" + f.Name + " sign` signs its files"
		case a.command.Name() == "strip":
			return "`" + f.Name + " strip` removes its signatures"
		}
		return "`" + f.Name + " verify` verifies it"
	}
	switch {
	case !f.Readable && signs && f.Holds:
		return "sign the images that it is made from"
	case !f.Readable:
		return f.Advice
	case flags.Lookup("image") != nil:
		return "--image takes it"
	case signs:
		return signedImage(f.Name)
	case a.command.Name() == "strip":
		return "signatures in images are not removed: strip the tree that it is made from"
	}
	return "`image verify` verifies it"
}

// signedImage returns what signs the files in an image of a format.
func signedImage(name string) string {
	switch {
	case strings.HasPrefix(name, "ext"):
		return "`image sign` signs a copy of it"
	case name == "squashfs":
		return "`" + signSquashfs("IN") + "` makes a signed one"
	case name == "erofs":
		return "`mkfs.erofs --tar=f` makes a signed one from an archive that `tar sign` wrote"
	}
	return "`image sign` signs ext4 file systems in it"
}

// signSquashfs returns the commands that make a signed squashfs image of another.
func signSquashfs(image string) string {
	return "sqfs2tar --no-skip " + image + " | imasign-build tar sign - -o - | sqfstar -root-mode 0755 OUT"
}

// formatOf recognises a regular file, compressed or not. The zero value is returned for
// what is unknown and for what cannot be read.
func formatOf(path string) image.Format {
	info, err := os.Stat(path)
	if path == "" || err != nil || !info.Mode().IsRegular() {
		return image.Format{}
	}
	file, err := os.Open(path)
	if err != nil {
		return image.Format{}
	}
	defer func() { _ = file.Close() }()
	content, size := io.ReaderAt(file), info.Size()
	if head, packed := unpackedHead(file); packed {
		content, size = strings.NewReader(head), int64(len(head))
	}
	f, table, err := image.Inspect(content, size, 0)
	switch {
	case err != nil:
		return image.Format{}
	case table != nil:
		return image.Format{Name: "disk", What: "a disk image with partitions (" + string(table.Kind) + ")", Readable: true}
	}
	return f
}

// unpackedHead returns the beginning of what a compressed file contains, as far as it can be
// decompressed. packed is false for other files.
func unpackedHead(file io.Reader) (head string, packed bool) {
	in := bufio.NewReader(file)
	magic, _ := in.Peek(compress.HeadSize)
	c := compress.Images().Recognise(magic)
	if c == compress.None {
		return "", false
	}
	content, stop, err := compress.Images().Reader(in, c)
	if err != nil {
		return "", true
	}
	defer stop()
	start, _ := io.ReadAll(io.LimitReader(content, 1<<20)) // what can be read of it
	return string(start), true
}
