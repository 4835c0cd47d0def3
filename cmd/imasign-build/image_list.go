package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

func newImageList(a *app) *cobra.Command {
	var input imageInputFlags
	cmd := &cobra.Command{
		Use:   "list IMAGE",
		Short: "List the partitions and file systems of an image",
		Long: `List shows the partition table of an image and its file systems: format, label, features,
how many files they have, and how many of these have signatures. It does not verify the
signatures. It mounts nothing and needs no privileges. IMAGE may be -, for standard input.

Formats and features that cannot be read are named, and are no error. Exit code 1 means
that the image is damaged, or that nothing is known about its format.`,
		Example: `  imasign-build image list disk.wic.gz
  zstdcat disk.wic.zst | imasign-build image list --json -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runImageList(cmd.Context(), a, &input, args[0])
		},
	}
	input.add(cmd.Flags(), "a pipe or a compressed image unpacks")
	return cmd
}

func runImageList(ctx context.Context, a *app, input *imageInputFlags, file string) error {
	progress := a.newProgress()
	defer progress.close()
	progress.entries("counted", false)
	img, err := input.open(ctx, a, file)
	if err != nil {
		return err
	}
	defer img.Close() //nolint:errcheck // opened for reading
	r := report.NewImage(img)
	var failed []error
	for i := range img.Volumes() {
		v := &img.Volumes()[i]
		p := report.NewPartition(v)
		if err := describeVolume(ctx, img, v, &p, progress.observer); err != nil {
			p.Detail = err.Error()
			for _, known := range []string{img.Name(), v.String(), image.ErrUnreadable.Error()} {
				p.Detail = strings.TrimPrefix(p.Detail, known+": ")
			}
			if nothing := img.Table() == nil && v.Format.Name == ""; nothing || !errors.Is(err, image.ErrUnreadable) && !errors.Is(err, filesystem.ErrUnsupported) {
				failed = append(failed, err)
			}
		}
		r.Partitions = append(r.Partitions, p)
	}
	progress.close()
	return a.print(r, errors.Join(failed...))
}

// describeVolume adds what the file system of a volume says about itself, and the numbers of its
// files.
func describeVolume(ctx context.Context, img *image.Image, v *image.Volume, p *report.Partition, observe signing.Observer) error {
	src, err := img.Source([]image.Mount{{Volume: v}}, filesystem.Options{})
	if err != nil {
		return err
	}
	p.Describe(src.Root().Facts())
	c, met := report.FileCounts{}, map[filesystem.ID]bool{}
	for n, err := range src.Walk(ctx) {
		if err == nil {
			err = countFile(&c, &n, met)
		}
		if err != nil {
			return err
		}
		observe.Tell(signing.Event{Kind: signing.Checked, Path: n.Path, Entries: 1})
	}
	p.FileSystem.Counts = &c
	return nil
}

// countFile counts a name. met are the inodes of earlier names that have several.
func countFile(c *report.FileCounts, n *filesystem.Node, met map[filesystem.ID]bool) error {
	switch {
	case n.Mode.IsDir():
		c.Directories++
		return nil
	case n.Mode.Type() == fs.ModeSymlink:
		c.Symlinks++
		return nil
	case !n.Mode.IsRegular():
		c.Special++
		return nil
	case met[n.ID]:
		c.Links++
		return nil
	case n.Links > 1:
		met[n.ID] = true
	}
	xattrs, err := n.Reader.Xattrs(n.ID)
	if err != nil {
		return fmt.Errorf("%s: %w", quote.Name(n.Path), err)
	}
	c.Files++
	c.Content += n.Size
	if len(xattrs[ima.XattrIMA]) > 0 {
		c.IMA++
	}
	if len(xattrs[ima.XattrEVM]) > 0 {
		c.EVM++
	}
	return nil
}
